"""The section "joint": what people and machines say of the same perturbations, on one axis of ε."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import at_threshold, drawing, people_and_machine, undetected, wording
from analysis.blocks import Block, Column, Figure, Finding, Paragraph, Section, Table
from analysis.study import Study
from analysis.undetected import FEWEST, Draws
from analysis.wording import bracket, confidence, grey, number, plain_percent

Rows = list[dict[str, Any]]
TITLE = "People and machine together"
NAMES = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}
QUANTITIES = {"area": "area of U over log₂ ε (octaves)", "maximum": "largest U"}


def section(study: Study) -> Section:
    """Returns the section ``joint``: U(ε), robust accuracy at people's threshold, ratio of thresholds, contrasts."""
    if (refused := _refusal(study)) is not None:
        return Section(name="joint", title=TITLE, results={"not_estimable": refused},
                       blocks=(Paragraph(text=refused["message"], kind="refusal"),))  # fmt: skip
    found = undetected.draw(study)
    fitted = at_threshold.fit(study, found, undetected.machine_curves_of(study))
    accuracies = at_threshold.accuracies(study, fitted)
    results = {
        "undetected": [_model(study, found, index) for index in range(len(study.export.cells.models))],
        "contrasts": [row for name in QUANTITIES for row in undetected.contrasts(study, found, name)],
        "at_threshold": accuracies,
        "at_threshold_contrasts": at_threshold.contrasts(study, fitted, accuracies),
        "ratios": at_threshold.ratios(study, fitted),
        "curves": people_and_machine.points(study, fitted.curves),
    }
    return Section(
        name="joint", title=TITLE, results=results, blocks=tuple(_blocks(study, results)),
        methods=_methods(study), findings=tuple(_findings(results)),
    )  # fmt: skip


def _refusal(study: Study) -> dict[str, str] | None:
    people, pictures = len(study.export.cells.participants), len(study.export.answers.pictures)
    if people < FEWEST or pictures < FEWEST:
        text = (
            f"Not estimable: people and pictures are resampled together, which takes {FEWEST} of each; there are "
            f"{wording.plural(people, 'participant')} and {wording.plural(pictures, 'picture')}."
        )
        return {"reason": "too_few", "message": text}
    return None


def _model(study: Study, found: Draws, model: int) -> dict[str, Any]:
    name = study.export.cells.models[model]
    if study.export.task == "2afc":
        text = f"{undetected.forced_choice(study.export.cells.choices)}, so misses are not counted"
        return _silent(name, "two_alternatives", text)
    levels = undetected.levels_judged(study, found, model)
    if not len(levels):
        return _silent(name, "no_outcomes", "of none of its pictures is it known whether they fool the machine")
    rates = undetected.rates(study, found, model)
    if len(levels) < 2:
        return {**_silent(name, "one_level", "an area over ε takes two levels of ε"), "by_eps": rates}
    return {
        "model": name, "by_eps": rates, **undetected.maximum(study, found, model),
        "area": undetected.area(study, found, model), "octaves": float(np.log2(levels[-1] / levels[0])),
    }  # fmt: skip


def _silent(name: str, reason: str, text: str) -> dict[str, Any]:
    return {"model": name, "by_eps": [], "not_estimable": {"reason": reason, "message": f"Not estimable: {text}."}}


# ---- words, tables, pictures ----


def _blocks(study: Study, results: dict[str, Any]) -> list[Block]:
    blocks: list[Block] = [people_and_machine.figure(study, results["curves"])]
    level = confidence(study.plan.alpha)
    told = [row for row in results["undetected"] if row["by_eps"]]
    if told:
        blocks += [_meaning(), *_selected(study), _rate_figure(study, told)]
        blocks += [_summary_table(told, level), *_contrast_table(results["contrasts"], level)]
    blocks += [Paragraph(text=f"{row['model']}: {row['not_estimable']['message']}", kind="refusal")
               for row in results["undetected"] if "not_estimable" in row]  # fmt: skip
    if not study.evaluations:
        text = "Not estimable: robust accuracy at people's threshold, since no evaluation was given (--evaluations)."
        blocks.append(Paragraph(text=text, kind="refusal"))
    elif results["at_threshold"]:
        blocks.append(_threshold_table(results["at_threshold"], level))
        blocks += _threshold_contrasts(results["at_threshold_contrasts"], level)
        blocks.append(_ratio_table(results["ratios"], level))
        messages = {
            f"{row['model']} ({row['attack']}): {row['not_estimable']['message']}"
            for row in (*results["at_threshold"], *results["ratios"])
            if "not_estimable" in row
        }
        blocks += [Paragraph(text=f"Not estimable: {text}.", kind="refusal") for text in sorted(messages)]
    return blocks


def _meaning() -> Paragraph:
    return Paragraph(
        text="The undetected attack rate U(ε) is the share of answers in which the picture fools its source model and "
        "the observer does not say that it was changed: an attack that is seen can be stopped, and one that does not "
        "fool does nothing. A picture that the machine gets wrong unattacked counts as one that fools. The largest of "
        "several estimated rates is a little too large on average, which its interval allows for; the area is not."
    )


def _selected(study: Study) -> list[Block]:
    if study.export.selected_on in ((), ("none",)):
        return []
    text = (
        "The pictures shown were kept because they fool their source models, so that U is that of attacks which "
        "succeed: it cannot be compared with that of a study whose pictures were not chosen so."
    )
    return [Paragraph(text=text, kind="note")]


def _rate_figure(study: Study, told: Rows) -> Figure:
    title = "Undetected attack rate by ε and source model"
    models, eps = study.export.cells.models, [float(value) for value in study.export.cells.eps]
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 4.6), layout="constrained")
        axes = figure.subplots()
        smallest = drawing.epsilon_axis(axes, eps, unit=study.export.eps_unit)
        for row in told:
            index = models.index(row["model"])
            colour, marker, dash = drawing.style(index)
            shift = 0.07 * (index - (len(models) - 1) / 2)
            x = [drawing.position(point["eps"], smallest) + shift for point in row["by_eps"]]
            rates = [point["rate"] for point in row["by_eps"]]
            drawing.points(axes, x, rates, [point["answers"] for point in row["by_eps"]], colour, marker)
            axes.plot(x, [rate["estimate"] for rate in rates], color=colour, linestyle=dash, linewidth=1.4,
                      marker=marker, label=row["model"])  # fmt: skip
        drawing.proportion_axis(axes, "fools the machine and is not noticed")
        axes.legend(loc="upper right", handlelength=3.4, title="source model", alignment="left")
        description = "; ".join(_peak(row) for row in told)
        svg = drawing.svg(figure, "undetected", title, description)
    level = confidence(study.plan.alpha)
    return Figure(
        name="undetected", title=title, description=description, svg=svg, table=_rate_table(told, level),
        caption=f"Share of answers to pictures that fool their source model and were not noticed; {level} intervals "
        "over participants and pictures.",
    )  # fmt: skip


def _peak(row: dict[str, Any]) -> str:
    point = max(row["by_eps"], key=lambda each: each["rate"]["estimate"])
    return f"{row['model']}: largest {drawing.percent(point['rate']['estimate'])} at ε = {point['eps']:g}"


def _rate_table(told: Rows, level: str) -> Table:
    rows = [{"model": row["model"], **point} for row in told for point in row["by_eps"]]
    return Table(
        name="undetected",
        caption=f"Undetected attack rate in % [{level} interval], and its parts; “if independent” is the product of "
        "fooled and not noticed.",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="ε", show=lambda row: wording.level(row["eps"])),
            Column(head="answers", show=lambda row: wording.thousands(row["answers"])),
            Column(head="U", show=lambda row: bracket(row["rate"], plain_percent)),
            Column(head="fooled", show=lambda row: plain_percent(row["fooled"])),
            Column(head="not noticed", show=lambda row: plain_percent(row["unseen"])),
            Column(head="if independent", show=lambda row: plain_percent(row["if_independent"])),
        ),
        rows=rows,
    )


def _summary_table(told: Rows, level: str) -> Table:
    return Table(
        name="undetected-summary",
        caption="Largest undetected attack rate in %, the ε where it is found and those where it may lie, and its area "
        "over log₂ ε between the tested ε, in octaves (1: an attack that always fools unseen, over one doubling of ε) "
        f"[{level} interval; of the largest, at least {level}].",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="largest U", show=lambda row: bracket(row["maximum"], plain_percent)),
            Column(head="at ε [may be]", show=_places),
            Column(head="area", show=lambda row: bracket(row["area"])),
            Column(head="of octaves", show=lambda row: number(row["octaves"], 1)),
        ),
        rows=[row for row in told if "area" in row],
    )


def _places(row: Any) -> str:
    return f"{wording.level(row['maximum_at'])} [{', '.join(map(wording.level, row['maximum_may_be_at']))}]"


def _contrast_table(rows: Rows, level: str) -> list[Block]:
    if not rows:
        return []
    table = Table(
        name="undetected-contrasts",
        caption=f"Differences in U between source models, paired by participants and pictures [{level} interval; of "
        f"the largest U, at least {level}]; p corrected after Holm for all pairs.",
        columns=(
            Column(head="source models", show=lambda row: f"{row['first']} − {row['second']}", row_head=True),
            Column(head="of", show=lambda row: QUANTITIES[row["quantity"]]),
            Column(head="difference", show=lambda row: bracket(row["difference"])),
            Column(head="t", show=lambda row: f"{number(row['t'])} ({number(row['df'], 1)})"),
            Column(head="p", show=lambda row: wording.p_value(row["p"])),
            Column(head="p (Holm)", show=lambda row: wording.p_value(row["p_holm"])),
        ),
        rows=rows,
    )
    return [table]


def _threshold_table(rows: Rows, level: str) -> Table:
    return Table(
        name="accuracy-at-threshold",
        caption="Robust accuracy in % where people begin to see: read off the robustness curve at their threshold, "
        f"linear in log₂ ε between tested ε and linear in ε below the smallest [{level} interval].",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="threshold", show=lambda row: NAMES[row["threshold"]]),
            Column(head="ε", show=lambda row: grey(row["eps"])),
            Column(head="robust accuracy", show=lambda row: bracket(row["accuracy"], plain_percent)),
        ),
        rows=rows,
    )


def _threshold_contrasts(rows: Rows, level: str) -> list[Block]:
    if not rows:
        return []
    table = Table(
        name="accuracy-at-threshold-contrasts",
        caption="Differences of robust accuracy where people begin to see, in points, each source model at its own "
        f"threshold, paired by participants and pictures [{level} interval]; p corrected after Holm for all rows.",
        columns=(
            Column(head="source models", show=lambda row: f"{row['first']} − {row['second']}", row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="threshold", show=lambda row: NAMES[row["threshold"]]),
            Column(head="difference", show=lambda row: bracket(row["difference"], plain_percent)),
            Column(head="t", show=lambda row: f"{number(row['t'])} ({number(row['df'], 1)})"),
            Column(head="p", show=lambda row: wording.p_value(row["p"])),
            Column(head="p (Holm)", show=lambda row: wording.p_value(row["p_holm"])),
        ),
        rows=rows,
    )
    return [table]


def _ratio_table(rows: Rows, level: str) -> Table:
    return Table(
        name="threshold-ratios",
        caption="People's ε₅₀ over the machine's, the ε at which accuracy lies midway between clean and floor "
        f"[{level} interval]. Above 1: the machine is fooled before people see anything.",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="attack", show=lambda row: row["attack"]),
            Column(head="ε₅₀ people", show=lambda row: grey(row.get("eps50_human"))),
            Column(head="ε₅₀ machine", show=lambda row: grey(row.get("eps50_machine"))),
            Column(head="ratio", show=lambda row: bracket(row["ratio"])),
        ),
        rows=rows,
    )


def _findings(results: dict[str, Any]) -> list[Finding]:
    found = []
    for row in results["undetected"]:
        if "area" in row:
            text = (
                f"Undetected attack rate of {row['model']}: largest {bracket(row['maximum'], plain_percent)} % at "
                f"ε = {row['maximum_at']:g}, area {bracket(row['area'])} of {number(row['octaves'], 1)} octaves."
            )
            found.append(Finding(analysis=f"undetected:{row['model']}", text=text))
    for row in results["contrasts"]:
        if row["quantity"] == "area":
            found += _contrast_findings(row)
    found += [
        Finding(
            analysis=f"robust-accuracy:{row['model']}/{row['attack']}/{row['threshold']}",
            text=f"Robust accuracy of {row['model']} under {row['attack']} at people's {NAMES[row['threshold']]} = "
            f"{grey(row['eps'])}: {bracket(row['accuracy'], plain_percent)} %.",
        )
        for row in results["at_threshold"]
        if row["accuracy"] is not None
    ]
    return found + [finding for row in results["at_threshold_contrasts"] for finding in _accuracy_findings(row)]


def _accuracy_findings(row: dict[str, Any]) -> list[Finding]:
    """Both orders, so that a plan may name either."""
    text = (
        f"Robust accuracy under {row['attack']} at people's {NAMES[row['threshold']]}, {row['first']} less "
        f"{row['second']}: {bracket(row['difference'], plain_percent)} points, t({number(row['df'], 1)}) = "
        f"{number(row['t'])}, p {wording.p_value(row['p'])}, after Holm {wording.p_value(row['p_holm'])}."
    )
    names, where = (row["first"], row["second"]), f"{row['attack']}/{row['threshold']}"
    return [Finding(analysis=f"robust-accuracy:{a}/{b}/{where}", text=text) for a, b in (names, names[::-1])]


def _contrast_findings(row: dict[str, Any]) -> list[Finding]:
    """Both orders, so that a plan may name either."""
    text = (
        f"Area of the undetected attack rate, {row['first']} less {row['second']}: {bracket(row['difference'])} "
        f"octaves, t({number(row['df'], 1)}) = {number(row['t'])}, p {wording.p_value(row['p'])}, after Holm "
        f"{wording.p_value(row['p_holm'])}."
    )
    names = (row["first"], row["second"])
    return [Finding(analysis=f"undetected:{a}/{b}", text=text) for a, b in (names, names[::-1])]


def _methods(study: Study) -> str:
    return (
        "Undetected attack rates, robust accuracies at people's thresholds and ratios of thresholds were computed from "
        f"the same pictures. Participants, pictures and pairs of both were drawn {wording.thousands(study.replicates)} "
        "times each, the same for all source models; variances are those of participants and of pictures less that of "
        "pairs (Cameron, Gelbach & Miller 2011), and at least the larger of the first two; intervals are ± t with "
        "Satterthwaite's degrees of freedom, those of single rates Wilson's with the effective number of answers. "
        "Intervals and tests of the largest undetected attack rate are put together from those of single ε with "
        "Bonferroni's quantile, and contrasts were corrected after Holm."
    )
