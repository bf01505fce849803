"""What a robot annotator draws: operations that paint a region as a hand with stated sloppiness would.

The region is the robot's own: where a picture's brightness differs most from its surroundings, near the middle. It is a
stand-in for what a person finds important, and says nothing about people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ConfigError

Mask = NDArray[np.bool_]
Operation = dict[str, Any]
REGION_SHARE = 0.25  # of the picture's pixels
STEP_MS, LIFT_MS = 16.0, 250.0  # between two points, between two operations
BRUSHES = 10  # brush diameters along the shorter side
OVERLAP = 0.6  # of a diameter from one line to the next


@dataclass(frozen=True, kw_only=True)
class Sloppiness:
    """How far a robot's hand is from the region that it sees; lengths are shares of the picture's shorter side.

    Attributes:
        shift: standard deviation of a shift of the whole drawing.
        scale: standard deviation of the logarithm of the region's size.
        jitter: standard deviation of each point.
        missed: share of the lines that are left out.
        stray: chance of a stroke somewhere else.
        none: chance of saying that nothing matters.
        skip: chance of skipping the picture.
    """

    shift: float = 0.03
    scale: float = 0.1
    jitter: float = 0.01
    missed: float = 0.05
    stray: float = 0.05
    none: float = 0.02
    skip: float = 0.01

    def __post_init__(self) -> None:
        for name in ("shift", "scale", "jitter"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ConfigError(f"sloppiness: {name}: expected from 0 to 1, got {value}")
        for name in ("missed", "stray", "none", "skip"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise ConfigError(f"sloppiness: {name}: expected from 0 to below 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What a robot hands in: ``outcome`` is ``regions``, ``none`` or ``skipped``; operations come with regions only."""

    outcome: str
    operations: tuple[Operation, ...] = ()


def draw(region: Mask, sloppiness: Sloppiness, generator: np.random.Generator) -> Drawn:
    """Returns what a robot makes of ``region`` [H, W]: an outline, brush strokes, a slip undone, an edge erased."""
    luck = generator.random()
    if luck < sloppiness.skip:
        return Drawn(outcome="skipped")
    if luck < sloppiness.skip + sloppiness.none or not region.any():
        return Drawn(outcome="none")
    hand = _Hand(region.shape[1], region.shape[0], sloppiness, generator)
    operations = hand.outline(region) if generator.random() < 0.5 else hand.strokes(region)
    if not operations:
        return Drawn(outcome="none")
    if generator.random() < sloppiness.stray:
        operations.append(hand.stray())
    if generator.random() < 0.3:
        operations += [hand.stray(), hand.lone("undo")]
    return Drawn(outcome="regions", operations=tuple(operations))


def region_of(pixels: NDArray[np.uint8], share: float = REGION_SHARE) -> Mask:
    """Returns the region that a robot sees in a picture, uint8 [H, W, 3]: bool [H, W] of about ``share`` of it."""
    grey = pixels.astype(float) @ np.array([0.299, 0.587, 0.114])
    height, width = grey.shape
    side = min(height, width)
    contrast = np.abs(grey - _blurred(grey, max(side // 3, 1)))
    rows, columns = (np.linspace(-1, 1, length) for length in (height, width))
    near = np.exp(-(rows[:, None] ** 2 + columns[None] ** 2))
    salient = _blurred(_blurred(contrast, max(side // 8, 1)), max(side // 8, 1)) * near
    return salient > np.quantile(salient, 1 - share)


def _blurred(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Returns the means of squares of 2 · radius + 1 pixels, the border repeated."""
    for axis in (0, 1):
        padded = np.pad(values, [(radius, radius) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        sums = np.cumsum(np.insert(padded, 0, 0.0, axis=axis), axis=axis)
        length, window = values.shape[axis], 2 * radius + 1
        values = (sums.take(range(window, window + length), axis) - sums.take(range(length), axis)) / window
    return values


class _Hand:
    """Moves over one picture: its shift and its time go on from operation to operation."""

    def __init__(self, width: int, height: int, sloppiness: Sloppiness, generator: np.random.Generator) -> None:
        self.limits = np.array([width, height], dtype=float)
        self.side = float(min(width, height))
        self.sloppiness, self.generator = sloppiness, generator
        self.size = max(round(self.side / BRUSHES * 8) / 8, 1.0)
        self.shift = generator.normal(0, sloppiness.shift * self.side, 2)
        self.stretch = float(np.exp(generator.normal(0, sloppiness.scale)))
        self.clock = 0.0

    def strokes(self, region: Mask) -> list[Operation]:
        """Brush strokes from left to right over the region's rows."""
        centre = np.argwhere(region).mean(axis=0)[::-1] + 0.5
        operations = []
        for row in np.arange(self.size / 2, self.limits[1], self.size * OVERLAP):
            for left, right in _runs(region[min(int(row), len(region) - 1)]):
                if self.generator.random() < self.sloppiness.missed:
                    continue
                inset = min(self.size / 2, (right - left) / 2)
                ends = np.array([[left + inset, row], [right - inset, row]])
                operations.append(self.stroke("brush", self.moved(_between(ends[0], ends[1], self.size), centre)))
        return operations

    def outline(self, region: Mask) -> list[Operation]:
        """A polygon around each band of rows that hang together, and an eraser along its lower edge now and then."""
        centre = np.argwhere(region).mean(axis=0)[::-1] + 0.5
        operations = []
        for top, bottom in _runs(np.asarray(region.any(axis=1))):
            if bottom - top < 2:
                continue
            step = max((bottom - top) // 12, 1)
            rows = [*range(top, bottom - 1, step), bottom - 1]
            spans = [np.flatnonzero(region[row])[[0, -1]] for row in rows]
            down = [(span[1] + 1, row + 0.5) for row, span in zip(rows, spans, strict=True)]
            up = [(span[0], row + 0.5) for row, span in zip(rows, spans, strict=True)]
            points = self.moved(np.array([*down, *reversed(up)], dtype=float), centre)
            operations.append({"tool": "polygon", "mode": "add", "points": self.timed(points)})
            if self.generator.random() < 0.3:
                ends = self.moved(np.array([[spans[-1][0], bottom], [spans[-1][1] + 1, bottom]], dtype=float), centre)
                operations.append(self.stroke("erase", _between(ends[0], ends[1], self.size)))
        return operations

    def stray(self) -> Operation:
        """A short stroke anywhere."""
        start = self.generator.random(2) * self.limits
        end = start + self.generator.normal(0, self.size, 2)
        return self.stroke("brush", self.inside(_between(start, end, self.size)))

    def lone(self, tool: str) -> Operation:
        """An operation without points."""
        self.clock += LIFT_MS
        return {"tool": tool, "t_ms": self.clock}

    def stroke(self, tool: str, points: NDArray[np.float64]) -> Operation:
        """A brush or eraser along points [N, 2]."""
        return {"tool": tool, "size": self.size, "points": [[*point, 0.5] for point in self.timed(points)]}

    def moved(self, points: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns points as this hand puts them: stretched about ``centre``, shifted, shaken."""
        shaken = self.generator.normal(0, self.sloppiness.jitter * self.side, points.shape)
        return self.inside((points - centre) * self.stretch + centre + self.shift + shaken)

    def inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns points on the picture, to an eighth of a pixel."""
        return np.clip(np.round(points * 8) / 8, 0, self.limits)

    def timed(self, points: NDArray[np.float64]) -> list[list[float]]:
        """Returns x, y and time of each point."""
        self.clock += LIFT_MS
        times = self.clock + STEP_MS * np.arange(len(points))
        self.clock = float(times[-1])
        return [[float(x), float(y), float(time)] for (x, y), time in zip(points, times, strict=True)]


def _between(start: NDArray[np.float64], end: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Returns points from ``start`` to ``end``, at most ``step`` apart."""
    count = int(np.ceil(np.hypot(*(end - start)) / step)) + 1
    return start + (end - start) * np.linspace(0, 1, count)[:, None] if count > 1 else start[None]


def _runs(line: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Returns begin and end (exclusive) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], line, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
