// How the picture and what is painted stand in the window. A scale is in device pixels per picture pixel: from 1 on a
// whole number with nothing smoothed; below, photographs are made smaller from a half, a quarter, … of themselves.

import { NOWHERE, around } from "./annotate-mask.js";

const PAINT = [230, 0, 126]; // magenta, rare in photographs and told apart from green and blue by everybody
const EXPECTED = [0, 214, 224];
const MOST_SCALE = 48;
const LEAST_HALF = 256; // pixels; below this, no smaller copy is made
const KEPT_CSS = 48; // of the picture stays in the window, however far it is moved

const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
const packed = ([red, green, blue], alpha) =>
  (littleEndian ? (alpha << 24) | (blue << 16) | (green << 8) | red : (red << 24) | (green << 16) | (blue << 8) | alpha) >>> 0;
const clamp = (value, least, most) => Math.max(least, Math.min(most, value));

/** The picture and ever smaller copies of it, each half as large as the one before. */
function halves(picture) {
  const levels = [picture];
  for (let last = picture; Math.min(last.width, last.height) > 2 * LEAST_HALF; last = levels.at(-1)) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: Math.ceil(last.width / 2), height: Math.ceil(last.height / 2) });
    const context = canvas.getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.drawImage(last, 0, 0, canvas.width, canvas.height);
    levels.push(canvas);
  }
  return levels;
}

export class View {
  /** `canvases` are {picture, overlay}, one on the other, filling the same room; onMoved is called after each change. */
  constructor({ picture, overlay }, onMoved) {
    Object.assign(this, { pictureCanvas: picture, overlay, onMoved, opacity: 0.45, bare: false, expected: null });
    Object.assign(this, { mask: null, levels: [], dirty: NOWHERE, stale: false, frame: 0, fitted: true });
    const observer = new ResizeObserver(([entry]) => this.resize(entry));
    try {
      observer.observe(overlay, { box: "device-pixel-content-box" }); // told of the browser's zoom too
    } catch {
      observer.observe(overlay);
    }
  }

  /** Shows another picture, an ImageBitmap, and its mask. */
  open(picture, mask) {
    Object.assign(this, { levels: halves(picture), mask, expected: null, bare: false, rows: null });
    this.fit();
  }

  resize(entry) {
    const box = entry.devicePixelContentBoxSize?.[0];
    const [width, height] = box
      ? [box.inlineSize, box.blockSize]
      : [entry.contentRect.width, entry.contentRect.height].map((css) => Math.round(css * devicePixelRatio));
    for (const canvas of [this.pictureCanvas, this.overlay]) Object.assign(canvas, { width, height });
    if (this.fitted || !this.mask) this.fit();
    else this.place(this.x, this.y);
  }

  get ratio() {
    return this.overlay.width / this.overlay.clientWidth || devicePixelRatio;
  }

  fitScale() {
    const scale = Math.min(this.overlay.width / this.mask.width, this.overlay.height / this.mask.height);
    return scale >= 1 ? Math.min(Math.floor(scale), MOST_SCALE * this.ratio) : scale;
  }

  fit() {
    if (!this.mask || !this.overlay.width) return;
    this.scale = this.raw = this.fitScale();
    this.place((this.overlay.width - this.mask.width * this.scale) / 2, (this.overlay.height - this.mask.height * this.scale) / 2);
    this.fitted = true;
  }

  /** Zooms by a factor, so that what is under (x, y), in CSS pixels of the window, stays there. */
  zoom(factor, x, y) {
    const [px, py] = this.toPicture(x, y);
    const least = Math.min(1, this.fitScale());
    this.raw = clamp(this.raw * factor, least, MOST_SCALE * this.ratio);
    this.scale = this.raw >= 1 ? Math.round(this.raw) : this.raw;
    const [dx, dy] = this.toDevice(x, y);
    this.place(dx - px * this.scale, dy - py * this.scale);
  }

  zoomCentred(factor) {
    const box = this.overlay.getBoundingClientRect();
    this.zoom(factor, box.left + box.width / 2, box.top + box.height / 2);
    this.raw = this.scale;
  }

  pan(dx, dy) {
    this.place(this.x + dx * this.ratio, this.y + dy * this.ratio);
  }

  place(x, y) {
    const kept = KEPT_CSS * this.ratio;
    const inside = (value, room, length) =>
      Math.round(clamp(value, Math.min(kept - length, (room - length) / 2), Math.max(room - kept, (room - length) / 2)));
    this.x = inside(x, this.overlay.width, this.mask.width * this.scale);
    this.y = inside(y, this.overlay.height, this.mask.height * this.scale);
    this.fitted = false;
    this.stale = true;
    this.ask();
  }

  /** Moves the picture as little as needed so that a place of it can be seen. */
  reveal(px, py) {
    const margin = 32 * this.ratio;
    const needed = (at, room) => clamp(at, margin, room - margin) - at;
    const dx = needed(this.x + px * this.scale, this.overlay.width);
    const dy = needed(this.y + py * this.scale, this.overlay.height);
    if (dx || dy) this.place(this.x + dx, this.y + dy);
  }

  toDevice(x, y) {
    const box = this.overlay.getBoundingClientRect();
    return [(x - box.left) * this.ratio, (y - box.top) * this.ratio];
  }

  /** From CSS pixels of the window to picture pixels. */
  toPicture(x, y) {
    const [dx, dy] = this.toDevice(x, y);
    return [(dx - this.x) / this.scale, (dy - this.y) / this.scale];
  }

  /** From picture pixels to CSS pixels of the overlay. */
  toOverlay(px, py) {
    return [(this.x + px * this.scale) / this.ratio, (this.y + py * this.scale) / this.ratio];
  }

  /** Paints a box of the picture anew with the next frame. */
  touch(box) {
    this.dirty = around(this.dirty, box);
    this.ask();
  }

  repaint() {
    this.touch({ left: 0, top: 0, right: this.mask.width, bottom: this.mask.height });
  }

  ask() {
    this.frame ||= requestAnimationFrame(() => this.paint());
  }

  paint() {
    this.frame = 0;
    if (!this.mask) return;
    if (this.stale) this.paintPicture();
    if (this.stale) this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
    const box = this.stale ? { left: 0, top: 0, right: this.mask.width, bottom: this.mask.height } : this.dirty;
    const moved = this.stale;
    Object.assign(this, { stale: false, dirty: NOWHERE });
    if (box.right > box.left) this.paintMask(box);
    if (moved) this.onMoved();
  }

  paintPicture() {
    const context = this.pictureCanvas.getContext("2d");
    const place = this.levels.findLastIndex((level) => level.width / this.mask.width >= this.scale);
    context.clearRect(0, 0, this.pictureCanvas.width, this.pictureCanvas.height);
    context.imageSmoothingEnabled = this.scale < 1;
    context.imageSmoothingQuality = "medium";
    const size = [this.mask.width * this.scale, this.mask.height * this.scale];
    context.drawImage(this.levels[Math.max(0, place)], this.x, this.y, ...size);
  }

  /** For every device pixel from `from` to `to` along an axis, the picture's column or row, times `stride`; −1 outside. */
  lookUp(from, to, origin, length, stride) {
    const places = new Int32Array(to - from);
    for (let at = 0; at < places.length; at += 1) {
      const found = Math.floor((from + at + 0.5 - origin) / this.scale);
      places[at] = found < 0 || found >= length ? -1 : found * stride;
    }
    return places;
  }

  /** Paints the mask in a box of the picture: a tint, and a line of full colour along its edge. */
  paintMask(box) {
    const { width, height } = this.mask;
    const reach = Math.ceil(2 * this.ratio) + 1;
    const left = Math.max(0, Math.floor(this.x + box.left * this.scale) - reach);
    const top = Math.max(0, Math.floor(this.y + box.top * this.scale) - reach);
    const right = Math.min(this.overlay.width, Math.ceil(this.x + box.right * this.scale) + reach);
    const bottom = Math.min(this.overlay.height, Math.ceil(this.y + box.bottom * this.scale) + reach);
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const columns = this.lookUp(left - reach, right + reach, this.x, width, 1);
    const rows = this.lookUp(top - reach, bottom + reach, this.y, height, width);
    const room = { target: new Uint32Array(image.data.buffer), columns, rows, reach, across: right - left };
    if (!this.bare) this.fillIn(room, this.mask.pixels, PAINT, Math.round(255 * this.opacity));
    if (this.expected) this.fillIn(room, this.expected, EXPECTED, 0);
    this.overlay.getContext("2d").putImageData(image, left, top);
  }

  fillIn({ target, columns, rows, reach, across }, pixels, colour, alpha) {
    const [tint, edge, line] = [packed(colour, alpha), packed(colour, 255), reach - 1];
    const painted = (row, column) => row >= 0 && column >= 0 && pixels[row + column] & 1;
    for (let at = 0, y = reach; y < rows.length - reach; y += 1) {
      const [row, above, below] = [rows[y], rows[y - line], rows[y + line]];
      for (let x = reach; x < across + reach; x += 1, at += 1) {
        if (row < 0 || columns[x] < 0 || !(pixels[row + columns[x]] & 1)) continue;
        const inside =
          painted(row, columns[x - line]) && painted(row, columns[x + line]) &&
          painted(above, columns[x]) && painted(below, columns[x]);
        if (!inside) target[at] = edge;
        else if (alpha) target[at] = tint;
      }
    }
  }
}
