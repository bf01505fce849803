"""Thresholds of single participants, their distribution, and the effect size of their differences.

First stage: every participant obeys the very curve that is fitted, with a threshold of their own. Second stage: values
that are normal, the largest of them known only to lie beyond the tested range.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr

from analysis.likelihood import Floats
from analysis.population import fit_normal, participant_thresholds
from analysis.population.two_stage import own_intervals
from analysis.trials import Cells, Task
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.cell import Cell
from core import rng

EPS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
TRIALS, NOISE = 40, 80
BATCH, BATCHES = 100, 20  # 2000 participants a cell
MEAN, SD = 2.5, 0.5  # octaves: 5.7 grey levels
EXPONENT, CRITERION, LAPSE = 1.3, 0.7, 0.02
WIDTH = 3.0  # octaves; that of the curves in 2afc and same-different
GUESS: dict[Task, float] = {"2afc": 0.5, "same-different": 0.15}


def probability(task: Task, threshold: Floats) -> Floats:
    """Returns P(yes) [P, 1 + L] of participants by log2 ε of their thresholds [P]; first the trials without signal."""
    eps = np.concatenate([[0.0], EPS])
    ratio = eps / 2 ** threshold[:, None]
    if task == "yes-no":
        return np.asarray(LAPSE / 2 + (1 - LAPSE) * ndtr(ratio**EXPONENT - CRITERION))
    shape = 4.06739 / (WIDTH * np.log(2))  # Weibull, from the distance between its 5 % and 95 % points
    rise = 1 - np.exp(-np.log(2) * ratio**shape)
    return np.asarray(GUESS[task] + (1 - GUESS[task] - LAPSE) * rise)


def own(task: Task, seed: int, number: int) -> list[tuple[float, float]]:
    """Returns the intervals of known thresholds of 100 participants, less their true log2 ε."""
    generator = rng.numpy_generator(seed, "coverage of own thresholds", task, number)
    truth = generator.normal(MEAN, SD, BATCH)
    trials = np.tile(np.repeat([NOISE if task != "2afc" else 0, TRIALS], [1, len(EPS)]), (BATCH, 1))
    cells = Cells(
        models=("a",), participants=tuple(f"p{person:03d}" for person in range(BATCH)),
        eps=np.concatenate([[0.0], EPS]), model=np.repeat([-1, 0], [1, len(EPS)]),
        yes=generator.binomial(trials, probability(task, truth)).astype(float), trials=trials.astype(float),
    )  # fmt: skip
    found = participant_thresholds(cells, task)
    low, high = (bound[:, 0] - truth for bound in own_intervals(found, cells, task))
    known = ~np.isnan(low)
    return list(zip(low[known].tolist(), high[known].tolist(), strict=True))


def own_shares(rows: Sequence[list[tuple[float, float]]]) -> list[Share]:
    """Returns the coverage of participants' own thresholds."""
    intervals = [interval for row in rows for interval in row]
    return [covered("a participant's own threshold", intervals, 0.0, "inside")]


# ---- second stage ----

SHIFT = 0.5  # standard deviations: true effect size
CEILING = {False: np.inf, True: SHIFT + 1.0}  # beyond it a value is known to lie; with True about 16 % do


def second(participants: int, censored: bool, seed: int, number: int) -> dict[str, Any]:
    """Returns interval of mean and effect size, and p where the mean is 0, of one sample of participants."""
    generator = rng.numpy_generator(seed, "coverage of two stages", participants, censored, number)
    values = generator.standard_normal(participants)
    found = {name: _fitted(values + shift, CEILING[censored]) for name, shift in (("shift", SHIFT), ("none", 0.0))}
    if found["shift"] is None or found["none"] is None:
        return {}
    shifted = found["shift"]
    return {"mean": (shifted.low, shifted.high), "effect": shifted.effect_interval(), "p": found["none"].p}


def _fitted(values: Floats, ceiling: float) -> Any:
    beyond = values > ceiling
    return fit_normal(np.minimum(values, ceiling), np.where(beyond, np.inf, values))


def second_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns coverage and errors; samples without three known values are left out, and n says so."""
    known = [row for row in rows if row]
    return [
        covered("mean of participants' thresholds, two stages", [row["mean"] for row in known], SHIFT, "inside"),
        covered("effect size d_z, noncentral t", [row["effect"] for row in known], SHIFT, "inside"),
        erred("t test of participants' differences", [row["p"] < 0.05 for row in known], "inside"),
    ]


TASKS: tuple[Task, ...] = ("yes-no", "2afc", "same-different")
CELLS = (
    *(
        Cell(name=f"own-thresholds-{task}", times=BATCHES, one=partial(own, task), shares=own_shares,
             words=f"single participants, {task}, {len(EPS)} levels × {TRIALS} trials")
        for task in TASKS
    ),
    *(
        Cell(name=f"two-stages-p{people}{'-censored' if censored else ''}", times=2000,
             one=partial(second, people, censored), shares=second_shares,
             words=f"{people} normal thresholds of participants"
             + (", about 16 % known only to lie above the range" if censored else ""))
        for people in (8, 20) for censored in (False, True)
    ),
)  # fmt: skip
