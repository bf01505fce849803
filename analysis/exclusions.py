"""The section "exclusions": what each rule took away, and key results with and without the rules that may be argued."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from analysis import estimates
from analysis.blocks import Block, Column, Paragraph, Section, Table
from analysis.estimates import REASONS, StudyEstimates, Threshold
from analysis.study import Study
from analysis.trials import Cells
from analysis.wording import bracket, grey, level, thousands

Rows = list[dict[str, Any]]
QUANTITIES = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}
BASICS = (
    "No plan named rules, so the usual five were applied: practice, warm-up and catch trials, sessions that were not "
    "finished and participants whom the researcher left out do not enter."
)


def section(study: Study) -> Section:
    """Returns the section ``exclusions``."""
    steps = [dataclasses.asdict(step) for step in study.export.exclusions]
    compared = with_and_without(study)
    results: dict[str, Any] = {"plan_sha256": study.plan.sha256, "steps": steps, "with_and_without": compared}
    return Section(
        name="exclusions", title="Who and what was left out", results=results,
        blocks=tuple(_blocks(study, steps, compared)), methods=_methods(study),
    )  # fmt: skip


def with_and_without(study: Study) -> Rows:
    """Returns thresholds and d′ with all rules, and without the optional ones; nothing if the plan has no such rule."""
    export = study.export
    if export.without_optional is None:
        return []
    without = estimates.estimate(
        export.without_optional, replicates=study.replicates, seed=study.seed, progress=False, task=export.task,
        level=1 - study.plan.alpha,
    )  # fmt: skip
    found = {"with": estimates.estimates_of(study), "without": without}
    pairs = {"with": export.cells, "without": export.without_optional}
    rows = [row for model in export.cells.models for row in _model_rows(model, pairs, found)]
    return rows if export.task == "yes-no" else [row for row in rows if row["quantity"] == "eps50"]


def _model_rows(model: str, cells: dict[str, Cells], found: dict[str, StudyEstimates]) -> Rows:
    rows: Rows = []
    for quantity in QUANTITIES:
        both = {
            name: _threshold(getattr(found[name], quantity)[cells[name].models.index(model)])
            for name in ("with", "without")
        }
        rows.append({"model": model, "quantity": quantity, "eps": None, **both})
    levels = cells["with"].eps[cells["with"].model == cells["with"].models.index(model)]
    for eps in levels:
        own = {name: _d_prime(cells[name], found[name], model, float(eps)) for name in ("with", "without")}
        rows.append({"model": model, "quantity": "d_prime", "eps": float(eps), **own})
    return rows


def _threshold(found: Threshold) -> dict[str, Any]:
    if found.interval is None:
        reason = found.reason or ""
        return {
            "estimate": None,
            "low": None,
            "high": None,
            "not_estimable": {"reason": reason, "message": REASONS[reason]},
        }
    return dataclasses.asdict(found.interval)


def _d_prime(cells: Cells, found: StudyEstimates, model: str, eps: float) -> dict[str, Any] | None:
    own = np.flatnonzero((cells.model == cells.models.index(model)) & (cells.eps == eps))
    if not len(own) or cells.trials[:, 0].sum() == 0:
        return None
    estimate, low, high = (float(values[own[0] - 1]) for values in found.d_prime)
    return {"estimate": estimate, "low": low, "high": high}


def _blocks(study: Study, steps: Rows, compared: Rows) -> list[Block]:
    blocks: list[Block] = []
    if study.plan.sha256 is None:
        blocks.append(Paragraph(text=BASICS))
    else:
        text = f"The rules were fixed in the plan with SHA-256 {study.plan.sha256} and applied in its order."
        blocks.append(Paragraph(text=text))
    blocks.append(_step_table(steps))
    if compared:
        blocks.append(_compared_table(compared))
    else:
        text = "No rule judged how people answered, so there is nothing to compare the analysis with."
        blocks.append(Paragraph(text=text, kind="note"))
    return blocks


def _step_table(steps: Rows) -> Table:
    return Table(
        name="exclusions",
        caption="What was left out, step by step; optional rules judge how people answered.",
        columns=(
            Column(head="rule", show=lambda row: row["rule"], row_head=True),
            Column(head="optional", show=lambda row: "yes" if row["optional"] else "no"),
            Column(head="trials removed", show=lambda row: thousands(row["trials_removed"])),
            Column(head="participants removed", show=lambda row: thousands(row["participants_removed"])),
            Column(head="trials left", show=lambda row: thousands(row["trials_left"])),
            Column(head="participants left", show=lambda row: thousands(row["participants_left"])),
        ),
        rows=steps,
    )


def _compared_table(rows: Rows) -> Table:
    def quantity(row: Any) -> str:
        return QUANTITIES.get(row["quantity"], f"d′ at ε = {level(row['eps'])}")

    def shown(row: Any, name: str) -> str:
        return bracket(row[name], grey if row["quantity"] in QUANTITIES else _two)

    return Table(
        name="exclusions-compared",
        caption="Key results with all rules, and without the optional ones [95 % interval]; – where not estimable.",
        columns=(
            Column(head="source model", show=lambda row: row["model"], row_head=True),
            Column(head="quantity", show=quantity),
            Column(head="with all rules", show=lambda row: shown(row, "with")),
            Column(head="without optional rules", show=lambda row: shown(row, "without")),
        ),
        rows=rows,
    )


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def _methods(study: Study) -> str:
    first, last = study.export.exclusions[0], study.export.exclusions[-1]
    total = first.trials_left + first.trials_removed
    source = "the usual five rules" if study.plan.sha256 is None else "rules that the plan fixed in advance"
    return (
        f"Of {thousands(total)} answered trials, {thousands(last.trials_left)} of "
        f"{thousands(last.participants_left)} participants entered the analysis, after {source}: "
        f"{'; '.join(step.rule for step in study.export.exclusions)}."
    )
