"""The section ``contrasts``: which source model's perturbations are seen from a smaller ε on, and which alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, estimates, wording
from analysis.blocks import Block, Column, Figure, Finding, Paragraph, Row, Section, Table
from analysis.contrasts.comparing import Contrast, Difference, Pair, Settings, families
from analysis.plan import Plan
from analysis.population.two_stage import FEWEST_TRIALS, ParticipantThresholds, participant_thresholds
from analysis.study import Study
from analysis.threshold_draws import WORDS, thresholds_of
from analysis.wording import NONE, bracket, number, p_value

TITLE = "Differences between source models"
FEWEST_MODELS = 2
MOST_SENTENCES = 6  # with more pairs only the planned ones are put into words; the table has all


def section(study: Study) -> Section:
    """Returns the section ``contrasts``."""
    cells, task, plan = study.export.cells, study.export.task, study.plan
    if len(cells.models) < FEWEST_MODELS:
        return _refused("one_source_model", "perturbations of one source model were shown, so there is none to compare")
    if len(cells.participants) < estimates.MIN_PARTICIPANTS:
        return _refused("too_few_participants", estimates.REASONS["too_few_participants"])
    drawn = thresholds_of(study)
    settings = Settings(alpha=plan.alpha, margin=plan.margin_octaves, seed=study.seed)
    found = families(drawn, planned_pairs(plan), settings)
    people = participant_thresholds(cells, task)
    rows = [_row(contrast, people, plan.alpha) | {"alpha": plan.alpha} for contrast in found]
    return Section(
        name="contrasts",
        title=TITLE,
        results={"alpha": plan.alpha, "margin_octaves": plan.margin_octaves, "contrasts": rows},
        blocks=_blocks(rows, plan),
        methods=_methods(plan, study.replicates, people),
        findings=_findings(rows),
    )


def planned_pairs(plan: Plan) -> list[Pair]:
    """Returns the pairs of source models that a plan names under ``contrast:`` or ``equivalence:``, each once."""
    pairs: list[Pair] = []
    for name in plan.confirmatory:
        kind, _, what = name.partition(":")
        pair = _pair(what)
        if kind in ("contrast", "equivalence") and pair is not None and pair not in pairs:
            pairs.append(pair)
    return pairs


def _pair(what: str) -> Pair | None:
    """Splits ``first/second``; with regions, ``run/region/run/region``, in the middle."""
    parts = what.split("/")
    if len(parts) % 2:
        return None
    half = len(parts) // 2
    return "/".join(parts[:half]), "/".join(parts[half:])


def _refused(reason: str, words: str) -> Section:
    message = f"Not estimable: {words}."
    return Section(
        name="contrasts", title=TITLE, results={"not_estimable": {"reason": reason, "message": message}},
        blocks=(Paragraph(text=message, kind="refusal"),),
    )  # fmt: skip


# ---- numbers ----


def _row(contrast: Contrast, people: ParticipantThresholds, alpha: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "contrast": contrast.name, "first": contrast.first, "second": contrast.second, "quantity": contrast.quantity,
        "confirmatory": contrast.confirmatory, "reason": contrast.reason,
    }  # fmt: skip
    if contrast.found is None:
        return row | {"ratio": None}
    return row | _numbers(contrast.found) | {"d_z": _effect(contrast, people, 1 - alpha)}


def _numbers(found: Difference) -> dict[str, Any]:
    same = found.equivalence
    return {
        "ratio": {"estimate": 2**found.log2_ratio, "low": 2**found.low, "high": 2**found.high},
        "log2_ratio": {"estimate": found.log2_ratio, "low": found.low, "high": found.high},
        "standard_error": found.standard_error, "t": found.t, "df": found.df, "p": found.p, "p_holm": found.p_holm,
        "p_max_t": found.p_max_t, "family": found.family,
        "equivalence": {
            "margin_octaves": same.margin, "low": same.low, "high": same.high, "p": same.p, "p_holm": same.p_holm,
            "equivalent": same.equivalent,
        },
    }  # fmt: skip


def _effect(contrast: Contrast, people: ParticipantThresholds, level: float) -> dict[str, Any] | None:
    """d_z of the participants' own thresholds, which are of the first quantity only."""
    if contrast.quantity != people.quantity:
        return None
    fitted = people.difference(contrast.first, contrast.second)
    if fitted is None:
        return None
    low, high = fitted.effect_interval(level)
    return {
        "estimate": fitted.effect_size, "low": low, "high": high, "exact": fitted.exact,
        "censored": fitted.above + fitted.below, "unknown": fitted.unknown,
    }  # fmt: skip


# ---- words ----


def _findings(rows: Sequence[dict[str, Any]]) -> tuple[Finding, ...]:
    first = rows[0]["quantity"] if rows else None
    own = [row for row in rows if row["quantity"] == first]
    return tuple(
        finding
        for row in own
        for finding in (
            Finding(analysis=f"contrast:{row['contrast']}", text=_difference_words(row)),
            Finding(analysis=f"equivalence:{row['contrast']}", text=_equivalence_words(row)),
        )
    )


def _name(row: Row) -> str:
    return f"{row['first']} / {row['second']}"


def _difference_words(row: Row) -> str:
    if row["ratio"] is None:
        return f"Threshold ratio {_name(row)} ({WORDS[row['quantity']]}): not estimable, since {row['reason']}."
    text = (
        f"Threshold ratio {_name(row)} ({WORDS[row['quantity']]}) = {number(row['ratio']['estimate'])}, "
        f"{wording.confidence(row['alpha'])} CI "
        f"[{number(row['ratio']['low'])}, {number(row['ratio']['high'])}], t({row['df']}) = {number(row['t'], 1)}, "
        f"p {p_value(row['p'])}, p_Holm {p_value(row['p_holm'])} ({wording.plural(row['family'], 'test')})"
    )
    effect = row["d_z"]
    return f"{text}, d_z = {bracket(effect)}." if effect else f"{text}."


def _equivalence_words(row: Row) -> str:
    if row["ratio"] is None:
        return f"Equivalence of {_name(row)}: not estimable, since {row['reason']}."
    same = row["equivalence"]
    return (
        f"Equivalence of {_name(row)} within ± {same['margin_octaves']:g} octaves: "
        f"{'yes' if same['equivalent'] else 'no'} (p {p_value(same['p'])}; {100 - 200 * row['alpha']:g} % interval of "
        f"the log2 ratio [{number(same['low'])}, {number(same['high'])}])."
    )


def _blocks(rows: list[dict[str, Any]], plan: Plan) -> tuple[Block, ...]:
    shown = [row for row in rows if row["ratio"] is not None]
    first = rows[0]["quantity"]
    blocks: list[Block] = [
        Paragraph(
            text="A ratio above 1 says that the first source model’s perturbations are seen only from a larger ε on. "
            "A difference that is not found is no proof of sameness; that is what the test of equivalence is for."
        )
    ]
    own = [row for row in rows if row["quantity"] == first]
    few = len(own) <= MOST_SENTENCES
    blocks += [_sentence(row, plan) for row in own if few or row["confirmatory"] or row["ratio"] is None]
    if shown:
        blocks += [_forest(shown, plan), _equivalence_table(shown, plan)]
    return tuple(blocks)


def _sentence(row: Row, plan: Plan) -> Paragraph:
    label = "Planned. " if row["confirmatory"] else "Exploratory. " if plan.sha256 is not None else ""
    if row["ratio"] is None:
        return Paragraph(text=label + _difference_words(row), kind="refusal")
    return Paragraph(text=f"{label}{_difference_words(row)} {_equivalence_words(row)}", kind="result")


def _methods(plan: Plan, replicates: int, people: ParticipantThresholds) -> str:
    text = (
        f"Source models were compared by log2 threshold ratios over {replicates} common bootstrap draws of "
        "participants; t is the ratio over its bootstrap standard error (times √(P/(P−1))) with P − 1 degrees of "
        "freedom. p_Holm and, from the same draws, step-down max-t are adjusted within the planned contrasts and "
        f"within the others. Equivalence: two one-sided tests against ± {plan.margin_octaves:g} octaves at α = "
        f"{plan.alpha:g}."
    )
    if people.answered.any():
        text += (
            f" d_z is the mean over the standard deviation of participants’ own threshold differences (normal, "
            f"censored beyond the tested range), of those with {FEWEST_TRIALS} answers to each source model, with the "
            "interval of the noncentral t."
        )
    return text


# ---- figure and table ----


def _forest(rows: list[dict[str, Any]], plan: Plan) -> Figure:
    title = "Threshold ratios of source models"
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 1.5 + 0.36 * len(rows)), layout="constrained")
        axes = figure.subplots()
        margin = plan.margin_octaves
        axes.axvspan(-margin, margin, color=drawing.FAINT, alpha=0.5, linewidth=0)
        axes.axvline(0, color=drawing.INK, linewidth=0.8)
        for place, row in enumerate(rows):
            _draw(axes, place, row, plan.alpha)
        axes.set_yticks(range(len(rows)), [f"{_name(row)}, {WORDS[row['quantity']]}" for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        ticks = _ticks(rows, margin)
        axes.set_xticks(ticks, [f"{2.0**tick:g}" for tick in ticks])
        axes.set_xlabel(f"threshold ratio ({wording.confidence(plan.alpha)} interval; grey: margin of equivalence)")
        description = "; ".join(_ratio_words(row) for row in rows)
        svg = drawing.svg(figure, "contrasts", title, description)
    caption = (
        f"Filled: p_Holm < {plan.alpha:g}; open: not. Thin line: {wording.confidence(plan.alpha)} interval; thick "
        "line: that of the test of equivalence, which is passed if the thick line stays in the grey."
    )
    return Figure(
        name="contrasts",
        title=title,
        description=description,
        caption=caption,
        svg=svg,
        table=_table(rows, wording.confidence(plan.alpha)),
    )


def _draw(axes: Any, place: int, row: Row, alpha: float) -> None:
    ratio, same = row["log2_ratio"], row["equivalence"]
    colour = drawing.STYLES[0].colour if row["confirmatory"] else drawing.MACHINE
    axes.plot([ratio["low"], ratio["high"]], [place, place], color=colour, linewidth=1.1)
    axes.plot([same["low"], same["high"]], [place, place], color=colour, linewidth=3.2, solid_capstyle="butt")
    face = colour if row["p_holm"] < alpha else "white"
    axes.plot([ratio["estimate"]], [place], marker="o", markersize=8, markerfacecolor=face, markeredgecolor=colour)


def _ticks(rows: Sequence[Row], margin: float) -> list[float]:
    ends = [bound for row in rows for bound in (row["log2_ratio"]["low"], row["log2_ratio"]["high"])]
    low, high = int(np.floor(min(*ends, -margin))), int(np.ceil(max(*ends, margin)))
    step = max(1, (high - low) // 8)
    return [float(tick) for tick in range(low, high + 1) if tick % step == 0]


def _ratio_words(row: Row) -> str:
    ratio = row["ratio"]
    return (
        f"{_name(row)} by {WORDS[row['quantity']]}: {number(ratio['estimate'])}, from {number(ratio['low'])} to "
        f"{number(ratio['high'])}"
    )


def _table(rows: list[dict[str, Any]], of: str) -> Table:
    columns = (
        Column(head="first / second", show=_name, row_head=True),
        Column(head="quantity", show=lambda row: WORDS[row["quantity"]]),
        Column(head="planned", show=lambda row: "yes" if row["confirmatory"] else "no"),
        Column(head="ratio", show=lambda row: wording.bracket(row["ratio"])),
        Column(head="t (df)", show=lambda row: f"{number(row['t'], 1)} ({row['df']})"),
        Column(head="p", show=lambda row: p_value(row["p"])),
        Column(head="Holm", show=lambda row: p_value(row["p_holm"])),
        Column(head="max-t", show=lambda row: p_value(row["p_max_t"])),
        Column(head="d_z", show=lambda row: bracket(row["d_z"]) if row["d_z"] else NONE),
    )
    return Table(
        name="contrasts",
        caption=f"Threshold ratios [{of} interval] with tests of difference: p, adjusted by Holm and by max-t within "
        f"the family; d_z [{of} interval]: participants’ own differences.",
        columns=columns,
        rows=rows,
    )


def _equivalence_table(rows: list[dict[str, Any]], plan: Plan) -> Table:
    columns = (
        Column(head="first / second", show=_name, row_head=True),
        Column(head="quantity", show=lambda row: WORDS[row["quantity"]]),
        Column(head="log₂ ratio", show=_log_ratio),
        Column(head="p", show=lambda row: p_value(row["equivalence"]["p"])),
        Column(head="Holm", show=lambda row: p_value(row["equivalence"]["p_holm"])),
        Column(head="equivalent", show=lambda row: "yes" if row["equivalence"]["equivalent"] else "no"),
    )
    return Table(
        name="equivalence",
        caption=f"Equivalence within ± {plan.margin_octaves:g} octaves: log₂ ratio [{100 - 200 * plan.alpha:g} % "
        "interval], two one-sided tests (the larger p), adjusted by Holm; equivalent if the interval lies inside.",
        columns=columns,
        rows=rows,
    )


def _log_ratio(row: Row) -> str:
    same = row["equivalence"]
    return bracket({"estimate": row["log2_ratio"]["estimate"], "low": same["low"], "high": same["high"]})
