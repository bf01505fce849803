// From the page to the server: operations go through the outbox one by one; a stroke that is going on is kept in this
// browser, so that a reload in the middle of it loses nothing but its last moment.

import { Outbox } from "./outbox.js";
import { newUuid } from "./server.js";

const NAME = "percepsilon-annotate";
const KEPT_EVERY_MS = 150;
const FINAL = [401, 403, 404, 409, 413, 422];

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** The one operation of each picture that has not ended, or is not in the outbox yet. */
class Unfinished {
  static async open() {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("strokes", { keyPath: "assignment" });
    return new Unfinished(await settled(opening));
  }

  constructor(store) {
    Object.assign(this, { store, at: -Infinity });
  }

  strokes() {
    return this.store.transaction("strokes", "readwrite").objectStore("strokes");
  }

  /** Keeps an operation that is going on, now and then. */
  keep(assignment, index, operation) {
    if (performance.now() - this.at < KEPT_EVERY_MS) return;
    this.at = performance.now();
    this.keepAtOnce(assignment, index, operation);
  }

  /** Keeps an operation though the page is left in the next moment: that would break off what is not committed. */
  keepAtOnce(assignment, index, operation) {
    const strokes = this.strokes();
    strokes.put({ assignment, index, operation });
    strokes.transaction.commit();
  }

  /** Forgets the operation of this index or one before it. */
  async forget(assignment, index = Infinity) {
    const strokes = this.strokes();
    const kept = await settled(strokes.get(assignment));
    if (!kept || kept.index > index) return;
    this.at = -Infinity;
    await settled(strokes.delete(assignment));
  }

  find(assignment) {
    return settled(this.strokes().get(assignment));
  }
}

/** The time in which somebody was at work: from one input to the next, pauses of more than some seconds left out. */
export class ActiveTime {
  constructor(pauseMs = 15_000) {
    Object.assign(this, { pauseMs, total: 0, last: performance.now() });
  }

  begin(seconds) {
    Object.assign(this, { total: 1000 * seconds, last: performance.now() });
  }

  note() {
    const now = performance.now();
    if (now - this.last < this.pauseMs && !document.hidden) this.total += now - this.last;
    this.last = now;
  }

  get ms() {
    return Math.round(this.total);
  }
}

export class Saving {
  static async open(annotator, api, { onCount, onRefused }) {
    const saving = new Saving(await Unfinished.open(), onCount);
    const options = { onCount: (waiting) => saving.count({ waiting }), onRefused, path: `${api}/strokes`, final: FINAL };
    saving.outbox = await Outbox.open(annotator, options);
    return saving;
  }

  constructor(unfinished, onCount) {
    Object.assign(this, { unfinished, onCount, time: new ActiveTime(), assignment: null, next: 0, putting: Promise.resolve() });
    Object.assign(this, { waiting: 0, storing: 0, outbox: null });
    document.addEventListener("visibilitychange", () => this.outbox?.send());
  }

  /** Goes on with a picture of which the server holds some operations; gives the stroke that a reload cut off, if any. */
  async begin({ id, operations, seconds }) {
    Object.assign(this, { assignment: id, next: operations.length });
    this.time.begin(seconds);
    const kept = await this.unfinished.find(id);
    if (kept?.index === this.next) return kept.operation; // stays until it is in the outbox
    await this.unfinished.forget(id);
    return null;
  }

  /** Puts an operation on its way; the order is that of the calls. */
  add(operation) {
    const index = this.next++;
    this.time.note();
    const body = { assignment: this.assignment, index, client_uuid: newUuid(), operation, active_ms: this.time.ms };
    this.unfinished.keepAtOnce(this.assignment, index, operation);
    this.count({ storing: this.storing + 1 });
    this.putting = this.putting.then(() => this.store(body));
  }

  /** Tells how many operations the server has not acknowledged: those in the outbox, and those on their way into it. */
  count(changed) {
    Object.assign(this, changed);
    this.onCount(this.waiting + this.storing);
  }

  async store(body) {
    await this.outbox.put(body, `${body.assignment}/${body.index}`);
    this.count({ storing: this.storing - 1 });
    await this.unfinished.forget(body.assignment, body.index);
  }

  /** Keeps a stroke that is going on; null if it is given up. */
  live(operation) {
    if (operation) this.unfinished.keep(this.assignment, this.next, operation);
    else this.unfinished.forget(this.assignment);
  }

  /** Resolves when the server holds everything. */
  async drained() {
    await this.putting;
    await this.outbox.drained();
  }
}
