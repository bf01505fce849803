// The pictures of a session, fetched and decoded before they are needed: a block at a time and one block ahead, or, where
// each depends on the answers before it, one trial at a time.

import { Pauses } from "./server.js";

const TIMEOUT_MS = 30_000;

/** Gives the decoded picture, exactly as it is in its file; tries until it has it. */
async function fetchPicture(url) {
  for (const pauses = new Pauses(500, 5000); ; await pauses.wait()) {
    const bitmap = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
      .then((reply) => (reply.ok ? reply.blob() : null))
      .then((blob) => blob && createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" }))
      .catch(() => null);
    if (bitmap) return bitmap;
  }
}

export class Pictures {
  /** `ahead`: whether pictures may be fetched before the answers to the trials before them are on the server. */
  constructor(trials, ahead) {
    Object.assign(this, { trials, ahead, loading: new Map() });
  }

  /** A promise of a trial's pictures, from left to right. */
  take(trial) {
    const pictures = this.load(trial);
    this.trials = this.trials.filter(({ index }) => index !== trial.index);
    this.loading.delete(trial.index);
    if (this.ahead) this.loadBlocks(trial.block);
    return pictures;
  }

  loadBlocks(first) {
    const soon = this.trials.filter(({ block }) => block === first || block === first + 1);
    for (const trial of soon) this.load(trial);
  }

  load(trial) {
    if (!this.loading.has(trial.index)) this.loading.set(trial.index, Promise.all(trial.pictures.map(fetchPicture)));
    return this.loading.get(trial.index);
  }
}
