"""What a robot annotator takes for salient, and how sloppily it paints that: pure, seeded functions of the pixels.

A robot knows nothing of people. Without masks its truth is a blob of high contrast, found by the spectral residual (Hou
and Zhang 2007, eq. 1-5) of the picture's grey levels; it says nothing about what people would paint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from core.annotations.operations import LEAST_SIZE
from core.annotations.raster import Mask
from core.errors import ConfigError
from core.pictures import Pixels

Operations = list[dict[str, Any]]
Floats = NDArray[np.float64]
BLOB_SHARE = 0.25  # of the picture's area
MS_A_POINT = 20
SIDE_A_BAND = 8  # a robot's brush is this part of the shorter side


@dataclass(frozen=True, kw_only=True)
class Sloppiness:
    """How far what a robot paints is from its truth; lengths are shares of the picture's shorter side.

    Attributes:
        shift: standard deviation of how far everything is moved, in each direction.
        scale: standard deviation of the logarithm of the size.
        jitter: standard deviation of each point, in each direction.
        missed: chance that a band of the regions is left out.
        false: chance of a region that is not there.
        none: chance to say that there is nothing; ``skip``: to skip the picture.
    """

    shift: float = 0.04
    scale: float = 0.1
    jitter: float = 0.015
    missed: float = 0.05
    false: float = 0.1
    none: float = 0.01
    skip: float = 0.01

    def __post_init__(self) -> None:
        for name in ("missed", "false", "none", "skip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"sloppiness: {name}: expected a chance from 0 to 1, got {getattr(self, name)}")
        for name in ("shift", "scale", "jitter"):
            if getattr(self, name) < 0:
                raise ConfigError(f"sloppiness: {name}: expected at least 0, got {getattr(self, name)}")

    def times(self, factor: float) -> Sloppiness:
        """Returns the sloppiness multiplied; chances go no higher than 1."""
        lengths = {name: factor * getattr(self, name) for name in ("shift", "scale", "jitter")}
        chances = {name: min(1.0, factor * getattr(self, name)) for name in ("missed", "false", "none", "skip")}
        return Sloppiness(**lengths, **chances)


def contrast_blob(pixels: Pixels) -> Mask:
    """Returns the quarter of a picture's pixels (uint8, [H, W, 3]) that stands out most by its spectral residual."""
    grey = pixels.astype(np.float64).mean(axis=2)
    spectrum = np.fft.fft2(grey)  # with its mean: without it the lowest frequencies would look unexpected
    amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = amplitude - _blurred(amplitude, 3, "wrap")
    salience = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = _blurred(_blurred(salience, max(3, min(grey.shape) // 6 | 1)), max(3, min(grey.shape) // 6 | 1))
    return np.asarray(smooth >= np.quantile(smooth, 1 - BLOB_SHARE), dtype=np.bool_)


def _blurred(values: Floats, width: int, mode: Literal["edge", "wrap"] = "edge") -> Floats:
    """Returns the mean over a square of an odd ``width``, by sums along the axes; ``mode`` is what lies beyond."""
    for axis in (0, 1):
        padded = np.pad(values, [(width // 2, width // 2) if each == axis else (0, 0) for each in (0, 1)], mode=mode)
        sums = np.cumsum(padded, axis=axis)
        zero = np.zeros_like(np.take(sums, [0], axis=axis))
        sums = np.concatenate([zero, sums], axis=axis)
        length = values.shape[axis]
        upper = np.take(sums, np.arange(width, width + length), axis=axis)
        values = (upper - np.take(sums, np.arange(length), axis=axis)) / width
    return values


def painted(truth: Mask, sloppiness: Sloppiness, draws: Generator) -> Operations:
    """Returns the operations of a robot that wants to paint ``truth``, by brush, polygons or boxes."""
    side = min(truth.shape)
    wanted = _moved(truth, sloppiness, draws, side)
    band = max(1, round(side / SIDE_A_BAND))
    tool = draws.choice(["brush", "polygon", "box"], p=[0.7, 0.2, 0.1])
    made: Operations = []
    for left, right, top, bottom in _runs(wanted, band):
        if draws.random() < sloppiness.missed:
            continue
        made += _region(str(tool), left, right, top, bottom, sloppiness.jitter * side, draws, truth.shape)
    return made + _slips(sloppiness, draws, truth.shape, band)


def _moved(truth: Mask, sloppiness: Sloppiness, draws: Generator, side: int) -> Mask:
    """Returns the truth moved and scaled about its centre."""
    rows, columns = np.nonzero(truth)
    if len(rows) == 0:
        return truth
    dy, dx = draws.normal(0, sloppiness.shift * side, 2)
    factor = float(np.exp(draws.normal(0, sloppiness.scale)))
    cy, cx = rows.mean(), columns.mean()
    y = np.clip(np.rint((np.arange(truth.shape[0]) - cy - dy) / factor + cy), 0, truth.shape[0] - 1).astype(np.int64)
    x = np.clip(np.rint((np.arange(truth.shape[1]) - cx - dx) / factor + cx), 0, truth.shape[1] - 1).astype(np.int64)
    return truth[np.ix_(y, x)]


def _runs(wanted: Mask, band: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields left, right, top and bottom of what each band of rows has of the regions, half open."""
    for top in range(0, len(wanted), band):
        bottom = min(top + band, len(wanted))
        covered = wanted[top:bottom].mean(axis=0) >= 0.5
        steps = np.flatnonzero(np.diff(np.concatenate([[0], covered.astype(np.int8), [0]])))
        for left, right in zip(steps[::2].tolist(), steps[1::2].tolist(), strict=True):
            yield left, right, top, bottom


def _region(
    tool: str, left: int, right: int, top: int, bottom: int, jitter: float, draws: Generator, shape: tuple[int, ...]
) -> Operations:
    if tool == "box":
        return [{"tool": "box", "mode": "add", "points": _timed([(left, top), (right, bottom)], jitter, draws, shape)}]
    if tool == "polygon":
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        return [{"tool": "polygon", "mode": "add", "points": _timed(corners, jitter, draws, shape)}]
    size = max(LEAST_SIZE, float(bottom - top) * 1.15)
    reach = min(size / 2, (right - left) / 2)
    line = np.linspace(left + reach, right - reach, max(2, (right - left) // max(1, bottom - top) + 1))
    return [_stroke("brush", [(float(x), (top + bottom) / 2) for x in line], size, jitter, draws, shape)]


def _slips(sloppiness: Sloppiness, draws: Generator, shape: tuple[int, ...], band: int) -> Operations:
    """Returns what is painted by mistake: some of it is undone or erased, some stays."""
    if draws.random() >= sloppiness.false:
        return []
    y, x = (float(draws.uniform(0, length)) for length in shape[:2])
    size = max(LEAST_SIZE, 1.5 * band)
    made = [_stroke("brush", [(x, y)], size, 0.0, draws, shape)]
    match draws.integers(3):
        case 0:
            made.append({"tool": "undo", "t_ms": MS_A_POINT})
        case 1:
            made.append(_stroke("erase", [(x, y)], size, 0.0, draws, shape))
        case _:
            pass
    return made


def _stroke(
    tool: str, line: list[tuple[float, float]], size: float, jitter: float, draws: Generator, shape: tuple[int, ...]
) -> dict[str, Any]:
    points = [[*point, 0.5] for point in _timed(line, jitter, draws, shape)]
    return {"tool": tool, "size": round(size, 3), "points": points}


def _timed(
    line: Sequence[tuple[float, float]], jitter: float, draws: Generator, shape: tuple[int, ...]
) -> list[list[float]]:
    """Returns points in the picture with their times, each moved at random by ``jitter`` pixels."""
    moved = np.asarray(line, dtype=np.float64) + draws.normal(0, 1, (len(line), 2)) * jitter
    moved = np.clip(moved, 0, (shape[1], shape[0]))
    return [[round(x, 2), round(y, 2), MS_A_POINT * place] for place, (x, y) in enumerate(moved.tolist())]
