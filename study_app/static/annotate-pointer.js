// Mouse, pen and fingers on the picture. One of them draws; two fingers move and zoom; once a pen was seen, a single
// finger or a palm does nothing.

const SECOND_FINGER_MS = 350; // a stroke that a second finger follows so soon was the beginning of a gesture
const PEN_MS = 1000; // after a pen, fingers that touch are a palm
const CLOSE_CSS = 12; // near enough to the first corner to close a polygon
const AGAIN_MS = 400; // a click so soon after a polygon was closed is the second one of a double click
const WHEEL = 0.0016;
const MIDDLE = 1;
const PEN_ERASER = 5;

const middle = ([one, other]) => [(one.x + other.x) / 2, (one.y + other.y) / 2];
const apart = ([one, other]) => Math.hypot(one.x - other.x, one.y - other.y) || 1;

export class Pointers {
  /** `settings` has tool, size, mode, pressure and whether the space bar is held; it is asked at each press. */
  constructor(surface, { view, drawing, hints, settings, onUse }) {
    Object.assign(this, { surface, view, drawing, hints, settings, onUse, fingers: new Map(), active: null, penAt: -Infinity });
    Object.assign(this, { began: 0, closed: -Infinity, penSeen: false });
    const on = (name, act, options) => surface.addEventListener(name, (event) => act.call(this, event), options);
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.up);
    on("pointerleave", this.leave);
    on("dblclick", this.closePolygon);
    on("wheel", this.wheel, { passive: false });
    on("contextmenu", (event) => event.preventDefault());
  }

  down(event) {
    if (this.settings.busy) return;
    this.onUse(event);
    if (event.pointerType === "pen") this.takePen(event);
    if (event.pointerType === "touch" && !this.takeFinger(event)) return;
    if (this.active) return;
    event.preventDefault();
    this.surface.focus({ preventScroll: true, focusVisible: false });
    this.surface.setPointerCapture(event.pointerId);
    this.active = { id: event.pointerId, kind: this.kindOf(event), x: event.clientX, y: event.clientY };
    this.began = event.timeStamp;
    if (this.active.kind === "draw") this.begin(event);
    this.surface.dataset.active = this.active.kind;
    this.hints.show(this.drawing);
  }

  /** From now on the pen draws; what a palm had begun before it is taken back. */
  takePen(event) {
    Object.assign(this, { penSeen: true, penAt: event.timeStamp });
    if (this.fingers.size === 0) return;
    this.fingers.clear();
    this.drawing.cancelStroke();
    this.rest();
  }

  /** Counts a finger; gives whether it may draw. A second one turns everything into moving and zooming. */
  takeFinger(event) {
    if (event.timeStamp - this.penAt < PEN_MS || this.active?.kind === "draw" && !this.fingers.has(this.active.id)) return false;
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.surface.setPointerCapture(event.pointerId);
    if (this.fingers.size === 2) {
      this.giveUp(event);
      this.active = { kind: "gesture" };
    }
    return this.fingers.size === 1 && !this.penSeen;
  }

  /** Ends what the first finger did: a stroke that has just begun was none. */
  giveUp(event) {
    if (this.active?.kind !== "draw") return;
    if (event.timeStamp - this.began < SECOND_FINGER_MS) {
      this.drawing.cancelStroke();
      const { shape } = this.drawing;
      if (shape?.tool === "box") this.drawing.cancelShape();
      else if (shape) this.drawing.dropCorner();
    } else this.drawing.endStroke();
  }

  kindOf(event) {
    if (event.button === MIDDLE || this.settings.space || this.settings.tool === "pan") return "pan";
    return event.button === 0 || event.button === PEN_ERASER ? "draw" : "nothing";
  }

  pressureOf(event) {
    return event.pointerType === "pen" && this.settings.pressure ? event.pressure : null;
  }

  begin(event) {
    const [x, y] = this.view.toPicture(event.clientX, event.clientY);
    const { mode, size } = this.settings;
    const tool = event.button === PEN_ERASER ? "erase" : this.settings.tool;
    if (tool === "brush" || tool === "erase") this.drawing.beginStroke(tool, size, x, y, this.pressureOf(event));
    else if (tool === "box") this.drawing.beginShape("box", mode, x, y);
    else this.polygonCorner(event, x, y);
  }

  polygonCorner(event, x, y) {
    const { shape } = this.drawing;
    if (event.timeStamp - this.closed < AGAIN_MS) return;
    if (!shape) return this.drawing.beginShape("polygon", this.settings.mode, x, y);
    const box = this.surface.getBoundingClientRect();
    const [fx, fy] = this.view.toOverlay(shape.points[0][0], shape.points[0][1]);
    const near = Math.hypot(fx + box.left - event.clientX, fy + box.top - event.clientY) < CLOSE_CSS;
    if (!near || shape.points.length < 3) return this.drawing.addCorner(x, y);
    this.closed = event.timeStamp;
    this.drawing.endShape();
  }

  closePolygon() {
    const { shape } = this.drawing;
    if (shape?.tool !== "polygon") return;
    if (shape.points.length > 1) this.drawing.dropCorner(); // the second click of the two
    this.drawing.endShape();
    this.hints.show(this.drawing);
  }

  move(event) {
    this.onUse(event);
    if (event.pointerType === "pen") this.penAt = event.timeStamp;
    if (this.fingers.has(event.pointerId) && this.active?.kind === "gesture") return this.gesture(event);
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const at = this.view.toPicture(event.clientX, event.clientY);
    if (event.pointerType !== "touch" || this.active) this.hints.pointer = at;
    if (this.active?.id === event.pointerId) this.drag(event);
    else if (this.drawing.shape) this.drawing.moveEnd(...at);
    this.hints.show(this.drawing);
  }

  drag(event) {
    const { kind, x, y } = this.active;
    if (kind === "pan") this.view.pan(event.clientX - x, event.clientY - y);
    if (kind === "draw") this.draw(event);
    Object.assign(this.active, { x: event.clientX, y: event.clientY });
  }

  draw(event) {
    if (this.drawing.shape) return this.drawing.moveEnd(...this.view.toPicture(event.clientX, event.clientY));
    if (!this.drawing.stroke) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) {
      this.drawing.moveStroke(...this.view.toPicture(each.clientX, each.clientY), this.pressureOf(each));
    }
  }

  gesture(event) {
    if (this.fingers.size < 2) return;
    const before = [...this.fingers.values()];
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const now = [...this.fingers.values()];
    const [[bx, by], [x, y]] = [middle(before), middle(now)];
    this.view.pan(x - bx, y - by);
    this.view.zoom(apart(now) / apart(before), x, y);
  }

  up(event) {
    this.fingers.delete(event.pointerId);
    if (this.active?.kind === "gesture" && this.fingers.size === 0) this.rest();
    if (this.active?.id !== event.pointerId) return;
    if (this.active.kind === "draw") this.end(event);
    this.rest();
    if (event.pointerType === "touch") this.hints.pointer = null;
    this.hints.show(this.drawing);
  }

  end(event) {
    if (this.drawing.stroke) this.drawing.endStroke();
    else if (this.drawing.shape?.tool === "box") this.drawing.endShape(...this.view.toPicture(event.clientX, event.clientY));
  }

  rest() {
    this.active = null;
    delete this.surface.dataset.active;
  }

  leave() {
    if (this.active) return;
    this.hints.pointer = null;
    this.hints.show(this.drawing);
  }

  wheel(event) {
    event.preventDefault();
    this.onUse(event);
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    if (event.shiftKey) this.view.pan(-event.deltaY * lines - event.deltaX * lines, 0);
    else this.view.zoom(Math.exp(-event.deltaY * lines * WHEEL * (event.ctrlKey ? 4 : 1)), event.clientX, event.clientY);
  }
}
