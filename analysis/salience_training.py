"""What training on each source of salience maps did: accuracy of the evaluated runs, by source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.blocks import Block, Column, Paragraph, Table
from analysis.region_maps import Row, interval
from analysis.study import Study
from analysis.wording import percent, plain_percent
from core import runs
from core.annotations.sets import SetRecord
from core.runs import WORST_CASE, Accuracy, Evaluation, RunRecord

_COMMON_EPS = 8.0  # grey levels: the field's usual budget


def rows_of(study: Study, directories: Sequence[Path], records: Sequence[SetRecord]) -> list[Row]:
    """Returns a row a run that was evaluated, by its salience source: accuracy unattacked and at one ε for all."""
    of_runs = [record for record in map(runs.read_run, directories) if record.run in study.evaluations]
    eps = _compared_eps([study.evaluations[record.run] for record in of_runs])
    names = {record.sha256: record.name for record in records}
    rows = [_trained(record, study.evaluations[record.run], eps, names) for record in of_runs]
    return sorted(rows, key=lambda row: (row["salience"], row["method"], row["run"]))


def _trained(record: RunRecord, evaluation: Evaluation, eps: float | None, names: dict[str, str]) -> Row:
    salience, digest = record.salience, record.salience.get("inputs", {}).get("annotation_set")
    source = str(salience.get("source", "none"))
    return {
        "run": record.run, "method": record.method, "seed": record.seed,
        "salience": f"people: {names.get(digest, digest[:16])}" if digest else source,
        "annotation_set": digest, "share_spared": salience.get("share_spared"),
        "unannotated": None if not salience else salience.get("absent", 0) + salience.get("unannotated", 0),
        "clean": _accuracy(evaluation, 0.0), "eps": eps, "robust": None if eps is None else _accuracy(evaluation, eps),
    }  # fmt: skip


def _points(evaluation: Evaluation, eps: float) -> list[Accuracy]:
    """Returns an evaluation's points at ε that speak of the run itself in the whole picture; worst case if known."""
    found = [row for row in evaluation.curve if row.eps == eps and row.source == evaluation.run]
    if eps == 0:
        return found
    found = [row for row in found if row.norm == "linf" and row.region == "full"]
    return [row for row in found if row.attack == WORST_CASE] or found


def _accuracy(evaluation: Evaluation, eps: float) -> Row | None:
    if not (found := _points(evaluation, eps)):
        return None
    lowest = min(found, key=lambda row: row.accuracy)
    return {"estimate": lowest.accuracy, "low": lowest.low, "high": lowest.high, "attack": lowest.attack}


def _compared_eps(evaluations: Sequence[Evaluation]) -> float | None:
    """Returns 8 grey levels if every run was attacked there, else the middle one of those that all share."""
    tested = [
        {row.eps for row in evaluation.curve if row.eps > 0 and _points(evaluation, row.eps)}
        for evaluation in evaluations
    ]
    shared = sorted(set.intersection(*tested)) if tested else []
    if not shared:
        return None
    return _COMMON_EPS if _COMMON_EPS in shared else shared[len(shared) // 2]


def blocks_of(rows: Sequence[Row]) -> list[Block]:
    """Returns the table of the runs, or why there is none."""
    if not rows:
        text = "Not estimable: what training on each source of maps did, since no evaluated run has its record.json."
        return [Paragraph(text=text, kind="refusal")]
    eps = rows[0]["eps"]
    columns = [
        Column(head="run", show=lambda row: row["run"], row_head=True),
        Column(head="method", show=lambda row: row["method"]),
        Column(head="salience", show=lambda row: row["salience"]),
        Column(head="share left alone", show=lambda row: percent(row["share_spared"])),
        Column(head="clean accuracy, %", show=lambda row: interval(row["clean"], plain_percent)),
    ]
    if eps is not None:
        head = f"accuracy at ε = {eps:g}, %"
        columns.append(Column(head=head, show=lambda row: interval(row["robust"], plain_percent)))
    caption = (
        "What training on each source of maps did, run by run: accuracy on test pictures with 95 % Wilson intervals "
        "over pictures, under the strongest attack that was evaluated. Runs with several seeds differ by chance too."
    )
    return [Table(name="training", caption=caption, columns=tuple(columns), rows=list(rows))]
