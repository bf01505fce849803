"""Figures of the dashboard as geometry: pure functions from numbers to coordinates, which a template draws as SVG.

Units are those of the drawing (``WIDTH`` across); the origin is its upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study_app.researchers.dashboard import Interval, Level, Rates, Stage

WIDTH, HEIGHT, BARS_HEIGHT = 460.0, 250.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 10.0, 42.0
DODGE = 9.0  # between the series of one ε
LABEL_EVERY = 5  # bars
TRIALS_A_TICK = 20
UNCHANGED = 5  # the style of what has no source model; source models have those before it


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    """An estimate with its interval, and the words for it."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Series:
    """The marks of a source model, or of unchanged pictures; ``style`` is the same in all figures."""

    name: str
    style: int
    marks: tuple[Mark, ...]

    @property
    def line(self) -> str:
        """Returns the points of the polyline."""
        return " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in self.marks)


@dataclass(frozen=True)
class Curves:
    """A figure of estimates over ε."""

    series: tuple[Series, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Bar:
    """A bar and the words for it; ``tick`` is its label on the axis, if it has one."""

    x: float
    y: float
    width: float
    height: float
    label: str
    tick: str


Points = dict[str, list[tuple[int, Interval]]]


@dataclass(frozen=True)
class Axis:
    """The upright axis: its ends, its ticks, and whether its numbers are shares."""

    low: float
    high: float
    ticks: tuple[float, ...]
    percent: bool

    def words(self, value: float) -> str:
        """Returns a number as it is written in the figure."""
        return f"{value:.0%}" if self.percent else f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−")


def hit_rates(rates: Rates, chance: str) -> Curves:
    """Returns the rate of *yes* over ε, with the false alarms at ε = 0; ``chance`` is what they are called."""
    points: Points = {}
    for level in rates.levels:
        points.setdefault(level.run, []).append((level.eps, level.rate))
    noise = None if rates.false_alarms is None else (chance, rates.false_alarms)
    return _curves(points, noise, Axis(0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), percent=True))


def sensitivities(levels: Sequence[Level]) -> Curves:
    """Returns d′ over ε."""
    points: Points = {}
    for level in levels:
        if level.d_prime is not None:
            points.setdefault(level.run, []).append((level.eps, level.d_prime))
    bounds = [bound for each in points.values() for _, value in each for bound in (value.low, value.high)]
    low, high = math.floor(min([-0.5, *bounds])), math.ceil(max([2.0, *bounds]))
    step = max(1, (high - low + 5) // 6)
    ticks = tuple(float(tick) for tick in range(low, high + 1, step))
    return _curves(points, None, Axis(low, high, ticks, percent=False))


def _curves(points: Points, noise: tuple[str, Interval] | None, axis: Axis) -> Curves:
    """Returns the figure of the models' points, dodged sideways, after the one point without a perturbation."""
    levels = [*([0] if noise else []), *sorted({eps for each in points.values() for eps, _ in each})]
    step = (WIDTH - LEFT - RIGHT) / max(len(levels), 1)
    across = {eps: LEFT + step * (index + 0.5) for index, eps in enumerate(levels)}
    dodge, middle = min(DODGE, step / max(len(points), 1)), (len(points) - 1) / 2
    series = [
        Series(name, index % UNCHANGED, tuple(
            _mark(across[eps] + dodge * (index - middle), value, axis, f"{name}, ε = {eps}") for eps, value in each
        ))
        for index, (name, each) in enumerate(points.items())
    ]  # fmt: skip
    if noise is not None:
        series.insert(0, Series(noise[0], UNCHANGED, (_mark(across[0], noise[1], axis, noise[0]),)))
    shown = (Tick(_height(tick, axis.low, axis.high), axis.words(tick)) for tick in axis.ticks)
    return Curves(tuple(series), tuple(Tick(x, str(eps)) for eps, x in across.items()), tuple(shown))


def _mark(x: float, value: Interval, axis: Axis, name: str) -> Mark:
    numbers = (value.estimate, value.low, value.high)
    estimate, low, high = (axis.words(each) for each in numbers)
    y, bottom, top = (_height(each, axis.low, axis.high) for each in numbers)
    return Mark(x, y, bottom, top, f"{name}: {estimate} ({low} to {high})")


def _height(value: float, low: float, high: float, of: float = HEIGHT) -> float:
    share = (value - low) / (high - low)
    return of - BOTTOM - share * (of - TOP - BOTTOM)


def bars(counts: Sequence[int], names: Sequence[str], ticks: Sequence[str]) -> tuple[Bar, ...]:
    """Returns upright bars, as high as their counts; ``names`` are spoken, ``ticks`` stand below."""
    step = (WIDTH - LEFT - RIGHT) / max(len(counts), 1)
    most = max([1, *counts])
    return tuple(
        Bar(
            x=LEFT + index * step + step * 0.1,
            y=(y := _height(count, 0, most, BARS_HEIGHT)),
            width=step * 0.8,
            height=BARS_HEIGHT - BOTTOM - y,
            label=f"{name}: {count}",
            tick=tick,
        )
        for index, (count, name, tick) in enumerate(zip(counts, names, ticks, strict=True))
    )


def response_time_bars(counts: Sequence[int], bin_ms: int) -> tuple[Bar, ...]:
    """Returns the histogram of response times; the last bar holds all that are longer."""
    last = len(counts) - 1
    names = [
        f"{n * bin_ms} to {(n + 1) * bin_ms} ms" if n < last else f"{n * bin_ms} ms and more" for n in range(last + 1)
    ]
    ticks = [f"{n * bin_ms / 1000:g} s" if n % LABEL_EVERY == 0 else "" for n in range(last + 1)]
    return bars(counts, names, ticks)


def minute_bars(counts: Sequence[int]) -> tuple[Bar, ...]:
    """Returns the answers of each of the last minutes, the present one last."""
    ago = [len(counts) - 1 - index for index in range(len(counts))]
    names = [f"{minutes} min ago" if minutes else "this minute" for minutes in ago]
    ticks = ["now" if not minutes else f"−{minutes}" if minutes % (2 * LABEL_EVERY) == 0 else "" for minutes in ago]
    return bars(counts, names, ticks)


@dataclass(frozen=True)
class StageBar:
    """A stage as two lengths, in per cent of the longest stage."""

    stage: Stage
    left: float
    now: float


def stage_bars(stages: Sequence[Stage]) -> tuple[StageBar, ...]:
    """Returns how many left, and how many are, at each stage."""
    most = max([1, *(stage.left + stage.now for stage in stages)])
    return tuple(StageBar(stage, 100 * stage.left / most, 100 * stage.now / most) for stage in stages)
