"""Operations: what an annotator does on a picture, one after the other. docs/annotation.md is the authority.

The record only grows: undoing is an operation too. ``parse`` is the check that the server makes of each operation.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError

MOST_POINTS = 20_000  # an operation
MOST_OPERATIONS = 5_000  # an annotation
LEAST_SIZE = 0.5  # picture pixels: a brush's diameter
_HINT = "see docs/annotation.md"
_COLUMNS = {"brush": 4, "erase": 4, "polygon": 3, "box": 3}
_KEYS: dict[str, tuple[str, ...]] = {
    "brush": ("tool", "size", "points", "pressure"),
    "erase": ("tool", "size", "points", "pressure"),
    "polygon": ("tool", "mode", "points"),
    "box": ("tool", "mode", "points"),
    "clear": ("tool", "t_ms"),
    "undo": ("tool", "t_ms"),
    "redo": ("tool", "t_ms"),
}
Mode = Literal["add", "remove"]
Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stroke:
    """A brush or an eraser drawn along a line.

    Attributes:
        size: its diameter in picture pixels.
        points: x, y, time (ms) and pressure (0..1), [N, 4].
        pressure: whether the diameter at a point is ``size`` · (0.5 + 0.5 · pressure), and not ``size``.
    """

    tool: Literal["brush", "erase"]
    size: float
    points: Points
    pressure: bool = False

    def radii(self) -> NDArray[np.float64]:
        """Returns the radius at each point, [N], in picture pixels."""
        share = 0.5 + 0.5 * self.points[:, 3] if self.pressure else np.ones(len(self.points))
        return np.asarray(self.size / 2 * share, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Polygon:
    """A polygon, closed from its last point to its first: ``points`` are x, y and time (ms), [N ≥ 3, 3]."""

    mode: Mode
    points: Points


@dataclass(frozen=True, kw_only=True, eq=False)
class Box:
    """A rectangle between two opposite corners: ``points`` are x, y and time (ms), [2, 3]."""

    mode: Mode
    points: Points


@dataclass(frozen=True, kw_only=True)
class Mark:
    """An operation without points, at a time in ms."""

    tool: Literal["clear", "undo", "redo"]
    t_ms: float


Drawing = Stroke | Polygon | Box
Operation = Drawing | Mark


def parse(value: Any, width: int, height: int) -> Operation:
    """Returns the operation that a JSON object holds, on a picture of ``width`` × ``height`` pixels.

    Raises:
        DataError: it holds none; the message says what is wrong, in words that a client can show.
    """
    tool = _tool(value)
    _check_keys(value, tool)
    if tool in ("clear", "undo", "redo"):
        time = _number(value["t_ms"], f"{tool}: t_ms")
        if time < 0:
            raise DataError(f"{tool}: t_ms: expected milliseconds from 0, got {time:g}; {_HINT}")
        return Mark(tool=cast("Literal['clear', 'undo', 'redo']", tool), t_ms=time)
    points = _points(value["points"], tool, _COLUMNS[tool])
    if tool in ("brush", "erase"):
        return _stroke(value, tool, points, width, height)
    _check_place(points, tool, max(width, height) / 4, width, height)
    mode = _mode(value["mode"], tool)
    if tool == "box":
        if len(points) != 2:
            raise DataError(f"box: points: expected 2 opposite corners, got {len(points)}; {_HINT}")
        return Box(mode=mode, points=points)
    if len(points) < 3:
        raise DataError(f"polygon: points: expected at least 3, got {len(points)}; {_HINT}")
    return Polygon(mode=mode, points=points)


def parse_all(values: Sequence[Any], width: int, height: int) -> tuple[Operation, ...]:
    """Returns the operations of an annotation.

    Raises:
        DataError: there are too many, or one is none; the message names its place.
    """
    if len(values) > MOST_OPERATIONS:
        raise DataError(f"operations: expected at most {MOST_OPERATIONS:,}, got {len(values):,}; {_HINT}")
    operations = []
    for index, value in enumerate(values):
        try:
            operations.append(parse(value, width, height))
        except DataError as error:
            raise DataError(f"operation {index}: {error}") from None
    return tuple(operations)


def live(operations: Sequence[Operation]) -> tuple[Drawing, ...]:
    """Returns the drawings that stand after every undo, redo and clear, in order.

    Undo takes back the last operation that stands, clear among them, and does nothing where none does. Redo brings back
    what was undone last; any other operation forgets what could be redone. Clear takes away all that stands before it.
    """
    done: list[Drawing | Mark] = []
    undone: list[Drawing | Mark] = []
    for operation in operations:
        match operation:
            case Mark(tool="undo"):
                if done:
                    undone.append(done.pop())
            case Mark(tool="redo"):
                if undone:
                    done.append(undone.pop())
            case _:
                done.append(operation)
                undone.clear()
    cleared = [index for index, operation in enumerate(done) if isinstance(operation, Mark)]
    kept = done[cleared[-1] + 1 :] if cleared else done
    return tuple(operation for operation in kept if not isinstance(operation, Mark))


def _tool(value: Any) -> str:
    if not isinstance(value, Mapping) or not isinstance(value.get("tool"), str):
        raise DataError(f"operation: expected an object with a tool, got {str(value)[:60]!r}; {_HINT}")
    tool = str(value["tool"])
    if tool not in _KEYS:
        near = difflib.get_close_matches(tool, _KEYS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else _HINT
        raise DataError(f"operation: tool: expected one of {', '.join(_KEYS)}, got {tool[:40]!r}; {hint}")
    return tool


def _check_keys(value: Mapping[str, Any], tool: str) -> None:
    if strange := [key for key in value if key not in _KEYS[tool]]:
        raise DataError(f"{tool}: unknown key {str(strange[0])[:40]!r}; known keys: {', '.join(_KEYS[tool])}")
    if missing := [key for key in _KEYS[tool] if key not in value and key != "pressure"]:
        raise DataError(f"{tool}: missing key {missing[0]!r}; {_HINT}")


def _stroke(value: Mapping[str, Any], tool: str, points: Points, width: int, height: int) -> Stroke:
    size, largest = _number(value["size"], f"{tool}: size"), max(width, height)
    if not LEAST_SIZE <= size <= largest:
        raise DataError(f"{tool}: size: expected {LEAST_SIZE} to {largest} picture pixels, got {size:g}; {_HINT}")
    pressure = value.get("pressure", False)
    if not isinstance(pressure, bool):
        raise DataError(f"{tool}: pressure: expected true or false, got {str(pressure)[:40]!r}; {_HINT}")
    if points[:, 3].min() < 0 or points[:, 3].max() > 1:
        raise DataError(f"{tool}: points: expected pressures from 0 to 1, got one beyond; {_HINT}")
    _check_place(points, tool, size, width, height)
    return Stroke(tool=cast("Literal['brush', 'erase']", tool), size=size, points=points, pressure=pressure)


def _points(value: Any, tool: str, columns: int) -> Points:
    if not isinstance(value, list | tuple) or not value:
        raise DataError(f"{tool}: points: expected a list of points, got {str(value)[:40]!r}; {_HINT}")
    if len(value) > MOST_POINTS:
        raise DataError(
            f"{tool}: points: expected at most {MOST_POINTS:,}, got {len(value):,}; end the stroke and begin another"
        )
    form = "[x, y, t_ms, pressure]" if columns == 4 else "[x, y, t_ms]"
    for index, point in enumerate(value):
        if not isinstance(point, list | tuple) or len(point) != columns or not all(map(_is_number, point)):
            raise DataError(f"{tool}: point {index}: expected {form}, got {str(point)[:60]!r}; {_HINT}")
    points = np.asarray(value, dtype=np.float64)
    if points[0, 2] < 0 or (np.diff(points[:, 2]) < 0).any():
        raise DataError(f"{tool}: points: expected times from 0 that do not fall, got one that does; {_HINT}")
    return points


def _check_place(points: Points, tool: str, margin: float, width: int, height: int) -> None:
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    if (low < -margin).any() or high[0] > width + margin or high[1] > height + margin:
        raise DataError(
            f"{tool}: points: expected them in the picture of {width}×{height} pixels or at most {margin:g} pixels "
            f"outside, got x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}; {_HINT}"
        )


def _mode(value: Any, tool: str) -> Mode:
    if value not in ("add", "remove"):
        raise DataError(f"{tool}: mode: expected 'add' or 'remove', got {str(value)[:40]!r}; {_HINT}")
    return cast("Mode", value)


def _number(value: Any, where: str) -> float:
    if not _is_number(value):
        raise DataError(f"{where}: expected a finite number, got {str(value)[:40]!r}; {_HINT}")
    return float(value)


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a finite number that a float can hold; JSON knows neither NaN nor infinity, Python does."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
