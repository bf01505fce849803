"""The section ``sensitivity``: words, figures and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, estimates, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Row, Section, Table
from analysis.sensitivity.cells import RATING_DRAWS, by_cell, by_rating
from analysis.study import Study
from analysis.trials import Export, Task
from analysis.wording import bracket, number

TITLE = "Sensitivity and criterion"
SHIFT = 0.07  # octaves between the points of neighbouring source models
FIELDS: dict[str, str] = {
    "d_prime": "sensitivity d′", "criterion": "criterion c", "log_beta": "ln β", "bias": "side bias",
    "d_prime_independent": "d′, independent observations",
}  # fmt: skip
DRAWN = ("d_prime", "criterion", "bias", "d_prime_independent")
WORDS: dict[Task, str] = {
    "yes-no": "d′ = z(H) − z(F) says how well a perturbation is told from none; c = −(z(H) + z(F)) / 2 how readily "
    "people say yes (below 0: readily). All cells share the trials without perturbation, so their d′ err together. "
    "Where everything is detected the number of answers limits d′: it is “at least so much”.",
    "2afc": "d′ = (z(H) − z(F)) / √2 from answers “left” by the side of the perturbed picture, so that a preference "
    "for a side does not lower it; a side bias above 0 is a preference for the right.",
    "same-different": "d′ under two rules: the evidence of the two pictures is compared (differencing), or each is "
    "judged by itself (independent observations). Which rule people follow cannot be told from these rates, so "
    "compare source models within one rule. 0: “different” was said no more often than of equal pairs.",
}  # fmt: skip


def section(study: Study) -> Section:
    """Returns the section ``sensitivity``."""
    export = study.export
    if (message := _refusal(export)) is not None:
        text = f"Not estimable: {message[1]}."
        return Section(
            name="sensitivity", title=TITLE, results={"not_estimable": {"reason": message[0], "message": text}},
            blocks=(Paragraph(text=text, kind="refusal"),),
        )  # fmt: skip
    level, of = 1 - study.plan.alpha, wording.confidence(study.plan.alpha)
    rows = by_cell(export, study.replicates, study.seed, level)
    results: dict[str, Any] = {"task": export.task, "by_eps": rows}
    blocks: list[Block] = [Paragraph(text=WORDS[export.task]), _figure(export, rows, of)]
    if export.task == "yes-no" and (export.answers.rating != 0).any():
        results["ratings"] = by_rating(export, study.replicates, study.seed, level)
        blocks.append(_roc(export, results["ratings"], of))
    return Section(
        name="sensitivity", title=TITLE, results=results, blocks=tuple(blocks), methods=_methods(export.task, results)
    )


def _refusal(export: Export) -> tuple[str, str] | None:
    cells = export.cells
    if len(cells.participants) < estimates.MIN_PARTICIPANTS:
        return "too_few_participants", estimates.REASONS["too_few_participants"]
    if export.task != "2afc" and cells.trials[:, cells.model == -1].sum() == 0:
        return "no_noise_trials", estimates.REASONS["no_noise_trials"]
    if not cells.models:
        return "no_signal_trials", estimates.REASONS["no_signal_trials"]
    if export.task != "2afc" and cells.yes.sum() in (0, cells.trials.sum()):
        return "one_answer", estimates.REASONS["one_answer"]
    if export.task == "2afc" and cells.choices > 2:
        return "more_alternatives", f"d′ of {cells.choices} alternatives rests on more than the share of right answers"
    return None


def _methods(task: Task, results: dict[str, Any]) -> str:
    rule = {
        "yes-no": "Sensitivity d′ and criterion c were computed from hits and false alarms",
        "2afc": "Sensitivity d′ and side bias were computed from the answers by side",
        "same-different": "Sensitivity d′ was computed by the differencing rule (by bisection) and by that of "
        "independent observations (in closed form)",
    }[task]
    text = (
        f"{rule} pooled over participants, with the log-linear correction; intervals are ± t(P − 1) bootstrap standard "
        "errors over participants, or normal binomial ones (Gourevitch & Galanter) where those are wider."
    )
    if "ratings" in results:
        text += (
            " Confidence ratings gave ROC curves, the area under them (Mann-Whitney), and d_a and zROC slope by "
            f"maximum likelihood ({RATING_DRAWS} draws at most) of two normal distributions with their own variances."
        )
    return text


# ---- d′ and criterion ----


def _figure(export: Export, rows: list[dict[str, Any]], of: str) -> Figure:
    fields = [name for name in DRAWN if name in rows[0]]
    title = " and ".join(FIELDS[name] for name in fields) + " by ε and source model"
    title = title[0].upper() + title[1:]
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 0.8 + 3.1 * len(fields)), layout="constrained")
        panels = figure.subplots(len(fields), 1, squeeze=False)[:, 0]
        for axes, name in zip(panels, fields, strict=True):
            _panel(axes, export, rows, name)
        panels[0].legend(loc="best", handlelength=3.4, title="source model", alignment="left")
        description = "; ".join(_ends(name, rows, fields[0]) for name in export.cells.models)
        svg = drawing.svg(figure, "d-prime-criterion", title, description)
    return Figure(
        name="d-prime-criterion", title=title, description=description, svg=svg, table=_table(rows, of),
        caption=f"Points with {of} intervals over participants, from the pooled answers of each cell.",
    )  # fmt: skip


def _panel(axes: Any, export: Export, rows: list[dict[str, Any]], field: str) -> None:
    models = export.cells.models
    smallest = drawing.epsilon_axis(axes, [float(eps) for eps in export.cells.eps], unit=export.eps_unit)
    for index, name in enumerate(models):
        own, look = [row for row in rows if row["source_model"] == name], drawing.style(index)
        shift = SHIFT * (index - (len(models) - 1) / 2)
        x = np.array([drawing.position(row["eps"], smallest) for row in own]) + shift
        drawing.points(axes, x, [row[field] for row in own], [row["trials"] for row in own], look.colour, look.marker)
        axes.plot(x, [row[field]["estimate"] for row in own], color=look.colour, linestyle=look.dash, linewidth=1,
                  marker=look.marker, markersize=4, label=name)  # fmt: skip
    axes.axhline(0, color=drawing.MACHINE, linewidth=0.8)
    axes.set_ylabel(FIELDS[field])


def _ends(name: str, rows: list[dict[str, Any]], field: str) -> str:
    own = [row for row in rows if row["source_model"] == name]
    first, last = own[0], own[-1]
    return (
        f"{name}: d′ {number(first[field]['estimate'])} at ε = {first['eps']:g} and "
        f"{number(last[field]['estimate'])} at ε = {last['eps']:g}"
    )


def _table(rows: list[dict[str, Any]], of: str) -> Table:
    fields = [name for name in FIELDS if name in rows[0]]

    def column(name: str) -> Column:
        return Column(head=FIELDS[name].removeprefix("sensitivity "), show=lambda row: bracket(row[name]))

    return Table(
        name="d-prime-criterion",
        caption=f"Sensitivity and criterion by source model and ε [{of} interval]; * everything was detected, so that "
        "d′ is limited by the number of answers.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="answers", show=lambda row: wording.thousands(row["trials"]) + "*" * row["at_ceiling"]),
            *(column(name) for name in fields),
        ),
        rows=rows,
    )


# ---- ratings ----


def _roc(export: Export, rows: list[dict[str, Any]], of: str) -> Figure:
    models, title = export.cells.models, "ROC curves from confidence ratings"
    across = min(len(models), 3)
    with drawing.ink():
        down = -(-len(models) // across)
        figure = Drawing(figsize=(2.9 * across + 0.6, 3.1 * down), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for index, (axes, name) in enumerate(zip(panels, models, strict=False)):
            _curves(axes, [row for row in rows if row["source_model"] == name], drawing.style(index).colour, name)
        for axes in panels[len(models) :]:
            axes.set_visible(False)
        figure.supxlabel("false-alarm rate", fontsize=10.5)
        figure.supylabel("hit rate", fontsize=10.5)
        description = "; ".join(_area_words(row) for row in rows)
        svg = drawing.svg(figure, "roc", title, description)
    return Figure(
        name="roc", title=title, description=description, svg=svg, table=_roc_table(rows, of),
        caption="Each curve is one ε, thicker the larger it is; the diagonal is chance. Points: criteria from the "
        "strictest to the laxest.",
    )  # fmt: skip


def _curves(axes: Any, rows: list[dict[str, Any]], colour: str, name: str) -> None:
    axes.plot([0, 1], [0, 1], color=drawing.FAINT, linewidth=1)
    for place, row in enumerate(rows):
        axes.plot(row["false_alarm_rate"], row["hit_rate"], color=colour, linewidth=0.7 + 0.35 * place, marker="o",
                  markersize=3)  # fmt: skip
    axes.set_title(name)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")


def _area_words(row: Row) -> str:
    area = "not known" if row["area"] is None else number(row["area"]["estimate"])
    return f"{row['source_model']} at ε = {row['eps']:g}: area {area}"


def _roc_table(rows: list[dict[str, Any]], of: str) -> Table:
    return Table(
        name="roc",
        caption="Area under the ROC curve, d_a and zROC slope (1 over the standard deviation of the signal, in those "
        f"of the noise) [{of} interval]; – where the ratings do not tell it.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="answers", show=lambda row: wording.thousands(row["trials"])),
            Column(head="area", show=lambda row: bracket(row["area"])),
            Column(head="d_a", show=lambda row: bracket(row["d_a"])),
            Column(head="slope", show=lambda row: bracket(row["zroc_slope"])),
        ),
        rows=rows,
    )
