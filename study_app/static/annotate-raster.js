// The raster rule of docs/annotation.md for the eye: which pixels an operation covers, row by row. The server's mask
// counts; this one follows the same rule (core/annotations/raster.py), so that what is seen is what is kept.

/** The part of the line at height y that a disc covers which rolls from a to b, up to rounding; [∞, −∞] if none. */
function spanOf({ ax, ay, ar, bx, by, br, tangents }, y) {
  let [left, right] = [Infinity, -Infinity];
  for (const [x, above, radius] of [[ax, y - ay, ar], [bx, y - by, br]]) {
    const room = radius * radius - above * above;
    if (room < 0) continue;
    left = Math.min(left, x - Math.sqrt(room));
    right = Math.max(right, x + Math.sqrt(room));
  }
  for (const [x0, y0, x1, y1] of tangents) {
    if (y < Math.min(y0, y1) || y > Math.max(y0, y1)) continue;
    const ends = y0 === y1 ? [x0, x1] : [x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)];
    left = Math.min(left, ...ends);
    right = Math.max(right, ...ends);
  }
  return [left, right];
}

/** The two common tangents of the discs at a and b, each between the points at which it touches them. */
function tangentsOf(ax, ay, ar, bx, by, br) {
  const length = Math.hypot(bx - ax, by - ay);
  if (length === 0) return [];
  const [ex, ey, taper] = [(bx - ax) / length, (by - ay) / length, (ar - br) / length];
  const across = Math.sqrt(Math.max(0, 1 - taper * taper));
  return [1, -1].map((side) => {
    const [nx, ny] = [taper * ex - side * across * ey, taper * ey + side * across * ex];
    return [ax + ar * nx, ay + ar * ny, bx + br * nx, by + br * ny];
  });
}

function between({ ar, br }, along, square, across) {
  const length = Math.sqrt(square);
  const growth = Math.max(-1 + 1e-12, Math.min(1 - 1e-12, (br - ar) / length));
  const offset = Math.abs(across) / length;
  const best = along / length + (offset * growth) / Math.sqrt(1 - growth * growth);
  const place = Math.max(0, Math.min(length, best));
  return (place - along / length) ** 2 + offset ** 2 <= (ar + growth * place) ** 2;
}

/** Whether a point lies in the disc that rolls along the segment. */
function covers(each, x, y) {
  const [px, py, dx, dy] = [x - each.ax, y - each.ay, each.bx - each.ax, each.by - each.ay];
  if (px * px + py * py <= each.ar * each.ar) return true;
  if ((x - each.bx) ** 2 + (y - each.by) ** 2 <= each.br * each.br) return true;
  const [along, square, across] = [px * dx + py * dy, dx * dx + dy * dy, px * dy - py * dx];
  if (square > 0 && each.ar !== each.br) return between(each, along, square, across);
  return along > 0 && along < square && across * across <= each.ar * each.ar * square;
}

/** The outermost pixel that is covered, asking the rule itself about the pixels beside the computed end. */
function settled(each, y, computed, inwards) {
  let column = covers(each, computed - inwards + 0.5, y) ? computed - inwards : computed;
  for (let step = 0; step < 2 && !covers(each, column + 0.5, y); step += 1) column += inwards;
  return column;
}

/** The segment of a stroke; where one end's disc covers the other's, that disc alone. */
function segmentOf([ax, ay, ar], [bx, by, br]) {
  const covered = Math.hypot(bx - ax, by - ay) <= Math.abs(br - ar);
  if (covered && ar >= br) return { ax, ay, ar, bx: ax, by: ay, br: ar, tangents: [] };
  if (covered) return { ax: bx, ay: by, ar: br, bx, by, br, tangents: [] };
  return { ax, ay, ar, bx, by, br, tangents: tangentsOf(ax, ay, ar, bx, by, br) };
}

const radiusAt = ({ size, pressure }, point) => (size / 2) * (pressure ? 0.5 + 0.5 * point[3] : 1);
const firstCentre = (edge, length) => Math.max(0, Math.min(length, Math.ceil(edge - 0.5)));

/** Calls fill(row, start, stop) for what the stroke covers from its point `place − 1` to `place`; the dab for place 0. */
export function fillSegment(stroke, place, width, height, fill) {
  const end = (point) => [point[0], point[1], radiusAt(stroke, point)];
  const each = segmentOf(end(stroke.points[Math.max(0, place - 1)]), end(stroke.points[place]));
  const reach = Math.max(each.ar, each.br);
  const top = Math.max(0, Math.floor(Math.min(each.ay, each.by) - reach - 0.5));
  const bottom = Math.min(height, Math.ceil(Math.max(each.ay, each.by) + reach + 0.5));
  for (let row = top; row < bottom; row += 1) {
    const [left, right] = spanOf(each, row + 0.5);
    if (right < left) continue;
    const start = Math.max(0, settled(each, row + 0.5, Math.ceil(left - 0.5), 1));
    const stop = Math.min(width, settled(each, row + 0.5, Math.floor(right - 0.5), -1) + 1);
    if (stop > start) fill(row, start, stop);
  }
}

function fillBox({ points }, width, height, fill) {
  const [columns, rows] = [[0, width], [1, height]].map(([axis, length]) =>
    points.map((point) => firstCentre(point[axis], length)).sort((one, other) => one - other),
  );
  for (let row = rows[0]; row < rows[1]; row += 1) fill(row, columns[0], columns[1]);
}

/** The first pixel whose centre lies on an edge or to the right of it; the quotient is rounded, so the product is asked. */
function crossing(x0, y0, x1, y1, y) {
  let column = Math.ceil(x0 + ((y - y0) * (x1 - x0)) / (y1 - y0) - 0.5);
  for (const step of [-1, 0]) {
    const right = (column + step + 0.5 - x0) * (y1 - y0) >= (y - y0) * (x1 - x0);
    column += right ? step : step + 1;
  }
  return column;
}

/** Even-odd: what lies between every odd crossing of a row and the next. */
function fillPolygon({ points }, width, height, fill) {
  const rows = new Map();
  for (const [place, [ax, ay]] of points.entries()) {
    const [bx, by] = points[(place + 1) % points.length];
    const [x0, y0, x1, y1] = by > ay ? [ax, ay, bx, by] : [bx, by, ax, ay];
    for (let row = firstCentre(y0, height); row < firstCentre(y1, height); row += 1) {
      if (!rows.has(row)) rows.set(row, []);
      rows.get(row).push(Math.max(0, Math.min(width, crossing(x0, y0, x1, y1, row + 0.5))));
    }
  }
  for (const [row, ends] of rows) {
    ends.sort((one, other) => one - other);
    for (let at = 0; at + 1 < ends.length; at += 2) if (ends[at + 1] > ends[at]) fill(row, ends[at], ends[at + 1]);
  }
}

/** Calls fill(row, start, stop) for everything that an operation covers. */
export function fillOperation(operation, width, height, fill) {
  if (operation.tool === "box") fillBox(operation, width, height, fill);
  else if (operation.tool === "polygon") fillPolygon(operation, width, height, fill);
  else operation.points.forEach((_, place) => fillSegment(operation, place, width, height, fill));
}
