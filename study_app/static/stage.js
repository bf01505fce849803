// The canvas on which the pictures of a trial stand, pixel for pixel: its backing store is in device pixels, each
// picture pixel is a square of a whole number of them, nothing is smoothed, and the canvas lies on the screen's raster.

const MARGIN = 2; // device pixels of surround on the canvas, since browsers may blend a canvas' outermost pixels
const SURROUND = "#808080"; // as in task.css
const LEAST_CSS = 96; // CSS pixels; a picture is not made smaller than this to fit the window
const LAYOUT_UNITS = 64; // in a CSS pixel
const NARROW_CSS = 600;
const EDGE_CSS = 32; // left of the pictures and right of them together, as in task.css

/** Device pixels per picture pixel: the largest whole number that fits, and at least one. */
export function wholeScale(roomCss, ratio, size) {
  return Math.max(1, Math.floor((roomCss * ratio) / size));
}

/**
 * The fewest device pixels that are a whole number of layout units. Browsers place and size things in whole units of a
 * 64th of a CSS pixel; what falls between two of them would be resampled.
 */
export function layoutStep(ratio) {
  const off = (step) => Math.abs((step * LAYOUT_UNITS) / ratio - Math.round((step * LAYOUT_UNITS) / ratio));
  const steps = Array.from({ length: LAYOUT_UNITS }, (_, place) => place + 1);
  return steps.find((step) => off(step) < 0.01) ?? steps.sort((one, other) => off(one) - off(other))[0];
}

/** Random numbers from 0 to 2³² − 1, the same for the same text: Marsaglia's xorshift, seeded by FNV-1a. */
function randomNumbers(text) {
  let state = 0x811c9dc5;
  for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 0x01000193) >>> 0;
  state ||= 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>>= 0);
  };
}

/** A picture of noise, every channel of every pixel uniform over its 256 levels; the same for the same seed. */
export function noise(width, height, seed) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  const next = randomNumbers(seed);
  for (let at = 0; at < pixels.data.length; at += 4) {
    const drawn = next();
    pixels.data.set([drawn >>> 24, (drawn >>> 16) & 255, (drawn >>> 8) & 255, 255], at);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

export class Stage {
  /** `layers` names what can be shown: for each name a list of as many equally large pictures as stand side by side. */
  constructor(canvas, layers, targetCss) {
    const [{ width, height }, ...others] = Object.values(layers)[0];
    Object.assign(this, { canvas, layers, targetCss, width, height, count: 1 + others.length, shown: null });
  }

  /** Sizes the canvas for the window as it is now and paints it again; gives whether the pictures' size changed. */
  fit() {
    const before = [this.scale, this.ratio, this.stacked].join();
    this.ratio = window.devicePixelRatio;
    this.stacked = this.count > 1 && this.sideBySide(1) > document.documentElement.clientWidth - EDGE_CSS;
    this.scale = wholeScale(this.targetCss, this.ratio, Math.max(this.width, this.height));
    const least = Math.min(this.scale, wholeScale(LEAST_CSS, this.ratio, Math.max(this.width, this.height)));
    for (this.size(); this.scale > least && this.overflows(); this.size()) this.scale -= 1;
    this.size();
    this.align();
    this.paint();
    return before !== [this.scale, this.ratio, this.stacked].join();
  }

  /** Shows one of the layers, or with null the bare surround; painted now. */
  show(layer) {
    this.shown = layer;
    this.paint();
  }

  /** How the pictures stand on the screen, in the words of the data. */
  placing() {
    const { scale, ratio } = this;
    return { scale, device_pixel_ratio: ratio, css_px: (this.width * scale) / ratio };
  }

  gap() {
    return Math.round((document.documentElement.clientWidth < NARROW_CSS ? 12 : 32) * this.ratio);
  }

  sideBySide(scale) {
    return (this.count * this.width * scale + (this.count - 1) * this.gap() + 2 * MARGIN) / this.ratio;
  }

  /** Device pixels that the pictures take, with what is between them. */
  extent() {
    const along = (length) => this.count * length * this.scale + (this.count - 1) * this.gap();
    const across = (length) => length * this.scale;
    return this.stacked ? [across(this.width), along(this.height)] : [along(this.width), across(this.height)];
  }

  size() {
    const step = layoutStep(this.ratio);
    const [width, height] = this.extent().map((length) => step * Math.ceil((length + 2 * MARGIN) / step));
    Object.assign(this.canvas, { width, height });
    this.canvas.style.width = `${this.canvas.width / this.ratio}px`;
    this.canvas.style.height = `${this.canvas.height / this.ratio}px`;
  }

  overflows() {
    const page = document.documentElement;
    const height = Math.max(page.clientHeight, window.innerHeight); // the latter grows when a phone hides its bars
    const tooWide = this.canvas.width / this.ratio > page.clientWidth - EDGE_CSS || page.scrollWidth > page.clientWidth;
    return tooWide || page.scrollHeight > height + 1;
  }

  /** Moves the canvas by a little, so that its pixels fall onto the screen's; a transform would blur. */
  align() {
    Object.assign(this.canvas.style, { left: "0", top: "0" });
    const box = this.canvas.getBoundingClientRect();
    const step = layoutStep(this.ratio) / this.ratio;
    const off = (value) => step * Math.round(value / step) - value;
    Object.assign(this.canvas.style, { left: `${off(box.left)}px`, top: `${off(box.top)}px` });
  }

  paint() {
    const context = this.canvas.getContext("2d", { alpha: false });
    context.fillStyle = SURROUND;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingEnabled = false;
    for (const [place, picture] of (this.layers[this.shown] ?? []).entries()) this.draw(context, picture, place);
  }

  /** Where on the canvas the first picture begins. */
  origin() {
    const [width, height] = this.extent();
    return [Math.floor((this.canvas.width - width) / 2), Math.floor((this.canvas.height - height) / 2)];
  }

  draw(context, picture, place) {
    const [width, height] = [this.width * this.scale, this.height * this.scale];
    const [left, top] = this.origin();
    const along = place * ((this.stacked ? height : width) + this.gap());
    const [x, y] = this.stacked ? [left, top + along] : [left + along, top];
    context.drawImage(picture, x, y, width, height);
  }
}
