"""People's share of noticing and machines' robust accuracy on one axis of ε, a panel a source model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from analysis import drawing, wording
from analysis.blocks import Column, Figure, Table
from analysis.intervals import clustered_wilson, normal_quantile, wilson
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from analysis.trials import Task
from analysis.wording import bracket, confidence, plain_percent

Rows = list[dict[str, Any]]
LOOKS = (("X", (0, ())), ("P", (0, (5, 2))), ("d", (0, (1, 1.3))), ("*", (0, (8, 2))))
SAID: dict[Task, str] = {
    "yes-no": "say that it was changed", "2afc": "name the changed one", "same-different": "say that they differ",
}  # fmt: skip


def points(study: Study, curves: Sequence[MachineCurve]) -> Rows:
    """Returns a row a point: people's share of noticing, machines' robust accuracy, each with its interval."""
    cells, rows = study.export.cells, []
    level = 1 - study.plan.alpha
    low, high = clustered_wilson(cells.yes, cells.trials, level)
    total = cells.trials.sum(axis=0)
    for index, name in enumerate(cells.models):
        for cell in cells.columns(index):
            if total[cell] > 0:
                share = {"estimate": float(cells.yes[:, cell].sum() / total[cell]), "low": float(low[cell])}
                rows.append({"model": name, "who": "people", "eps": float(cells.eps[cell]), "n": int(total[cell]),
                             "share": {**share, "high": float(high[cell])}})  # fmt: skip
    for curve in curves:
        lower, upper = wilson(curve.correct, curve.pictures, normal_quantile(level))
        rows += [
            {"model": curve.model, "who": curve.attack, "eps": float(eps), "n": int(n),
             "share": {"estimate": float(share), "low": float(a), "high": float(b)}}
            for eps, n, share, a, b in zip(curve.eps, curve.pictures, curve.accuracy, lower, upper, strict=True)
        ]  # fmt: skip
    return rows


def figure(study: Study, rows: Rows) -> Figure:
    """Returns the figure of ``points``."""
    title = "People and machine on one axis of ε, by source model"
    models = study.export.cells.models
    columns = min(len(models), 3)
    lines = -(-len(models) // columns)
    with drawing.ink():
        drawn = Drawing(figsize=(3.1 * columns + 0.8, 3.3 * lines + 0.6), layout="constrained")
        grid = drawn.subplots(lines, columns, sharey=True, squeeze=False)
        for index, axes in enumerate(grid.flat):
            axes.set_visible(index < len(models))
        for index, (name, axes) in enumerate(zip(models, grid.flat, strict=False)):
            _panel(
                axes,
                [row for row in rows if row["model"] == name],
                index,
                first=axes in grid[:, 0],
                said=_said(study),
                unit=study.export.eps_unit,
            )
            axes.set_title(name)
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper left", ncols=3, handlelength=3.4)
        description = "; ".join(_ends(name, rows) for name in models)
        svg = drawing.svg(drawn, "people-and-machine", title, description)
    caption = (
        f"People: share of answers that {_said(study)}. Machine: share of pictures that stay right, by "
        f"attack. {confidence(study.plan.alpha)} intervals."
    )
    return Figure(name="people-and-machine", title=title, description=description, svg=svg, caption=caption,
                  table=_curve_table(study, rows))  # fmt: skip


def _said(study: Study) -> str:
    """What people's share is of; among more than two alternatives, naming the right one."""
    return SAID[study.export.task] if study.export.cells.choices <= 2 else "are right"


def _panel(axes: Axes, rows: Rows, index: int, *, first: bool, said: str, unit: str) -> None:
    smallest = drawing.epsilon_axis(axes, [row["eps"] for row in rows], unit=unit, short=True)
    drawing.proportion_axis(axes, "share" if first else "")
    colour, marker, _ = drawing.style(index)
    for place, who in enumerate(dict.fromkeys(row["who"] for row in rows)):
        own = [row for row in rows if row["who"] == who]
        look = (colour, marker, (0, ())) if who == "people" else (drawing.MACHINE, *LOOKS[(place - 1) % len(LOOKS)])
        x = [drawing.position(row["eps"], smallest) for row in own]
        drawing.points(axes, x, [row["share"] for row in own], [row["n"] for row in own], look[0], look[1])
        label = f"people: {said}" if who == "people" else f"machine: right under {who}"
        axes.plot(x, [row["share"]["estimate"] for row in own], color=look[0], marker=look[1], linestyle=look[2],
                  linewidth=1.4, label=label)  # fmt: skip


def _ends(name: str, rows: Sequence[dict[str, Any]]) -> str:
    parts = []
    for who in dict.fromkeys(row["who"] for row in rows if row["model"] == name):
        own = [row["share"]["estimate"] for row in rows if (row["model"], row["who"]) == (name, who)]
        said = "people notice" if who == "people" else f"machine right under {who}"
        parts.append(f"{said} {drawing.percent(own[0])} to {drawing.percent(own[-1])}")
    return f"{name}: {', '.join(parts)}"


def _curve_table(study: Study, rows: Rows) -> Table:
    return Table(
        name="people-and-machine",
        caption=f"People: answers in % that {_said(study)}. Machine: pictures in % that stay right under an "
        f"attack [{confidence(study.plan.alpha)} interval].",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="who", show=lambda row: row["who"]),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="n", show=lambda row: wording.thousands(row["n"])),
            Column(head="share", show=lambda row: bracket(row["share"], plain_percent)),
        ),
        rows=rows,
    )
