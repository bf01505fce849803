// What an annotator does, made into operations of docs/annotation.md: in picture coordinates, in eighths of a pixel, with
// times. An operation is shown while it is going on and handed over when it ends.

import { NOWHERE } from "./annotate-mask.js";

const PARTS = 8; // of a pixel: such coordinates are compared exactly
const MOST_POINTS = 1500; // of a stroke; a longer one goes on as the next operation, so that a request stays small
const LEAST_STEP = 0.5; // device pixels between two points of a stroke
const OUTSIDE = 0.25; // of the longer side, for polygons and boxes

const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
const eighths = (value) => Math.round(value * PARTS) / PARTS;

export class Drawing {
  /** `clock` gives milliseconds; onDone takes a finished operation, onLive one that is going on, onChange is called after both. */
  constructor(view, { clock, onDone, onLive, onChange }) {
    Object.assign(this, { view, clock, onDone, onLive, onChange, mask: null, stroke: null, shape: null });
  }

  open(mask) {
    Object.assign(this, { mask, stroke: null, shape: null });
  }

  get longer() {
    return Math.max(this.mask.width, this.mask.height);
  }

  get busy() {
    return this.stroke !== null || this.shape !== null;
  }

  // Brush and eraser

  beginStroke(tool, size, x, y, pressure) {
    this.stroke = { tool, size, points: [], pressure: pressure !== null };
    this.mask.begin(tool === "brush");
    this.extend(x, y, pressure);
  }

  /** Adds a place to the stroke, if it is far enough from the one before; gives whether it did. */
  moveStroke(x, y, pressure) {
    const [px, py] = this.stroke.points.at(-1);
    if (Math.hypot(x - px, y - py) < Math.max(1 / PARTS, LEAST_STEP / this.view.scale)) return false;
    this.extend(x, y, pressure);
    if (this.stroke.points.length >= MOST_POINTS) this.goOn(x, y, pressure);
    return true;
  }

  goOn(x, y, pressure) {
    const { tool, size } = this.stroke;
    this.endStroke();
    this.beginStroke(tool, size, x, y, pressure);
  }

  extend(x, y, pressure) {
    const { stroke, mask } = this;
    const [px, py] = [[x, mask.width], [y, mask.height]].map(([at, length]) =>
      eighths(clamp(at, -stroke.size, length + stroke.size)),
    );
    stroke.points.push([px, py, this.clock(), pressure === null ? 0.5 : Math.round(pressure * 256) / 256]);
    this.view.touch(mask.extend(stroke, stroke.points.length - 1));
    this.onLive(stroke);
  }

  endStroke() {
    const { stroke } = this;
    if (!stroke) return;
    this.stroke = null;
    this.mask.finish();
    this.done(stroke);
  }

  cancelStroke() {
    if (!this.stroke) return;
    this.stroke = null;
    this.view.touch(this.mask.cancel());
    this.onLive(null);
    this.onChange();
  }

  // Polygon and box: `shape` holds the corners so far, and `end` the place to which the next one would go

  corner(x, y) {
    const [mx, my] = [this.mask.width, this.mask.height].map((length) => [-OUTSIDE * this.longer, length + OUTSIDE * this.longer]);
    return [eighths(clamp(x, ...mx)), eighths(clamp(y, ...my)), this.clock()];
  }

  beginShape(tool, mode, x, y) {
    this.shape = { tool, mode, points: [this.corner(x, y)], end: [x, y] };
    this.onChange();
  }

  addCorner(x, y) {
    this.shape.points.push(this.corner(x, y));
    this.shape.end = [x, y];
    this.onChange();
  }

  moveEnd(x, y) {
    this.shape.end = [x, y];
  }

  dropCorner() {
    this.shape.points.pop();
    if (this.shape.points.length === 0) this.cancelShape();
    else this.onChange();
  }

  cancelShape() {
    this.shape = null;
    this.onChange();
  }

  /** Ends a polygon or, at (x, y), a box; gives whether it was large enough to be one. */
  endShape(x, y) {
    const { tool, mode, points } = this.shape;
    if (tool === "polygon" && points.length < 3) return false;
    const corners = tool === "box" ? [points[0], this.corner(x, y)] : points;
    this.shape = null;
    const flat = [0, 1].some((axis) => corners.every((corner) => corner[axis] === corners[0][axis]));
    if (flat) this.onChange();
    else this.apply({ tool, mode, points: corners });
    return !flat;
  }

  // What is done at once

  box(mode, left, top, right, bottom) {
    this.apply({ tool: "box", mode, points: [this.corner(left, top), this.corner(right, bottom)] });
  }

  /** Undo, redo, clear; gives whether there was something to do. */
  act(tool) {
    const possible = { undo: this.mask.canUndo, redo: this.mask.canRedo, clear: this.mask.painted > 0 };
    if (possible[tool]) this.apply({ tool, t_ms: this.clock() });
    return possible[tool];
  }

  apply(operation) {
    this.view.touch(this.mask.apply(operation));
    this.done(operation);
  }

  done(operation) {
    this.onDone(operation);
    this.onChange();
  }

  /** Shows operations that were made before. */
  replay(operations) {
    const box = operations.reduce((_, operation) => this.mask.apply(operation), NOWHERE);
    if (box !== NOWHERE) this.view.repaint();
  }
}
