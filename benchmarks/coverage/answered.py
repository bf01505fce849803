"""Exports made in memory from single answers whose law is known, for sections that read answers one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.plan import Plan
from analysis.study import Study
from analysis.trials import Answers, Cells, Export, Task


def shown(participants: int, trials: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns participant and cell of each answer [N], where everybody gets ``trials`` [L] of each cell."""
    own = np.repeat(np.arange(len(trials)), trials)
    return np.repeat(np.arange(participants), len(own)), np.tile(own, participants)


def export_of(
    task: Task,
    eps: tuple[float, ...],
    person: NDArray[np.int64],
    cell: NDArray[np.int64],
    yes: NDArray[np.bool_],
    *,
    rating: NDArray[np.int64] | None = None,
    rt_ms: NDArray[np.float64] | None = None,
    side: NDArray[np.int64] | None = None,
) -> Export:
    """Returns what would have been read of answers [N] to one source model, "a"; ``eps`` begins with 0.

    Args:
        task: of all answers.
        eps: of each cell in grey levels.
        person: who answered.
        cell: index into ``eps``.
        yes: as in ``Answers``.
        rating: likewise; by default not asked.
        rt_ms: likewise; by default unknown.
        side: likewise; by default none.
    """
    size, people = len(yes), int(person.max()) + 1
    counts = np.zeros((2, people, len(eps)))
    np.add.at(counts[0], (person, cell), yes)
    np.add.at(counts[1], (person, cell), 1)
    side = np.zeros(size, int) if side is None else side
    cells = Cells(
        models=("a",), participants=tuple(f"p{index:04d}" for index in range(people)), eps=np.array(eps),
        model=np.repeat([-1, 0], [1, len(eps) - 1]), yes=counts[0], trials=counts[1],
    )  # fmt: skip
    answers = Answers(
        participant=person.astype(np.int32), cell=cell.astype(np.int16), picture=np.zeros(size, np.int32),
        stimulus=cell.astype(np.int32), yes=yes,
        rating=np.zeros(size, np.int8) if rating is None else rating.astype(np.int8),
        rt_ms=np.full(size, np.nan, np.float32) if rt_ms is None else rt_ms.astype(np.float32),
        order=np.arange(size, dtype=np.int32), side=side.astype(np.int8), picked_left=(side < 0) == yes,
        pictures=("i",), stimuli=tuple(f"i/{index}" for index in range(len(eps))),
        fooled=np.full(len(eps), -1, np.int8), margin=np.full(len(eps), np.nan, np.float32),
    )  # fmt: skip
    return Export(
        directory=Path(), files=(), protocol_hash="", task=task, cells=cells, without_optional=None,
        answers=answers, exclusions=(), trials=pd.DataFrame(), kept=np.ones(size, dtype=bool), people=pd.DataFrame(),
        selected_on=("none",), pictures=1, stimuli=len(eps), sessions=people, robots=people,
        reaction_time_ms=(None, None, None), largest_eps_difference=0.0,
    )  # fmt: skip


def study_of(export: Export) -> Study:
    """Returns the study of an export alone."""
    return Study(
        export=export, plan=Plan(), evaluations={}, outcomes={}, observers=None, training={}, replicates=200, seed=1,
        progress=False,
    )  # fmt: skip
