"""Tests of the sections on design and detection: missing answers against ε, monotony, fit of the power law."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from analysis.design_checks import trend
from analysis.estimates import MONOTONE_ALPHA, refusal
from analysis.likelihood import Floats
from analysis.signal_detection import fit_power_law
from analysis.trials import Cells
from benchmarks.coverage.acceptance import Gate, Share, erred
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.own_thresholds import EPS, probability
from core import rng

# ---- missing answers ----

SHOWN = np.array([20, 10, 10, 10, 10])  # trials at each ε of half of the participants; of the others in reverse
RARE, SPREAD = 0.04, 1.0  # share of missing answers, and the standard deviation of its logarithm


def losses(participants: int, generator: np.random.Generator) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Returns ε, whether the answer is missing, which hangs on the participant alone, and participant of each trial."""
    level = np.arange(len(SHOWN), dtype=float)
    halves = [np.repeat(level, SHOWN), np.repeat(level, SHOWN[::-1])]
    eps = np.concatenate([halves[person % 2] for person in range(participants)])
    person = np.repeat(np.arange(participants), SHOWN.sum())
    rate = np.minimum(RARE * np.exp(SPREAD * generator.standard_normal(participants)), 0.5)
    return eps, generator.random(len(eps)) < rate[person], person


def lost(participants: int, seed: int, number: int) -> float | None:
    """Returns p of the trend of missing answers over ε."""
    generator = rng.numpy_generator(seed, "coverage of missing answers", participants, number)
    found = trend(*losses(participants, generator))
    return None if found is None else found["p"]


def lost_shares(rows: Sequence[float | None]) -> list[Share]:
    """Returns how often the test errs where it is made."""
    return [erred("trend of missing answers over ε", [p < 0.05 for p in rows if p is not None], "inside")]


# ---- monotony ----

TRIALS = 20


def flat(participants: int, seed: int, number: int) -> bool:
    """Returns whether rates that do not rise at all, of participants who differ, are refused as falling."""
    generator = rng.numpy_generator(seed, "coverage of monotony", participants, number)
    rate = generator.uniform(0.05, 0.5, (participants, 1))
    trials = np.tile(np.repeat([3 * TRIALS, TRIALS], [1, len(EPS)]), (participants, 1))
    return refusal(_cells(generator.binomial(trials, rate).astype(float), trials.astype(float)), 0) == "not_monotone"


def _cells(yes: np.ndarray, trials: np.ndarray) -> Cells:
    return Cells(
        models=("a",), participants=tuple(f"p{person:03d}" for person in range(len(yes))),
        eps=np.concatenate([[0.0], EPS]), model=np.repeat([-1, 0], [1, len(EPS)]), yes=yes, trials=trials,
    )  # fmt: skip


def flat_shares(rows: Sequence[bool]) -> list[Share]:
    """Returns how often rates that do not fall are said to fall."""
    return [erred("monotony of detection rates", list(rows), "not above", MONOTONE_ALPHA)]


# ---- power law ----

FITS = 100
POOLED = 200


def law(sd: float, seed: int, number: int) -> list[float]:
    """Returns p of the power law's deviance in 100 studies of 10 participants, who differ by ``sd`` octaves."""
    generator = rng.numpy_generator(seed, "coverage of the power law", str(sd), number)
    threshold = 2.5 + sd * generator.standard_normal((FITS, 10))
    p = np.stack([probability("yes-no", each) for each in threshold])
    trials = np.repeat([3 * POOLED // 10, POOLED // 10], [1, len(EPS)])
    yes = generator.binomial(np.broadcast_to(trials, p.shape), p).sum(axis=1).astype(float)
    fit = fit_power_law(
        np.concatenate([[0.0], EPS]), np.repeat([-1, 0], [1, len(EPS)]), yes, np.tile(10.0 * trials, (FITS, 1))
    )
    return chi2.sf(fit.deviance, yes.shape[1] - fit.free_parameters).tolist()  # type: ignore[no-any-return]


def law_shares(gate: Gate, rows: Sequence[list[float]]) -> list[Share]:
    """Returns how often the power law is rejected where it holds for everybody."""
    return [erred("deviance of the power law, χ²", [p < 0.05 for row in rows for p in row], gate)]


CELLS: tuple[Cell, ...] = (
    *(
        Cell(name=f"missing-p{people}", times=2000, one=partial(lost, people), shares=lost_shares,
             words=f"answers that are missing whatever ε, {people} participants who differ")
        for people in (8, 20)
    ),
    *(
        Cell(name=f"monotony-p{people}", times=2000, one=partial(flat, people), shares=flat_shares,
             words=f"rates that do not rise with ε, {people} participants who differ")
        for people in (8, 20)
    ),
    Cell(name="power-law-alike", times=20, one=partial(law, 0.0), shares=partial(law_shares, "inside"),
         words="power law of pooled answers, participants alike"),
    Cell(name="power-law-differ", times=20, one=partial(law, 0.5), shares=partial(law_shares, "reported"),
         words="power law of pooled answers, participants who differ, which it does not know"),
)  # fmt: skip
