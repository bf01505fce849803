"""Reads an export: checks it, leaves out what the rules say step by step, and reduces it to counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plan import Plan, is_optional
from analysis.trials.checks import Shown, check_sessions, check_stimuli, check_trials
from analysis.trials.counts import Answers, Cells, Export, Task, count, run_of
from analysis.trials.leaving_out import Exclusion, leave_out
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
    return _reduced(directory, trials, people, shown, plan or Plan())


def _reduced(directory: Path, trials: pd.DataFrame, people: pd.DataFrame, shown: Shown, plan: Plan) -> Export:
    kept, exclusions = leave_out(trials, people, plan.exclusion)
    task: Task = trials["task"].iloc[0]
    left = trials[kept]
    cells, answers = count(left, task, shown.stimuli)
    sessions = people[people["session_id"].isin(left["session_id"].unique())]
    tables = tuple(table_file(directory, name) for name in (TRIALS_FILE, PARTICIPANTS_FILE))
    return Export(
        directory=directory,
        files=(*tables, *shown.files),
        protocol_hash=str(left["protocol_hash"].iloc[0]),
        task=task,
        cells=cells,
        without_optional=_without_optional(trials, people, shown, plan),
        answers=answers,
        exclusions=exclusions,
        trials=trials,
        kept=kept,
        people=people,
        selected_on=shown.selected_on,
        pictures=len(answers.pictures),
        stimuli=len(answers.stimuli),
        sessions=len(sessions),
        robots=int(sessions["robot"].sum()),
        reaction_time_ms=_quartiles(left["rt_ms"].to_numpy()),
        largest_eps_difference=float((left["eps_measured"] - left["eps_asked"]).abs().max()),
    )


def _without_optional(trials: pd.DataFrame, people: pd.DataFrame, shown: Shown, plan: Plan) -> Cells | None:
    rules = tuple(rule for rule in plan.exclusion if not is_optional(rule))
    if len(rules) == len(plan.exclusion):
        return None
    kept, _ = leave_out(trials, people, rules)
    return count(trials[kept], trials["task"].iloc[0], shown.stimuli)[0]


def _quartiles(times: np.ndarray) -> tuple[float | None, float | None, float | None]:
    known = times[~np.isnan(times)]
    if not len(known):
        return None, None, None
    low, median, high = (float(value) for value in np.quantile(known, [0.25, 0.5, 0.75]))
    return low, median, high
