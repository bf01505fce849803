"""Figures of the dashboard as geometry: pure functions from numbers to coordinates, which a template draws as SVG.

Units are those of the drawing (``WIDTH`` across); the origin is its upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study_app.dashboard import Interval, Level, Rates, Stage

WIDTH, HEIGHT, BARS_HEIGHT = 460.0, 250.0, 150.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 12.0, 10.0, 42.0
DODGE = 9.0  # between the series of one ε
LABEL_EVERY = 5  # bars


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
    """The marks of a source model; ``line`` joins them, as the points of an SVG polyline."""

    name: str
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


def hit_rates(rates: Rates, chance: str) -> Curves:
    """Returns the rate of *yes* over ε, with the false alarms at ε = 0; ``chance`` is what they are called."""
    false_alarms = [] if rates.false_alarms is None else [(0, rates.false_alarms)]
    points = {chance: false_alarms} if false_alarms else {}
    for level in rates.levels:
        points.setdefault(level.run, []).append((level.eps, level.rate))
    return _curves(points, 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), percent=True)


def sensitivities(levels: Sequence[Level]) -> Curves:
    """Returns d′ over ε."""
    points: dict[str, list[tuple[int, Interval]]] = {}
    for level in levels:
        if level.d_prime is not None:
            points.setdefault(level.run, []).append((level.eps, level.d_prime))
    bounds = [bound for each in points.values() for _, value in each for bound in (value.low, value.high)]
    low, high = math.floor(min([-0.5, *bounds])), math.ceil(max([2.0, *bounds]))
    step = max(1, (high - low + 5) // 6)
    return _curves(points, low, high, tuple(float(tick) for tick in range(low, high + 1, step)), percent=False)


def _curves(
    points: dict[str, list[tuple[int, Interval]]], low: float, high: float, ticks: Sequence[float], *, percent: bool
) -> Curves:
    levels = sorted({eps for each in points.values() for eps, _ in each})
    step = (WIDTH - LEFT - RIGHT) / max(len(levels), 1)
    across = {eps: LEFT + step * (index + 0.5) for index, eps in enumerate(levels)}
    middle = (len(points) - 1) / 2
    series = []
    for index, (name, each) in enumerate(points.items()):
        shift = (index - middle) * min(DODGE, step / max(len(points), 1))
        series.append(Series(name, tuple(_mark(across[eps] + shift, value, low, high, eps, name, percent=percent)
                                         for eps, value in each)))  # fmt: skip
    shown = [Tick(_height(tick, low, high), f"{tick:.0%}" if percent else f"{tick:g}") for tick in ticks]
    return Curves(tuple(series), tuple(Tick(x, str(eps)) for eps, x in across.items()), tuple(shown))


def _mark(x: float, value: Interval, low: float, high: float, eps: int, name: str, *, percent: bool) -> Mark:
    numbers = [f"{each:.0%}" if percent else f"{each:.2f}" for each in (value.estimate, value.low, value.high)]
    label = f"{name}, ε = {eps}: {numbers[0]} ({numbers[1]} to {numbers[2]})"
    y, bottom, top = (_height(each, low, high) for each in (value.estimate, value.low, value.high))
    return Mark(x, y, bottom, top, label)


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
