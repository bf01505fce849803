"""Which rows of an export never reach a fit, and that the others are counted as if those were not there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from analysis.trials import PARTICIPANTS_FILE, TRIALS_FILE, read_export
from tests.simulated_export import write_export


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return read_export(write_export(tmp_path_factory.mktemp("plain") / "export", participants=12))


@pytest.fixture
def export(tmp_path) -> Path:
    return write_export(tmp_path / "export", participants=12)


def read(path: Path) -> list[dict]:
    with path.open() as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def added(row: dict, index: int, **values: str) -> dict:
    return {**row, "trial_index": str(index), "client_uuid": f"added-{row['session_id']}-{index}", **values}


def test_warm_up_gross_and_instructed_trials_change_no_count(export, plain):
    rows = read(export / TRIALS_FILE)
    loud = next(row for row in rows if row["phase"] == "main" and row["run"])
    quiet = next(row for row in rows if row["phase"] == "main" and not row["run"])
    instructed = {"catch": "instructed", "response": "yes", "instructed": "no", "correct": "false"}
    more = [
        added(loud, 900, phase="warm-up"),
        added(loud, 901, catch="gross"),
        added(loud, 902, catch="gross"),
        added(quiet, 903, **instructed),
    ]
    write(export / TRIALS_FILE, rows + more)
    found = read_export(export)
    removed = {step.rule: step.trials_removed for step in found.exclusions}
    assert removed["warm-up trials"] == 1
    assert removed["catch trials"] == 3
    np.testing.assert_array_equal(found.cells.yes, plain.cells.yes)
    np.testing.assert_array_equal(found.cells.trials, plain.cells.trials)
    assert found.reaction_time_ms == plain.reaction_time_ms


def test_participants_whom_a_researcher_left_out_are_not_counted(export, plain):
    people = read(export / PARTICIPANTS_FILE)
    people[3]["excluded"] = "attention"
    write(export / PARTICIPANTS_FILE, people)
    found = read_export(export)
    last = found.exclusions[-1]
    assert (last.rule, last.participants_removed) == ("participants whom the researcher left out", 1)
    np.testing.assert_array_equal(found.cells.yes, np.delete(plain.cells.yes, 3, axis=0))


@pytest.mark.parametrize("status", ["screened-out", "timed-out", "abandoned", "started"])
def test_sessions_that_ended_otherwise_are_not_counted(export, plain, status):
    people = read(export / PARTICIPANTS_FILE)
    people[0]["status"] = status
    write(export / PARTICIPANTS_FILE, people)
    np.testing.assert_array_equal(read_export(export).cells.yes, plain.cells.yes[1:])


def test_a_row_of_somebody_who_withdrew_is_no_obstacle(export, plain):
    people = read(export / PARTICIPANTS_FILE)
    gone = {**dict.fromkeys(people[0], ""), "participant_id": "p-gone", "session_id": "s-gone", "status": "withdrawn"}
    write(export / PARTICIPANTS_FILE, [*people, gone])
    found = read_export(export)
    assert found.sessions == plain.sessions
    np.testing.assert_array_equal(found.cells.yes, plain.cells.yes)
