"""The section "pictures": which pictures fool the machine unseen, picture by picture.

The pictures that are listed were picked for their answers, so that intervals which hold for one picture would be too
short for them: of R listed ones among N those at 1 − αR/N are given, of which a share α misses at most, on average (the
false coverage rate of Benjamini & Yekutieli 2005, Journal of the American Statistical Association 100, 71–81).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, undetected, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Section, Table
from analysis.intervals import normal_quantile, wilson
from analysis.study import Study
from analysis.wording import bracket, confidence, number, plain_percent, thousands

Row = dict[str, Any]
TITLE = "Picture by picture"
TOP = 10
MOST_POINTS = 2000  # drawn in the scatter; all are in results.json


def section(study: Study) -> Section:
    """Returns the section ``pictures``: of each stimulus whose outcome is known how often it was seen."""
    if study.export.task == "2afc":
        return _silent("two_alternatives", undetected.forced_choice(study.export.cells.choices))
    rows = stimuli(study)
    if not rows:
        return _silent("no_outcomes", "of no picture is it known whether it fools its source model")
    ranked, level = pictures(rows, 1 - study.plan.alpha), confidence(study.plan.alpha)
    results = {
        "pictures": ranked, "listed": listed(ranked, study.plan.alpha), "noticing_and_margin": by_picture(rows),
    }  # fmt: skip
    return Section(
        name="pictures", title=TITLE, results=results, blocks=tuple(_blocks(study, rows, results["listed"])),
        methods=f"Pictures were ranked by the lower end of the {level} Wilson interval of the share of answers, over "
        "all ε, in which they fooled a source model and were not noticed; intervals of listed pictures are widened for "
        "their having been picked (false coverage rate, Benjamini & Yekutieli 2005).",
    )  # fmt: skip


def _silent(reason: str, text: str) -> Section:
    message = f"Not estimable: {text}."
    return Section(name="pictures", title=TITLE, results={"not_estimable": {"reason": reason, "message": message}},
                   blocks=(Paragraph(text=message, kind="refusal"),))  # fmt: skip


def stimuli(study: Study) -> list[Row]:
    """Returns a row a perturbed stimulus whose outcome is known: source, model, ε, outcome, margin, how often seen."""
    answers, cells = study.export.answers, study.export.cells
    fooled = undetected.known_outcomes(study)
    count = len(answers.stimuli)
    trials = np.bincount(answers.stimulus, minlength=count)
    seen = np.bincount(answers.stimulus, answers.yes, minlength=count)
    cell, picture = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    cell[answers.stimulus], picture[answers.stimulus] = answers.cell, answers.picture
    known = np.flatnonzero((fooled >= 0) & (cells.eps[cell] > 0) & (trials > 0))
    return [
        {
            "stimulus_id": answers.stimuli[index], "source_id": answers.pictures[picture[index]],
            "model": cells.models[cells.model[cell[index]]], "eps": float(cells.eps[cell[index]]),
            "fooled": bool(fooled[index]), "answers": int(trials[index]), "seen": int(seen[index]),
            "margin": float(answers.margin[index]) if np.isfinite(answers.margin[index]) else None,
        }
        for index in known
    ]  # fmt: skip


def pictures(rows: list[Row], level: float) -> list[Row]:
    """Returns a row a picture × source model, the most dangerous first: answers in which it fools and is not noticed.

    Ranked by the lower bound of Wilson's interval, so that a picture that was shown twice does not come first.
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    for row in rows:
        total = sums.setdefault((row["source_id"], row["model"]), np.zeros(3, dtype=int))
        total += [row["answers"], row["answers"] * row["fooled"], (row["answers"] - row["seen"]) * row["fooled"]]
    ranked = [_picture(level, *key, *map(int, total)) for key, total in sums.items()]
    return sorted(
        ranked, key=lambda row: (-row["rate"]["low"], -row["rate"]["estimate"], row["source_id"], row["model"])
    )


def listed(ranked: list[Row], alpha: float) -> list[Row]:
    """Returns the first ``TOP`` rows of ``pictures`` with undetected answers, with intervals widened for the choice."""
    top = [row for row in ranked if row["undetected"] > 0][:TOP]
    level = 1 - alpha * len(top) / len(ranked)
    return [{**row, "rate": _rate(row["undetected"], row["answers"], level)} for row in top]


def _picture(level: float, source: str, model: str, answers: int, fooling: int, unseen: int) -> Row:
    return {"source_id": source, "model": model, "answers": answers, "fooling": fooling, "undetected": unseen,
            "rate": _rate(unseen, answers, level)}  # fmt: skip


def _rate(unseen: int, answers: int, level: float) -> Row:
    low, high = wilson(np.array(float(unseen)), np.array(float(answers)), normal_quantile(level))
    return {"estimate": unseen / answers, "low": float(low), "high": float(high)}


def _blocks(study: Study, rows: list[Row], top: list[Row]) -> list[Block]:
    blocks: list[Block] = []
    if top:
        worst = top[0]
        text = (
            f"Most often fooling unseen: {worst['source_id']} against {worst['model']}, in {worst['undetected']} of "
            f"{wording.plural(worst['answers'], 'answer')}. Few answers a picture make such a list uncertain."
        )
        blocks += [Paragraph(text=text, kind="result"), _table(top, confidence(study.plan.alpha))]
    else:
        blocks.append(Paragraph(text="No picture fooled its source model and went unnoticed.", kind="result"))
    if any(row["margin"] is not None for row in rows):
        blocks.append(_figure(study, rows))
    else:
        text = "Not estimable: how noticing goes with the machine's margin, which the manifest does not hold."
        blocks.append(Paragraph(text=text, kind="refusal"))
    return blocks


def _table(rows: list[Row], level: str) -> Table:
    return Table(
        name="pictures",
        caption=f"The {len(rows)} pictures that most surely fool their source model unseen: answers over all ε, those "
        "to levels that fool, those of them that did not notice, and their share of all in % [interval; on average at "
        f"least {level} of those listed hold].",
        columns=(
            Column(head="picture", show=lambda row: row["source_id"], row_head=True),
            Column(head="source model", show=lambda row: row["model"]),
            Column(head="answers", show=lambda row: thousands(row["answers"])),
            Column(head="fooling", show=lambda row: thousands(row["fooling"])),
            Column(head="undetected", show=lambda row: thousands(row["undetected"])),
            Column(head="share", show=lambda row: bracket(row["rate"], plain_percent)),
        ),
        rows=rows,
    )


def by_picture(rows: list[Row]) -> list[Row]:
    """Returns a row a picture × source model: share of answers that noticed, and mean margin, both over its stimuli."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["margin"] is not None:
            groups.setdefault((row["model"], row["source_id"]), []).append(row)
    return [
        {
            "model": model, "source_id": source, "answers": sum(row["answers"] for row in own),
            "seen": sum(row["seen"] for row in own) / sum(row["answers"] for row in own),
            "margin": float(np.average([row["margin"] for row in own], weights=[row["answers"] for row in own])),
        }
        for (model, source), own in sorted(groups.items())
    ]  # fmt: skip


def _figure(study: Study, rows: list[Row]) -> Figure:
    title = "Noticing and the machine's margin, picture by picture"
    points = by_picture(rows)[:MOST_POINTS]
    models = study.export.cells.models
    with drawing.ink():
        figure = Drawing(figsize=(8.0, 4.4), layout="constrained")
        axes = figure.subplots()
        for index, name in enumerate(models):
            own, look = [point for point in points if point["model"] == name], drawing.style(index)
            sizes = [float(np.clip(4 * np.sqrt(point["answers"]), 10, 90)) for point in own]
            axes.scatter([point["margin"] for point in own], [point["seen"] for point in own], s=sizes,
                         color=look.colour, marker=look.marker, alpha=0.7, linewidths=0, label=name)  # fmt: skip
        axes.axvline(0, color=drawing.MACHINE, linewidth=0.8, linestyle=(0, (1, 3)))
        drawing.proportion_axis(axes, "answers that notice")
        axes.set_xlabel("mean margin of the source model (below 0: fooled)")
        axes.legend(loc="best", title="source model", alignment="left")
        description = "; ".join(_scatter_words(name, points) for name in models)
        svg = drawing.svg(figure, "pictures-scatter", title, description)
    return Figure(name="pictures-scatter", title=title, description=description, svg=svg, table=_scatter_table(points),
                  caption="A mark a picture and source model: share of answers that notice, and mean margin, over the "
                  "stimuli that were shown. Dangerous pictures lie at the lower left.")  # fmt: skip


def _scatter_words(name: str, points: list[Row]) -> str:
    own = [point for point in points if point["model"] == name]
    if not own:
        return f"{name}: no pictures"
    corner = sum(point["margin"] < 0 and point["seen"] < 0.5 for point in own)
    return (
        f"{name}: {corner} of {len(own)} pictures have a margin below 0 and are noticed in less than half the answers"
    )


def _scatter_table(points: list[Row]) -> Table:
    return Table(
        name="pictures-scatter",
        caption="Share of answers that notice in %, and mean margin, by picture and source model.",
        columns=(
            Column(head="picture", show=lambda row: row["source_id"], row_head=True),
            Column(head="source model", show=lambda row: row["model"]),
            Column(head="answers", show=lambda row: thousands(row["answers"])),
            Column(head="noticed", show=lambda row: plain_percent(row["seen"])),
            Column(head="mean margin", show=lambda row: number(row["margin"])),
        ),
        rows=points,
    )
