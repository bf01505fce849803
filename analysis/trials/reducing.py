"""Makes of checked rows what the analysis works on: leaves out, counts, and says what was there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.plan import Plan, is_optional
from analysis.trials.checks import Shown
from analysis.trials.counts import Cells, Export, Task, count
from analysis.trials.leaving_out import leave_out


def reduce_rows(
    directory: Path, trials: pd.DataFrame, people: pd.DataFrame, shown: Shown, plan: Plan, *, read: tuple[str, ...]
) -> Export:
    """Returns the export that checked tables make, after the exclusions of ``plan``.

    Args:
        directory: where the tables lie; ``read``: the files that they were read from, by their path in it.
        trials: a row an answered trial, as ``read_trials`` gives it.
        people: a row a session, as ``read_participants`` gives it.
        shown: what the manifests say of the stimuli.
        plan: with the rules of leaving out.
        read: see ``directory``.

    Raises:
        ExportError: no trial is left, or none with a perturbed picture.
    """
    kept, exclusions = leave_out(trials, people, plan.exclusion)
    task: Task = trials["task"].iloc[0]
    left = trials[kept]
    cells, answers = count(left, task, shown.stimuli)
    sessions = people[people["session_id"].isin(left["session_id"].unique())]
    return Export(
        directory=directory,
        files=(*read, *shown.files),
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
