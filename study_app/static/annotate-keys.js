// Everything by keyboard: single keys for commands, and a cursor on the picture that the arrows move and that paints.

/** Keys, as `event.key` gives them with a capital letter where shift is held, and the commands they give. */
const KEYS = {
  b: "brush", e: "erase", p: "polygon", r: "box", h: "pan", x: "mode", g: "numbers",
  "[": "smaller", "]": "larger", ",": "smaller", ".": "larger", "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "fit",
  u: "undo", y: "redo", Delete: "clear", o: "fainter", O: "stronger", n: "none", s: "skip", "?": "shortcuts", m: "pictures",
}; // prettier-ignore
const WITH_CONTROL = { z: "undo", y: "redo", enter: "submit" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PARTS = 200; // of the longer side: one step of the cursor
const BIGGER = 10;
const PAN_CSS = 60;

export class Keys {
  /** `run` carries out a command; `compare` has press() and release(); `say` tells what happened. */
  constructor(surface, { view, drawing, hints, settings, run, compare, say, texts }) {
    Object.assign(this, { surface, view, drawing, hints, settings, run, compare, say, texts, last: [0.5, 0.5], byKey: false });
    document.addEventListener("keydown", (event) => this.down(event));
    document.addEventListener("keyup", (event) => this.up(event));
    surface.addEventListener("focus", () => this.byKey && this.showCursor());
    addEventListener("keydown", () => (this.byKey = true), true);
    addEventListener("pointerdown", () => (this.byKey = false), true);
    surface.addEventListener("blur", () => this.leave());
    surface.addEventListener("pointerdown", () => this.hideCursor());
    surface.addEventListener("pointermove", (event) => event.pointerType !== "touch" && !drawing.busy && this.hideCursor());
  }

  down(event) {
    if (document.querySelector("dialog[open]") || event.altKey && !ARROWS[event.key]) return;
    if (event.target.matches?.("input:not([type=range], [type=checkbox]), textarea, select")) return;
    if (this.surface.contains(event.target) && this.onPicture(event)) return event.preventDefault();
    const command = this.commandOf(event);
    if (!command) return;
    event.preventDefault();
    if (command === "compare") event.repeat || this.compare.press();
    else this.run(command);
  }

  commandOf(event) {
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) return event.shiftKey && key === "z" ? "redo" : WITH_CONTROL[key];
    if (!this.settings.singleKeys) return undefined;
    return event.key === "c" ? "compare" : (KEYS[event.key] ?? KEYS[key]);
  }

  up(event) {
    if (event.key === "c") this.compare.release();
    if (event.key !== " ") return;
    this.settings.space = false;
    if (this.painting === "held") this.lift();
  }

  /** Keys that mean something on the picture alone; gives whether this was one. */
  onPicture(event) {
    if (event.ctrlKey || event.metaKey || this.settings.busy) return false;
    if (ARROWS[event.key]) return this.arrow(event), true;
    if (event.key === " " || event.key === "Enter") return this.use(event), true;
    if (!this.drawing.busy || (event.key !== "Escape" && event.key !== "Backspace")) return false;
    this.takeBack(event.key);
    return true;
  }

  takeBack(key) {
    const { drawing } = this;
    this.painting = null;
    if (drawing.stroke) drawing.cancelStroke();
    else if (key === "Backspace") drawing.dropCorner();
    else drawing.cancelShape();
    this.say(this.texts["said-taken-back"]);
    this.hints.show(drawing);
  }

  arrow(event) {
    const [dx, dy] = ARROWS[event.key];
    if (event.altKey || this.settings.tool === "pan") return this.view.pan(-dx * PAN_CSS, -dy * PAN_CSS);
    this.showCursor();
    const step = Math.max(1, Math.round(this.drawing.longer / PARTS)) * (event.shiftKey ? BIGGER : 1);
    const { width, height } = this.drawing.mask;
    const within = (value, length) => Math.max(0, Math.min(length, value));
    const [x, y] = this.hints.cursor;
    this.moveTo(within(x + dx * step, width), within(y + dy * step, height));
  }

  moveTo(x, y) {
    this.hints.cursor = [x, y];
    this.view.reveal(x, y);
    if (this.drawing.stroke) this.drawing.moveStroke(x, y, null);
    if (this.drawing.shape) this.drawing.moveEnd(x, y);
    this.hints.show(this.drawing);
    this.say(this.texts["said-place"], { x: Math.round(x), y: Math.round(y) });
  }

  /** Space or Enter. Space paints while it is held, Enter until it is pressed again; with a mouse, space moves the picture. */
  use(event) {
    if (event.repeat) return;
    if (!this.hints.cursor && event.key === " ") return void (this.settings.space = true);
    this.showCursor();
    const { tool } = this.settings;
    if (tool === "polygon" || tool === "box") this.corner(tool, event.key);
    else if (this.drawing.stroke) this.lift();
    else if (tool !== "pan") this.set(tool, event.key === " " ? "held" : "on");
    this.hints.show(this.drawing);
  }

  set(tool, painting) {
    this.painting = painting;
    this.drawing.beginStroke(tool, this.settings.size, ...this.hints.cursor, null);
    if (painting === "on") this.say(this.texts["said-pen-down"]);
  }

  lift() {
    this.painting = null;
    this.drawing.endStroke();
  }

  corner(tool, key) {
    const { drawing, settings } = this;
    const [x, y] = this.hints.cursor;
    if (!drawing.shape) drawing.beginShape(tool, settings.mode, x, y);
    else if (tool === "box") return drawing.endShape(x, y) || this.say(this.texts["said-too-small"]);
    else if (key === "Enter") return drawing.endShape() || this.say(this.texts["said-too-few"]);
    else drawing.addCorner(x, y);
    return this.say(this.texts["said-corner"], { count: drawing.shape.points.length });
  }

  showCursor() {
    const { width, height } = this.drawing.mask ?? {};
    if (!width) return;
    const [x, y] = this.last;
    this.hints.cursor ??= [Math.floor(x * width) + 0.5, Math.floor(y * height) + 0.5];
    this.hints.show(this.drawing);
  }

  hideCursor() {
    const { hints, drawing } = this;
    if (!hints.cursor) return;
    this.last = [hints.cursor[0] / drawing.mask.width, hints.cursor[1] / drawing.mask.height];
    hints.cursor = null;
    hints.show(drawing);
  }

  leave() {
    this.settings.space = false;
    if (this.painting) this.lift();
    this.hideCursor();
  }
}
