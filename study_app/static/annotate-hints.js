// What lies over the picture and is not painted: the ring of the brush, the cursor of the keyboard, a shape in the making.

const NAMESPACE = "http://www.w3.org/2000/svg";

function element(svg, name, kind) {
  const each = document.createElementNS(NAMESPACE, name);
  each.setAttribute("class", kind);
  each.setAttribute("visibility", "hidden");
  svg.append(each);
  return each;
}

function place(each, attributes) {
  for (const [name, value] of Object.entries(attributes)) each.setAttribute(name, value);
  each.setAttribute("visibility", "visible");
}

const hide = (...all) => all.forEach((each) => each.setAttribute("visibility", "hidden"));

/** Everything twice: a dark line under a light one is seen on any picture. */
const pair = (svg, name, kind) => ["under", "over"].map((layer) => element(svg, name, `${kind} ${layer}`));

export class Hints {
  constructor(svg, view) {
    Object.assign(this, { view, rings: pair(svg, "circle", "ring"), crosses: pair(svg, "path", "cross") });
    Object.assign(this, { outlines: pair(svg, "path", "outline"), first: element(svg, "circle", "first") });
    Object.assign(this, { pointer: null, cursor: null, radius: 0 });
  }

  /** Shows everything where it is now; `shape` is the polygon or box that is being made. */
  show({ shape }) {
    this.showRing();
    this.showCursor();
    this.showShape(shape);
  }

  showRing() {
    const at = this.cursor ?? this.pointer;
    if (!at || this.radius <= 0) return hide(...this.rings);
    const [cx, cy] = this.view.toOverlay(...at);
    const r = Math.max(2, (this.radius * this.view.scale) / this.view.ratio);
    for (const ring of this.rings) place(ring, { cx, cy, r });
  }

  showCursor() {
    if (!this.cursor) return hide(...this.crosses);
    const [x, y] = this.view.toOverlay(...this.cursor);
    const d = `M${x - 14} ${y}h10M${x + 4} ${y}h10M${x} ${y - 14}v10M${x} ${y + 4}v10`;
    for (const cross of this.crosses) place(cross, { d });
  }

  showShape(shape) {
    if (!shape) return hide(...this.outlines, this.first);
    const points = [...shape.points.map(([x, y]) => [x, y]), shape.end].map((point) => this.view.toOverlay(...point));
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
    const box = `M${x0} ${y0}H${x1}V${y1}H${x0}Z`;
    const d = shape.tool === "box" ? box : `M${points.map((point) => point.join(" ")).join("L")}`;
    for (const outline of this.outlines) place(outline, { d });
    place(this.first, { cx: x0, cy: y0, r: shape.points.length > 2 ? 7 : 4 });
  }
}
