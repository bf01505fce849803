"""Reads an export: checks it, leaves out what the rules say step by step, and reduces it to counts."""

from __future__ import annotations

from pathlib import Path

from analysis.plan import Plan
from analysis.trials.checks import check_sessions, check_stimuli, check_trials
from analysis.trials.counts import Answers, Cells, Export, Task, run_of
from analysis.trials.leaving_out import Exclusion
from analysis.trials.reducing import reduce_rows
from analysis.trials.tables import (
    PARTICIPANT_COLUMNS,
    PARTICIPANTS_FILE,
    TRIAL_COLUMNS,
    TRIALS_FILE,
    read_participants,
    read_trials,
    table_file,
)
from core.errors import ExportError

__all__ = [
    "PARTICIPANTS_FILE",
    "PARTICIPANT_COLUMNS",
    "TRIALS_FILE",
    "TRIAL_COLUMNS",
    "Answers",
    "Cells",
    "Exclusion",
    "Export",
    "Task",
    "read_export",
    "run_of",
]


def read_export(directory: Path, plan: Plan | None = None) -> Export:
    """Returns what an export says after the exclusions of ``plan`` (without one: the usual five), and how.

    Raises:
        ExportError: a file or column is absent, a value is not allowed, rows are duplicated or contradict each other,
            or no trial is left.
    """
    if not directory.is_dir():
        raise ExportError(f"{directory}: no such export directory; make it with flask --app study_app export DIR")
    trials = read_trials(directory)
    people = read_participants(directory)
    check_trials(trials, table_file(directory, TRIALS_FILE))
    check_sessions(trials, people)
    shown = check_stimuli(directory, trials)
    read = tuple(table_file(directory, name) for name in (TRIALS_FILE, PARTICIPANTS_FILE))
    return reduce_rows(directory, trials, people, shown, plan or Plan(), read=read)
