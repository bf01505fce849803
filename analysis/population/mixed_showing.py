"""What the section ``population`` says of the mixed model, conditional and marginal always told apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Table
from analysis.study import Study
from analysis.wording import bracket, grey, number

MARGINAL = (0, (4, 2))  # dash of curves averaged over people and pictures
KINDS = {"conditional": (0, ()), "marginal": MARGINAL}


def mixed_refusal(reason: str) -> list[Block]:
    """Returns why there is no mixed model."""
    return [Paragraph(text=f"No mixed model: {reason}.", kind="refusal")]


def mixed_methods(mixed: dict[str, Any]) -> str:
    """Returns the methods paragraph's sentences on the mixed model."""
    return (
        f"Mixed model: {mixed['formula']}, probit link, Laplace’s approximation with Fisher weights; the lapse rate λ "
        f"({wording.percent(mixed['lapse'])}) and the exponents b, with weak priors, are estimated with the rest; t "
        f"intervals with {mixed['participants'] - 1} degrees of freedom from the observed information."
    )


def mixed_blocks(mixed: dict[str, Any], study: Study) -> list[Block]:
    """Returns the estimates, both curves and the ratios."""
    sd = mixed["participant_sd"]
    text = (
        f"Mixed model of {wording.thousands(mixed['rows'])} combinations of participant, picture and ε: criterion k = "
        f"{bracket(mixed['criterion'])} (between participants: standard deviation {number(sd['criterion'])}), "
        f"sensitivity differs by {wording.percent(sd['slope'])} between participants, pictures by "
        f"{number(mixed['picture_sd'])} standard deviations of the evidence; {wording.percent(mixed['lapse'])} of the "
        "answers are given at random (lapses)."
    )
    blocks: list[Block] = [Paragraph(text=text, kind="result")]
    if mixed["singular"]:
        note = "The fit is singular: one of these spreads, or a correlation, is at its limit and not told by the data."
        blocks.append(Paragraph(text=note, kind="note"))
    return [*blocks, _curves(mixed, study), _contrast_table(mixed)]


def _curves(mixed: dict[str, Any], study: Study) -> Figure:
    cells = study.export.cells
    title = "Detection by the mixed model: typical observer, and average over people and pictures"
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 4.4), layout="constrained")
        axes = figure.subplots()
        drawing.epsilon_axis(axes, [float(eps) for eps in cells.eps], unit=study.export.eps_unit)
        for index, (name, curve) in enumerate(mixed["curves"].items()):
            look, x = drawing.style(index), np.log2(curve["eps"])
            for kind, dash in KINDS.items():
                axes.plot(x, curve[kind], color=look.colour, linewidth=1.6, linestyle=dash, label=f"{name}, {kind}")
            own = cells.model == index
            share = cells.yes[:, own].sum(axis=0) / np.maximum(cells.trials[:, own].sum(axis=0), 1)
            axes.plot(np.log2(cells.eps[own]), share, linestyle="none", marker=look.marker, markersize=5,
                      color=look.colour)  # fmt: skip
        drawing.proportion_axis(axes, "answers “yes”")
        axes.legend(loc="upper left", handlelength=3.4, fontsize=9)
        description = "; ".join(_threshold_words(name, found) for name, found in mixed["thresholds"].items())
        svg = drawing.svg(figure, "mixed-model", title, description)
    return Figure(
        name="mixed-model", title=title, description=description, svg=svg, table=_threshold_table(mixed),
        caption="Solid lines are conditional, the typical observer looking at the typical picture, and dashed lines "
        "marginal, the average over all observers and pictures, which is flatter because their curves rise at "
        "different ε; points: shares of all answers, which the marginal curve describes.",
    )  # fmt: skip


def _threshold_table(mixed: dict[str, Any]) -> Table:
    return Table(
        name="mixed-model",
        caption="ε at d′ = 1 by the mixed model [95 % interval]: conditional, of the typical observer and picture; "
        "marginal, of the answers averaged over observers and pictures (lapses apart).",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="conditional", show=lambda row: bracket(row["conditional"], grey)),
            Column(head="marginal", show=lambda row: bracket(row["marginal"], grey)),
            Column(head="exponent b", show=lambda row: number(row["exponent"])),
        ),
        rows=[{"source_model": name, **found} for name, found in mixed["thresholds"].items()],
    )


def _threshold_words(name: str, found: dict[str, Any]) -> str:
    own, averaged = found["conditional"], found["marginal"]
    if own is None:
        return f"{name}: ε at d′ = 1 of the typical observer lies beyond the tested range"
    text = f"{name}: ε at d′ = 1 is {grey(own['estimate'])} for the typical observer (conditional)"
    return text if averaged is None else f"{text}, {grey(averaged['estimate'])} on average (marginal)"


def _contrast_table(mixed: dict[str, Any]) -> Table:
    return Table(
        name="mixed-model-contrasts",
        caption="Ratios of ε at d′ = 1 of the typical observer by the mixed model [95 % interval, t with "
        f"{mixed['participants'] - 1} degrees of freedom], exploratory and not adjusted: a second look at the section "
        "on differences, which supposes that people differ alike towards all source models.",
        columns=(
            Column(head="first / second", show=lambda row: row["contrast"].replace("/", " / "), row_head=True),
            Column(head="ratio", show=lambda row: bracket(row["ratio"])),
            Column(head="t", show=lambda row: number(row["t"])),
            Column(head="p", show=lambda row: wording.p_value(row["p"])),
        ),
        rows=mixed["contrasts"],
    )
