"""The figures of the report's own sections, drawn from results.json alone; the same results give the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from analysis import drawing, tables
from analysis.blocks import Figure
from analysis.drawing import INK, Style, percent, position

Row = dict[str, Any]
PLACE = 0.07  # octaves between the points of neighbouring source models at one ε


def _models(results: Row) -> Iterator[tuple[str, Row, Style, float]]:
    """Yields name, results, look and sideways shift of each source model."""
    count = len(results["source_models"])
    for index, (name, model) in enumerate(results["source_models"].items()):
        yield name, model, drawing.style(index), PLACE * (index - (count - 1) / 2)


def detection(results: Row) -> Figure:
    """Returns the figure of how often a perturbation was noticed, with the rates as its table."""
    words = tables.TASK_WORDS[tables.words_of(results["data"])]
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 4.8), layout="constrained")
        axes = figure.subplots()
        eps = [value for value in results["data"]["eps"] if value > 0 or results["observers"]["false_alarms"]]
        smallest = drawing.epsilon_axis(axes, eps, unit=results["data"]["eps_unit"])
        for name, model, look, shift in _models(results):
            drawing.band(axes, model["curve"]["eps"], model["curve"]["detection_rate"], look.colour, look.dash)
            _points(axes, model["by_eps"], "hit_rate", smallest, shift, look)
            axes.plot([], [], color=look.colour, marker=look.marker, linestyle=look.dash, label=name)
        _false_alarms(axes, results, smallest)
        drawing.proportion_axis(axes, words.share)
        axes.legend(loc="upper left", handlelength=3.4, title="source model", alignment="left")
        title = f"How often people {words.verb}, by ε and source model"
        text = "; ".join(_ends(name, model["by_eps"]) for name, model, _, _ in _models(results))
        svg = drawing.svg(figure, "detection", title, text)
    return Figure(
        name="detection", title=title, description=text, svg=svg, table=tables.rates(results),
        caption=f"Points: share of trials in which people {words.verb}, larger where more were answered, with "
        f"{tables.level_of(results)} intervals.{_lines(results)}{_at_zero(results, words)}",
    )  # fmt: skip


def _lines(results: Row) -> str:
    if all(model["curve"]["detection_rate"] is None for model in results["source_models"].values()):
        return " No curve is drawn, since none could be estimated."
    return f" Lines: fitted psychometric functions with pointwise {tables.level_of(results)} bands."


def _at_zero(results: Row, words: tables.TaskWords) -> str:
    known = results["data"]["task"] == "2afc" or results["observers"]["false_alarms"] is not None
    return f" {words.at_zero}" if known else ""


def _ends(name: str, points: list[Row]) -> str:
    first, last = points[0], points[-1]
    text = f"{name}: {percent(first['hit_rate']['estimate'])} at ε = {first['eps']:g}"
    return text if first is last else f"{text} to {percent(last['hit_rate']['estimate'])} at ε = {last['eps']:g}"


def _false_alarms(axes: Axes, results: Row, smallest: float) -> None:
    if (noise := results["observers"]["false_alarms"]) is None:
        return
    rate = {"estimate": noise["rate"], "low": noise["low"], "high": noise["high"]}
    drawing.points(axes, [position(0, smallest)], [rate], [noise["trials"]], INK, "o")
    axes.axhline(noise["rate"], color=INK, linewidth=0.7, linestyle=(0, (1, 3)))


def _points(axes: Axes, points: list[Row], key: str, smallest: float, shift: float, look: Style) -> None:
    x = np.array([position(point["eps"], smallest) for point in points]) + shift
    counts = [point["trials"] for point in points]
    drawing.points(axes, x, [point[key] for point in points], counts, look.colour, look.marker)
