// What is painted, one byte a pixel, and how it came about. An operation is remembered by the pixels that it turned, as
// runs; turning them once more takes it back, and again brings it back. So nothing is ever replayed.

import { fillOperation, fillSegment } from "./annotate-raster.js";

const PAINTED = 1;
const TURNED = 2; // by the operation that is going on
const FOUR_TURNED = 0x02020202; // the same in four pixels at once

export const NOWHERE = Object.freeze({ left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity });

export function around(one, other) {
  return {
    left: Math.min(one.left, other.left),
    top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right),
    bottom: Math.max(one.bottom, other.bottom),
  };
}

export class Mask {
  constructor(width, height) {
    this.fours = new Uint32Array(Math.ceil((width * height) / 4));
    this.pixels = new Uint8Array(this.fours.buffer);
    Object.assign(this, { width, height, painted: 0, done: [], undone: [] });
    this.begin(true);
  }

  get canUndo() {
    return this.done.length > 0;
  }

  get canRedo() {
    return this.undone.length > 0;
  }

  /** Applies a whole operation; gives the box of what changed. */
  apply(operation) {
    if (operation.tool === "undo") return this.move(this.done, this.undone);
    if (operation.tool === "redo") return this.move(this.undone, this.done);
    const whole = [[0, 0, 0], [this.width, this.height, 0]];
    const drawn = operation.tool === "clear" ? { tool: "box", mode: "remove", points: whole } : operation;
    this.begin(drawn.tool === "brush" || drawn.mode === "add");
    fillOperation(drawn, this.width, this.height, this.fill);
    return this.finish();
  }

  /** Begins an operation that paints (true) or removes. */
  begin(paints) {
    this.value = paints ? PAINTED : 0;
    this.changed = NOWHERE;
    this.fill = (row, start, stop) => this.turn(row, start, stop);
  }

  /** Adds to a stroke that is going on; gives the box of what its newest segment covers. */
  extend(stroke, place) {
    const before = this.changed;
    this.changed = NOWHERE;
    fillSegment(stroke, place, this.width, this.height, this.fill);
    const box = this.changed;
    this.changed = around(before, box);
    return box;
  }

  /** Ends the operation; gives the box of what it changed. */
  finish() {
    const runs = this.takeTurned();
    this.done.push({ runs, box: this.changed });
    this.undone = [];
    return this.changed;
  }

  /** Takes back the operation that is going on, as if it had never begun. */
  cancel() {
    this.toggle(this.takeTurned());
    return this.changed;
  }

  move(from, to) {
    const operation = from.pop();
    if (!operation) return NOWHERE;
    to.push(operation);
    this.toggle(operation.runs);
    return operation.box;
  }

  turn(row, start, stop) {
    const { pixels, value } = this;
    const offset = row * this.width;
    for (let at = offset + start; at < offset + stop; at += 1) {
      if ((pixels[at] & PAINTED) !== value) pixels[at] ^= PAINTED | TURNED;
    }
    const box = this.changed;
    this.changed = {
      left: Math.min(box.left, start),
      top: Math.min(box.top, row),
      right: Math.max(box.right, stop),
      bottom: Math.max(box.bottom, row + 1),
    };
  }

  takeTurned() {
    const runs = [];
    const { pixels, fours, width, changed } = this;
    for (let row = changed.top; row < changed.bottom; row += 1) {
      for (let at = row * width + changed.left, end = row * width + changed.right; at < end; at += 1) {
        if (!(at & 3)) while (at + 4 <= end && !(fours[at >> 2] & FOUR_TURNED)) at += 4;
        if (at >= end || !(pixels[at] & TURNED)) continue;
        const start = at;
        for (; at < end && pixels[at] & TURNED; at += 1) pixels[at] ^= TURNED;
        runs.push(start, at);
        this.painted += this.value ? at - start : start - at;
      }
    }
    return Uint32Array.from(runs);
  }

  toggle(runs) {
    for (let place = 0; place < runs.length; place += 2) {
      const [start, stop] = [runs[place], runs[place + 1]];
      for (let at = start; at < stop; at += 1) this.pixels[at] ^= PAINTED;
      this.painted += this.pixels[start] & PAINTED ? stop - start : start - stop;
    }
  }
}
