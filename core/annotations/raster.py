"""The one raster rule: which pixels a record of operations paints. docs/annotation.md says it in words.

Masks are binary: a pixel is painted if and only if its centre (i + 0.5, j + 0.5) is. Where coordinates and sizes are
multiples of a power of two, such as eighths of a pixel, and no pressure tapers the stroke, comparisons are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.annotations.operations import Box, Drawing, Operation, Points, Polygon, Stroke, live

RULE = "percepsilon-raster-1"
Mask = NDArray[np.bool_]  # [height, width]
_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]
_Places = NDArray[np.int64]
_PAIRS = 200_000  # segments × rows looked at in one go: bounds the memory, about 50 MB
_MANY = 20_000  # intervals from which one pass over the mask is faster than a loop


class _Segments(NamedTuple):
    """Discs that roll along lines from (ax, ay), radius ar, to (bx, by), radius br; arrays of one shape."""

    ax: _Floats
    ay: _Floats
    ar: _Floats
    bx: _Floats
    by: _Floats
    br: _Floats


def rasterise(operations: Sequence[Operation], width: int, height: int) -> Mask:
    """Returns the mask, bool [height, width], that a record of operations paints."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for operation in live(operations):
        painted = operation.tool == "brush" if isinstance(operation, Stroke) else operation.mode == "add"
        for starts, stops in _intervals(operation, width, height):
            _fill(mask, starts, stops, painted)
    return mask


def _intervals(operation: Drawing, width: int, height: int) -> Iterator[tuple[_Places, _Places]]:
    """Yields half-open intervals of the flattened mask."""
    match operation:
        case Stroke():
            yield from _of_stroke(operation, width, height)
        case Polygon(points=points):
            yield from _of_polygon(points, width, height)
        case Box(points=points):
            yield _of_box(points, width, height)


def _fill(mask: Mask, starts: _Places, stops: _Places, value: bool) -> None:
    flat = mask.reshape(-1)
    starts, stops = _merged(starts, stops)
    if len(starts) > _MANY:
        steps = np.zeros(flat.size + 1, dtype=np.int8)
        steps[starts] += 1  # merged intervals share no end, so no place is named twice
        steps[stops] -= 1
        flat[np.cumsum(steps[:-1], dtype=np.int8) > 0] = value
        return
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        flat[start:stop] = value


def _merged(starts: _Places, stops: _Places) -> tuple[_Places, _Places]:
    """Returns the same set of places as intervals that neither touch nor overlap, rising."""
    kept = stops > starts
    order = np.argsort(starts[kept], kind="stable")
    starts, stops = starts[kept][order], np.maximum.accumulate(stops[kept][order])
    if not len(starts):
        return starts, stops
    first = np.concatenate([[True], starts[1:] > stops[:-1]])
    last = np.concatenate([first[1:], [True]])
    return starts[first], stops[last]


def _of_box(points: Points, width: int, height: int) -> tuple[_Places, _Places]:
    (left, top), (right, bottom) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    columns = _first_centre(np.asarray([left, right]), width)
    rows = _first_centre(np.asarray([top, bottom]), height)
    begin = np.arange(rows[0], rows[1], dtype=np.int64) * width
    return begin + columns[0], begin + columns[1]


def _first_centre(edge: _Floats, length: int) -> _Places:
    """Returns the first pixel of an axis whose centre lies at ``edge`` or beyond; ``length`` if none does."""
    return np.clip(np.ceil(edge - 0.5), 0, length).astype(np.int64)


def _of_polygon(points: Points, width: int, height: int) -> Iterator[tuple[_Places, _Places]]:
    """Yields what lies between every odd crossing of a row and the next; an edge's upper end counts, its lower not."""
    x, y = points[:, 0], points[:, 1]
    nx, ny = np.roll(x, -1), np.roll(y, -1)
    down = ny > y
    edges = [np.where(down, *pair) for pair in ((x, nx), (y, ny), (nx, x), (ny, y))]  # from the upper end to the lower
    first, beyond = _first_centre(edges[1], height), _first_centre(edges[3], height)
    band = max(1, _PAIRS // len(points))
    for top in range(0, height, band):
        begin, end = (np.clip(rows, top, min(top + band, height)) for rows in (first, beyond))
        places = np.sort(_crossings(edges, begin, end, width))
        rows, columns = np.divmod(places, width + 1)
        flat = rows * width + columns
        yield flat[0::2], flat[1::2]


def _crossings(edges: list[_Floats], first: _Places, beyond: _Places, width: int) -> _Places:
    """Returns row · (width + 1) + the first pixel whose centre lies on an edge or to the right of it."""
    counts = beyond - first
    x0, y0, x1, y1 = (np.repeat(edge, counts) for edge in edges)
    rows = _ranges(first, counts)
    drop = rows + 0.5 - y0
    crossing = np.ceil(x0 + drop * (x1 - x0) / (y1 - y0) - 0.5)
    for step in (-1, 0):  # the quotient is rounded: ask the product about the pixel before, then about this one
        right = (crossing + step + 0.5 - x0) * (y1 - y0) >= drop * (x1 - x0)
        crossing = crossing + np.where(right, step, step + 1)
    return rows * (width + 1) + np.clip(crossing, 0, width).astype(np.int64)


def _of_stroke(stroke: Stroke, width: int, height: int) -> Iterator[tuple[_Places, _Places]]:
    """Yields, of each segment, one interval a row: what a disc covers that rolls along a line is convex."""
    segments = _segments(stroke)
    reach = np.maximum(segments.ar, segments.br)
    top = np.minimum(segments.ay, segments.by) - reach
    bottom = np.maximum(segments.ay, segments.by) + reach
    first = np.clip(np.floor(top - 0.5), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(bottom + 0.5), first, height).astype(np.int64) - first
    for chosen in _chunks(counts):
        rows = _ranges(first[chosen], counts[chosen])
        each = _Segments(*(np.repeat(values[chosen], counts[chosen]) for values in segments))
        y = rows.astype(np.float64) + 0.5
        left, right = _span(each, y)
        some = right >= left
        each, rows, y = _Segments(*(values[some] for values in each)), rows[some], y[some]
        start = _settled(each, y, np.ceil(left[some] - 0.5), 1)
        stop = _settled(each, y, np.floor(right[some] - 0.5), -1) + 1
        yield _flat(rows, start, width), _flat(rows, stop, width)


def _flat(rows: _Places, columns: _Floats, width: int) -> _Places:
    return rows * width + np.clip(columns, 0, width).astype(np.int64)


def _segments(stroke: Stroke) -> _Segments:
    """Returns the segments of a stroke; where one end's disc covers the other's, that disc alone."""
    points, radii = stroke.points[:, :2], stroke.radii()
    if len(points) == 1:
        points, radii = np.repeat(points, 2, axis=0), np.repeat(radii, 2)
    (ax, ay), (bx, by), ar, br = points[:-1].T, points[1:].T, radii[:-1], radii[1:]
    covered = np.hypot(bx - ax, by - ay) <= np.abs(br - ar)
    first, second = covered & (ar >= br), covered & (br > ar)
    return _Segments(
        ax=np.where(second, bx, ax), ay=np.where(second, by, ay), ar=np.where(second, br, ar),
        bx=np.where(first, ax, bx), by=np.where(first, ay, by), br=np.where(first, ar, br),
    )  # fmt: skip


def _span(each: _Segments, y: _Floats) -> tuple[_Floats, _Floats]:
    """Returns the ends of what a segment covers of the line at height ``y``, up to rounding; left > right if nothing.

    It is the hull of two discs: the discs themselves, and the quadrilateral between the points at which the two common
    tangents touch.
    """
    left, right = np.full(y.shape, np.inf), np.full(y.shape, -np.inf)
    for x0, y0, radius in ((each.ax, each.ay, each.ar), (each.bx, each.by, each.br)):
        room = radius * radius - (y - y0) ** 2
        half = np.where(room >= 0, np.sqrt(np.maximum(room, 0)), -np.inf)
        left, right = np.minimum(left, x0 - half), np.maximum(right, x0 + half)
    for x0, y0, x1, y1 in _tangents(each):
        height = y1 - y0
        share = np.clip((y - y0) / np.where(height == 0, 1, height), 0, 1)
        crossed = (np.minimum(y0, y1) <= y) & (y <= np.maximum(y0, y1))
        level = crossed & (height == 0)
        x = x0 + share * (x1 - x0)
        low, high = np.where(level, np.minimum(x0, x1), x), np.where(level, np.maximum(x0, x1), x)
        left = np.where(crossed, np.minimum(left, low), left)
        right = np.where(crossed, np.maximum(right, high), right)
    return left, right


def _tangents(each: _Segments) -> Iterator[tuple[_Floats, _Floats, _Floats, _Floats]]:
    """Yields the two common tangents, each between the points at which it touches the discs."""
    dx, dy = each.bx - each.ax, each.by - each.ay
    length = np.hypot(dx, dy)
    unit = np.where(length == 0, 1, length)
    ex, ey, taper = dx / unit, dy / unit, (each.ar - each.br) / unit
    across = np.sqrt(np.maximum(0, 1 - taper * taper))
    for side in (1, -1):
        nx, ny = taper * ex - side * across * ey, taper * ey + side * across * ex
        yield each.ax + each.ar * nx, each.ay + each.ar * ny, each.bx + each.br * nx, each.by + each.br * ny


def _settled(each: _Segments, y: _Floats, column: _Floats, inwards: int) -> _Floats:
    """Returns the outermost pixel that is painted, asking the rule itself about the pixels beside the computed end."""
    column = np.where(_covered(each, column - inwards + 0.5, y), column - inwards, column)
    for _ in range(2):
        column = np.where(_covered(each, column + 0.5, y), column, column + inwards)
    return column


def _covered(each: _Segments, x: _Floats, y: _Floats) -> _Flags:
    """Returns whether points lie in a disc that rolls along its segment; without divisions where it does not taper."""
    px, py, dx, dy = x - each.ax, y - each.ay, each.bx - each.ax, each.by - each.ay
    along, square, across = px * dx + py * dy, dx * dx + dy * dy, px * dy - py * dx
    near_a = px * px + py * py <= each.ar * each.ar
    near_b = (x - each.bx) ** 2 + (y - each.by) ** 2 <= each.br * each.br
    beside = (along > 0) & (along < square) & (across * across <= each.ar * each.ar * square)
    tapered = (each.ar != each.br) & (square > 0)
    if tapered.any():
        beside = np.where(tapered, _between(each, along, square, np.abs(across)), beside)
    return near_a | near_b | beside


def _between(each: _Segments, along: _Floats, square: _Floats, across: _Floats) -> _Flags:
    """Returns whether the disc that reaches furthest towards a point reaches it: r(s) − distance(s) is concave in s."""
    length = np.sqrt(np.where(square > 0, square, 1))
    growth = np.clip((each.br - each.ar) / length, -1 + 1e-12, 1 - 1e-12)
    offset = across / length
    place = np.clip(along / length + offset * growth / np.sqrt(1 - growth * growth), 0, length)
    return (place - along / length) ** 2 + offset**2 <= (each.ar + growth * place) ** 2


def _chunks(counts: _Places) -> Iterator[slice]:
    """Yields slices of neighbours with about ``_PAIRS`` in all, or a single one that has more."""
    ends = np.cumsum(counts)
    begin = 0
    while begin < len(counts):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _PAIRS, side="right")))
        yield slice(begin, end)
        begin = end


def _ranges(first: _Places, counts: _Places) -> _Places:
    """Returns first, first + 1, …, for ``counts`` steps each, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) - np.repeat(ends - counts, counts) + np.repeat(first, counts)
