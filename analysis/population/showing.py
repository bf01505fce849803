"""The section ``population``: what the next person would see, not only those who took part."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from analysis import drawing, estimates, wording
from analysis.blocks import Block, Column, Figure, Paragraph, Row, Section, Table
from analysis.intervals import t_interval
from analysis.likelihood import Floats
from analysis.population.censored_normal import FEWEST_EXACT, NormalFit
from analysis.population.mixed import mixed_model, mixed_results
from analysis.population.mixed_showing import mixed_blocks, mixed_methods, mixed_refusal
from analysis.population.two_stage import (
    FEWEST_LEVELS,
    FEWEST_TRIALS,
    ParticipantThresholds,
    own_intervals,
    participant_thresholds,
)
from analysis.study import Study
from analysis.threshold_draws import WORDS, ThresholdDraws, signal_levels, thresholds_of
from analysis.wording import bracket, grey, number, plural

TITLE = "From these participants to people"


def section(study: Study) -> Section:
    """Returns the section ``population``."""
    cells, task = study.export.cells, study.export.task
    if len(cells.participants) < estimates.MIN_PARTICIPANTS:
        text = f"Not estimable: {estimates.REASONS['too_few_participants']}."
        return Section(
            name="population", title=TITLE,
            results={"not_estimable": {"reason": "too_few_participants", "message": text}},
            blocks=(Paragraph(text=text, kind="refusal"),),
        )  # fmt: skip
    people = participant_thresholds(cells, task)
    pooled = thresholds_of(study)[0]
    level, of = 1 - study.plan.alpha, wording.confidence(study.plan.alpha)
    rows = [_row(people, pooled, index, signal_levels(cells, index), level) for index in range(len(cells.models))]
    fitted, reason = mixed_model(study.export)
    results: dict[str, Any] = {
        "quantity": people.quantity, "two_stage": rows,
        "participants": _participants(people, own_intervals(people, cells, task, level)),
        "mixed_model": {"not_estimable": reason} if fitted is None else mixed_results(fitted, study.export),
    }  # fmt: skip
    blocks: list[Block] = [
        _introduction(people),
        *_two_stage(people, rows, results["participants"], study.export.eps_unit, of),
    ]
    blocks += mixed_refusal(reason) if fitted is None else mixed_blocks(results["mixed_model"], study)
    return Section(
        name="population", title=TITLE, results=results, blocks=tuple(blocks), methods=_methods(people, rows, results)
    )


# ---- numbers ----


def _row(
    people: ParticipantThresholds, pooled: ThresholdDraws, index: int, levels: Floats, level: float
) -> dict[str, Any]:
    name = people.models[index]
    answered = int(people.answered[:, index].sum())
    fitted = people.of(name, level) if answered else None
    beyond = None if fitted is None else _side(fitted.mean, levels)
    if beyond is not None:
        fitted = None
    return {
        "source_model": name, "participants": int(pooled.saw[:, index].sum()), "fitted": answered,
        "too_few_answers": int(pooled.saw[:, index].sum()) - answered,
        "reason": None if fitted is not None else beyond or _why_not(people, index),
        **_distribution(fitted, levels),
        "sd_without_error": _sd_without_error(fitted, people, index),
        "pooled": _pooled(pooled, index, levels, level),
    }  # fmt: skip


def _side(mean: float, levels: Floats) -> str | None:
    """Why a mean is not given: it lies beyond what was tested, where only the normal distribution speaks."""
    if mean > levels.max():
        return "the mean over participants lies above the tested range"
    return "the mean over participants lies below the tested range" if mean < levels.min() else None


def _tested(value: float, low: float, high: float, levels: Floats) -> dict[str, float | None]:
    """An interval in grey levels; a bound beyond the tested range is ``None``."""
    return {
        "estimate": 2**value,
        "low": 2**low if low >= levels.min() else None,
        "high": 2**high if high <= levels.max() else None,
    }


def _distribution(fitted: NormalFit | None, levels: Floats) -> dict[str, Any]:
    if fitted is None:
        return dict.fromkeys(("geometric_mean", "sd_octaves", "exact", "above", "below", "unknown"))
    return {
        "geometric_mean": _tested(fitted.mean, fitted.low, fitted.high, levels),
        "sd_octaves": fitted.sd, "exact": fitted.exact, "above": fitted.above, "below": fitted.below,
        "unknown": fitted.unknown,
    }  # fmt: skip


def _sd_without_error(fitted: NormalFit | None, people: ParticipantThresholds, index: int) -> float | None:
    """The spread of people alone: the variance less the mean squared standard error of the thresholds, at least 0."""
    errors = people.error[:, index]
    known = errors[np.isfinite(errors)]
    if fitted is None or not len(known):
        return None
    return float(np.sqrt(max(fitted.sd**2 - float((known**2).mean()), 0.0)))


def _why_not(people: ParticipantThresholds, index: int) -> str:
    own = people.answered[:, index]
    if own.sum() < FEWEST_EXACT:
        return f"fewer than {FEWEST_EXACT} participants gave {FEWEST_TRIALS} answers at {FEWEST_LEVELS} ε or more"
    return f"fewer than {FEWEST_EXACT} participants have a threshold inside the tested range"


def _pooled(pooled: ThresholdDraws, index: int, levels: Floats, level: float) -> dict[str, Any] | None:
    """The threshold of the pooled answers, with the interval of the cluster bootstrap."""
    if pooled.reasons[index] is not None:
        return None
    participants = int(pooled.saw[:, index].sum())
    low, high = t_interval(pooled.point[index], pooled.draws[:, index], participants, level)
    return _tested(float(pooled.point[index]), float(low), float(high), levels)


def _participants(people: ParticipantThresholds, bounds: tuple[Floats, Floats]) -> list[dict[str, Any]]:
    """A row a participant × source model that was fitted, by threshold within each source model."""
    rows = []
    for index in range(len(people.models)):
        own = np.flatnonzero(people.answered[:, index])
        low, high = people.low[own, index], people.high[own, index]
        middle = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, np.inf))
        for place in np.lexsort((own, np.isinf(high), middle)):
            rows.append(_participant(people, bounds, index, int(own[place])))  # noqa: PERF401
    return rows


def _participant(
    people: ParticipantThresholds, bounds: tuple[Floats, Floats], index: int, person: int
) -> dict[str, Any]:
    low, high, error = (float(part[person, index]) for part in (people.low, people.high, people.error))
    status = "exact" if low == high else "unknown"
    if low != high and np.isfinite(low):
        status = "above"
    elif low != high and np.isfinite(high):
        status = "below"
    known = status == "exact" and np.isfinite(error)
    return {
        "source_model": people.models[index], "participant": people.participants[person], "status": status,
        "log2_eps": low if status in ("exact", "above") else high if status == "below" else None,
        "standard_error": error if known else None,
        **{
            name: float(bound[person, index]) if known and np.isfinite(bound[person, index]) else None
            for name, bound in zip(("low", "high"), bounds, strict=True)
        },
    }  # fmt: skip


# ---- words ----


def _introduction(people: ParticipantThresholds) -> Paragraph:
    return Paragraph(
        text=f"Three views of {WORDS[people.quantity]}. Two stages: a threshold for every participant, then their mean "
        "and spread; this is about people. Pooled: one curve through everybody’s answers, with the spread of people in "
        "the interval only. Mixed model: people and pictures are both samples. Where people differ much, the pooled "
        "curve is flatter than anybody’s own."
    )


def _methods(people: ParticipantThresholds, rows: list[dict[str, Any]], results: dict[str, Any]) -> str:
    text = ""
    if any(row["geometric_mean"] for row in rows):
        text = (
            f"Two stages: {WORDS[people.quantity]} of each participant with {FEWEST_TRIALS} answers or more to a "
            f"source model at {FEWEST_LEVELS} ε or more (maximum a posteriori), then a normal distribution of log2 "
            "thresholds by maximum likelihood, in which thresholds beyond the tested range are censored; intervals are "
            "t with n − 1 degrees of freedom. Intervals of single thresholds are "
            f"{'normal' if people.quantity == 'eps_dprime1' else 'by profile likelihood'}."
        )
    mixed = results["mixed_model"]
    if "formula" in mixed:
        text += f" {mixed_methods(mixed)}"
    return text.strip()


def _two_stage(
    people: ParticipantThresholds, rows: list[dict[str, Any]], participants: list[dict[str, Any]], unit: str, of: str
) -> list[Block]:
    blocks: list[Block] = [
        Paragraph(text=f"Not estimable in two stages, {row['source_model']}: {row['reason']}.", kind="refusal")
        for row in rows
        if row["reason"] is not None
    ]
    blocks += [Paragraph(text=_sentence(row, people), kind="result") for row in rows if row["reason"] is None]
    blocks.append(_table(people, rows, of))
    if participants:
        blocks.append(_caterpillar(people, participants, unit, of))
    return blocks


def _sentence(row: Row, people: ParticipantThresholds) -> str:
    text = (
        f"{row['source_model']}: {WORDS[people.quantity]} of people, geometric mean "
        f"{bracket(row['geometric_mean'], grey)}, standard deviation {number(row['sd_octaves'])} octaves"
    )
    if row["sd_without_error"] is not None:
        text += f" ({number(row['sd_without_error'])} without the error of each threshold)"
    text += f", from {plural(row['fitted'], 'participant')}"
    beyond = [f"{row[side]} {side} the tested range" for side in ("above", "below") if row[side]]
    if row["unknown"]:
        beyond.append(f"{row['unknown']} without a threshold that the answers tell")
    if row["too_few_answers"]:
        beyond.append(f"{row['too_few_answers']} more answered too little")
    return f"{text} ({'; '.join(beyond)})." if beyond else f"{text}."


def _table(people: ParticipantThresholds, rows: list[dict[str, Any]], of: str) -> Table:
    def count(name: str) -> Column:
        return Column(
            head=name.replace("_", " "), show=lambda row: wording.NONE if row[name] is None else str(row[name])
        )

    return Table(
        name="population",
        caption=f"{WORDS[people.quantity]}: geometric mean and spread over participants (two stages), and of the "
        f"pooled answers [{of} interval over participants]; above, below: participants known only to lie beyond the "
        "tested range. The spread holds the error of each threshold too.",
        columns=(
            Column(head="source model", show=lambda row: row["source_model"], row_head=True),
            count("fitted"), count("exact"), count("above"), count("below"), count("unknown"),
            count("too_few_answers"),
            Column(head="geometric mean", show=lambda row: bracket(row["geometric_mean"], grey)),
            Column(head="sd (octaves)", show=lambda row: number(row["sd_octaves"])),
            Column(head="pooled", show=lambda row: bracket(row["pooled"], grey)),
        ),
        rows=rows,
    )  # fmt: skip


# ---- participants ----


def _caterpillar(people: ParticipantThresholds, rows: list[dict[str, Any]], unit: str, of: str) -> Figure:
    title = f"{WORDS[people.quantity]} of each participant"
    models = [name for name in people.models if any(row["source_model"] == name for row in rows)]
    most = max(sum(row["source_model"] == name for row in rows) for name in models)
    with drawing.ink():
        figure = Drawing(figsize=(8.4, 1.3 + min(0.09 * most + 1.2, 5.0)), layout="constrained")
        panels = figure.subplots(1, len(models), squeeze=False, sharex=True, sharey=True)[0]
        for axes, name in zip(panels, models, strict=True):
            own = [row for row in rows if row["source_model"] == name]
            _panel(axes, own, drawing.style(people.models.index(name)))
            axes.set_title(name)
        ticks = _ticks(rows)
        panels[0].set_xticks(ticks, [f"{2.0**tick:g}" for tick in ticks])
        panels[0].set_ylabel("participants, by threshold")
        figure.supxlabel(WORDS[people.quantity] + (f" ({unit})" if unit else ""), fontsize=10.5)
        description = "; ".join(_span(name, rows) for name in models)
        svg = drawing.svg(figure, "participants", title, description)
    return Figure(
        name="participants", title=title, description=description, svg=svg, table=_participant_table(rows),
        caption=f"Points: thresholds with {of} intervals of each fit; arrows: beyond the tested range; sorted within "
        "each source model.",
    )  # fmt: skip


def _panel(axes: Any, rows: list[dict[str, Any]], look: drawing.Style) -> None:
    arrows = {"above": ">", "below": "<"}
    for place, row in enumerate(rows):
        if row["log2_eps"] is None:
            continue
        if row["standard_error"] is not None:
            ends = [row["log2_eps"] if row[side] is None else row[side] for side in ("low", "high")]
            axes.plot(ends, [place, place], color=look.colour, linewidth=0.9)
        marker = arrows.get(row["status"], look.marker)
        axes.plot([row["log2_eps"]], [place], marker=marker, markersize=4, color=look.colour)
    axes.set_yticks([])


def _ticks(rows: list[dict[str, Any]]) -> list[float]:
    known = [row["log2_eps"] for row in rows if row["log2_eps"] is not None] or [0.0]
    low, high = int(np.floor(min(known))), int(np.ceil(max(known)))
    return [float(tick) for tick in range(low, high + 1, 1 if high - low < 4 else 2)]


def _span(name: str, rows: list[dict[str, Any]]) -> str:
    own = [row for row in rows if row["source_model"] == name]
    known = [row["log2_eps"] for row in own if row["status"] == "exact"]
    if not known:
        return f"{name}: no threshold inside the tested range"
    beyond = len(own) - len(known)
    text = f"{name}: {plural(len(known), 'threshold')} from {grey(2 ** min(known))} to {grey(2 ** max(known))}"
    return f"{text}, {beyond} not known exactly" if beyond else text


def _participant_table(rows: list[dict[str, Any]]) -> Table:
    signs = {"exact": "", "above": "> ", "below": "< ", "unknown": ""}
    return Table(
        name="participants",
        caption="Threshold of each participant, with its standard error in octaves.",
        columns=(
            Column(head="participant", show=lambda row: row["participant"], row_head=True),
            Column(head="source model", show=lambda row: row["source_model"]),
            Column(
                head="threshold",
                show=lambda row: (
                    wording.NONE if row["log2_eps"] is None else signs[row["status"]] + grey(2 ** row["log2_eps"])
                ),
            ),
            Column(head="standard error (octaves)", show=lambda row: number(row["standard_error"])),
        ),
        rows=rows,
    )
