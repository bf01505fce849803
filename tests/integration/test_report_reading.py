"""How an export is read: from CSV or Parquet alike, of all three tasks, and with rules of leaving out."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from analysis import trials as reading
from analysis.plan import (
    USUAL,
    Device,
    FailedChecks,
    FalseAlarms,
    IdenticalAnswers,
    LostFocus,
    Plan,
    ReactionTime,
    TooFewTrials,
)
from analysis.trials import PARTICIPANTS_FILE, TRIALS_FILE, read_export, tables
from benchmarks import large_export, report_scale
from core.errors import ExportError
from study_app.export.columns import TABLES, schema
from tests.simulated_export import write_export


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return write_export(tmp_path_factory.mktemp("study") / "export", participants=12)


@pytest.fixture
def export(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "export"))


def rows_of(export: Path) -> list[dict]:
    with (export / TRIALS_FILE).open() as file:
        return list(csv.DictReader(file))


def write(export: Path, rows: list[dict]) -> None:
    with (export / TRIALS_FILE).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def pack(export: Path) -> None:
    """Writes the Parquet files beside the CSV, with the types of a real export."""
    for name, file in (("trials", TRIALS_FILE), ("participants", PARTICIPANTS_FILE)):
        options = pa.csv.ConvertOptions(column_types=schema(TABLES[name]), strings_can_be_null=True)
        table = pa.csv.read_csv(export / file, convert_options=options)
        pa.parquet.write_table(table, (export / file).with_suffix(".parquet"))


def same(one: reading.Export, two: reading.Export) -> None:
    for name in ("yes", "trials", "eps", "model"):
        np.testing.assert_array_equal(getattr(one.cells, name), getattr(two.cells, name))
    for field in dataclasses.fields(one.answers):
        first, second = getattr(one.answers, field.name), getattr(two.answers, field.name)
        np.testing.assert_array_equal(first, second)


def test_parquet_is_read_where_it_lies_and_gives_what_the_csv_gives(export, monkeypatch):
    plain = read_export(export)
    pack(export)
    monkeypatch.setattr(tables, "ROWS", 100)  # in many chunks
    packed = read_export(export)
    assert packed.files[0].endswith("trials_data.parquet")
    assert plain.files[0].endswith("trials_data.csv")
    same(plain, packed)


def test_a_table_in_many_chunks_says_what_a_whole_one_says(export, monkeypatch):
    whole = read_export(export)
    monkeypatch.setattr(tables, "BLOCK", 20_000)
    same(whole, read_export(export))


def test_a_fault_in_a_later_chunk_is_named_by_its_row(export, monkeypatch):
    rows = rows_of(export)
    rows[400]["rt_ms"] = "-3"
    write(export, rows)
    monkeypatch.setattr(tables, "BLOCK", 20_000)
    with pytest.raises(ExportError, match=r"row 402, column 'rt_ms': expected a number, 0 or more, got '-3'"):
        read_export(export)


def test_the_same_checks_hold_for_parquet(export):
    rows = rows_of(export)
    rows[7]["rt_ms"] = "-3"
    write(export, rows)
    pack(export)
    with pytest.raises(ExportError, match=r"trials_data.parquet: row 9, column 'rt_ms': .* got '-3' "):
        read_export(export)


def test_a_parquet_file_that_is_none_is_refused(export):
    (export / TRIALS_FILE).with_suffix(".parquet").write_text("not a table")
    with pytest.raises(ExportError, match="trials_data.parquet: expected a Parquet table, got"):
        read_export(export)


def test_answers_are_in_order_whatever_the_order_of_rows(export):
    plain = read_export(export)
    write(export, rows_of(export)[::-1])
    same(plain, read_export(export))
    answers = plain.answers
    assert (np.diff(answers.participant) >= 0).all()
    assert (np.diff(answers.order)[np.diff(answers.participant) == 0] > 0).all()


def test_counts_are_counts_of_answers(original):
    found = read_export(original)
    cells, answers = found.cells, found.answers
    counted = np.zeros_like(cells.yes)
    np.add.at(counted, (answers.participant, answers.cell), answers.yes)
    np.testing.assert_array_equal(counted, cells.yes)
    assert len(answers.yes) == cells.trials.sum() == found.kept.sum()
    assert set(np.unique(answers.fooled)) == {-1, 0, 1}
    assert (np.isnan(answers.margin) == (answers.fooled == -1)).all()


def test_in_2afc_an_answer_counts_when_it_names_the_changed_one(tmp_path):
    export = write_export(tmp_path / "export", participants=12, task="2afc", noise=2)
    found = read_export(export)
    rows = [r for r in rows_of(export) if r["phase"] == "main" and r["session_id"] != "s012"]
    own = [r for r in rows if (r["run"], r["eps_asked"]) == ("sip-at", "32")]
    cell = np.flatnonzero((found.cells.model == 1) & (found.cells.eps == 32))[0]
    assert found.task == "2afc"
    assert found.cells.yes[:, cell].sum() == sum(r["response"] == r["target_side"] for r in own)
    assert found.answers.picked_left.sum() == sum(r["response"] == "left" for r in rows)
    assert (found.answers.side < 0).sum() == sum(r["target_side"] == "left" for r in rows)


def test_in_same_different_a_yes_is_different(tmp_path):
    export = write_export(tmp_path / "export", participants=12, task="same-different")
    found = read_export(export)
    rows = [r for r in rows_of(export) if r["phase"] == "main" and r["session_id"] != "s012"]
    assert found.task == "same-different"
    assert found.cells.yes.sum() == sum(r["response"] == "different" for r in rows)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("2afc", {"target_side": ""}, "column 'target_side': expected one of left, right, got ''"),
        ("2afc", {"response": "yes"}, "column 'response': expected one of left, right, got 'yes'"),
        ("same-different", {"response": "no"}, "column 'response': expected one of same, different, got 'no'"),
        ("same-different", {"catch": "instructed", "instructed": "yes"}, "column 'instructed': expected one of same"),
        ("yes-no", {"task": "2afc"}, "column 'task': expected one task in an export, got '2afc'"),
        ("yes-no", {"task": "naming"}, "column 'task': expected one of yes-no, 2afc, same-different, got 'naming'"),
        ("yes-no", {"confidence": "high"}, "column 'confidence': expected a number, 0 or more, got 'high'"),
        ("yes-no", {"correct": ""}, "expected correct to follow from response and signal, got ''"),
    ],
)
def test_what_a_task_does_not_know_is_refused(tmp_path, task, changes, message):
    export = write_export(tmp_path / "export", participants=3, task=task)
    rows = rows_of(export)
    next(row for row in rows if row["phase"] == "main" and row["run"]).update(changes)
    write(export, rows)
    with pytest.raises(ExportError, match=message):
        read_export(export)


def test_confidence_is_signed_by_the_answer_and_unknown_times_stay_unknown(export):
    rows = rows_of(export)
    for row in rows:
        row |= {"confidence": "3", "rt_ms": ""}
    write(export, rows)
    found = read_export(export)
    np.testing.assert_array_equal(found.answers.rating, np.where(found.answers.yes, 3, -3))
    assert np.isnan(found.answers.rt_ms).all()
    assert found.reaction_time_ms == (None, None, None)


def main(rows: list[dict], person: str) -> list[dict]:
    return [row for row in rows if row["participant_id"] == person and row["phase"] == "main"]


def failing(rows):
    shown = main(rows, "p003")
    for row in shown[:4]:
        right = "yes" if row["run"] else "no"
        row |= {"catch": "gross", "response": "no" if right == "yes" else "yes", "correct": "false"}


def repeating(rows):
    for row in main(rows, "p003"):
        row |= {"response": "yes", "correct": str(bool(row["run"])).lower()}


@pytest.mark.parametrize(
    ("rule", "change", "participants", "trials"),
    [
        (FailedChecks(max_failed_share=0.5), failing, 1, 36),
        (IdenticalAnswers(longest=39), repeating, 1, 40),
        (FalseAlarms(above=0.9), repeating, 1, 40),
        (LostFocus(most=5), lambda rows: main(rows, "p003")[0].update(blur_count="6"), 1, 40),
        (Device(allowed=("robot",)), lambda rows: main(rows, "p003")[0].update(input_type="touch"), 1, 40),
        (TooFewTrials(fewest=40), lambda rows: rows.remove(main(rows, "p003")[0]), 1, 39),
        (ReactionTime(above_ms=1000), lambda rows: main(rows, "p003")[0].update(rt_ms="1001"), 0, 1),
        (ReactionTime(below_ms=200), lambda rows: main(rows, "p003")[0].update(rt_ms="199"), 0, 1),
    ],
)
def test_a_rule_leaves_out_whom_it_names_and_nobody_else(export, rule, change, participants, trials):
    rows = rows_of(export)
    change(rows)
    write(export, rows)
    found = read_export(export, Plan(exclusion=(*USUAL, rule)))
    step = found.exclusions[-1]
    assert (step.kind, step.optional, step.rule) == (rule.kind, True, rule.words)
    assert (step.participants_removed, step.trials_removed) == (participants, trials)
    assert found.without_optional is not None
    assert found.without_optional.trials.sum() == found.cells.trials.sum() + trials


def test_without_optional_rules_there_is_nothing_to_compare(original):
    assert read_export(original).without_optional is None


def test_rules_work_on_what_earlier_rules_left(export):
    plan = Plan(exclusion=(*USUAL, TooFewTrials(fewest=41), FalseAlarms(above=0.0)))
    with pytest.raises(ExportError, match="no trial is left after leaving out .* fewer than 41 trials left"):
        read_export(export, plan)


def test_the_large_export_of_the_benchmark_is_one(tmp_path):
    export = large_export.write(tmp_path / "large", trials=3000, participants=10)
    found = read_export(export)
    assert found.files[0].endswith(".parquet")
    assert found.cells.trials.sum() == 3000
    assert found.cells.models == tuple(sorted(large_export.LAWS))
    with pytest.raises(FileExistsError):
        large_export.write(tmp_path / "large", trials=3000, participants=10)


def test_claims_on_scale_judge_memory_and_growth():
    claims = report_scale.claims({100_000: (10.0, 400.0), 300_000: (30.0, 500.0), 1_000_000: (101.0, 3000.0)})
    assert [claim.met for claim in claims] == [False, None, None, False]
    assert claims[3].value == pytest.approx(10.1)
