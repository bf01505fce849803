"""Curves of pooled answers of participants who differ: what the intervals over participants say of width and slope.

The truth is what the same fit says of the whole population with unlimited trials: of the average of its members'
curves, which is flatter than any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from analysis import estimates, intervals
from analysis.curves.computing import QUANTITIES, band, by_people
from analysis.likelihood import Floats
from analysis.psychometric import PsychometricFit, fit_psychometric
from analysis.psychometric import probability as curve_at
from analysis.psychometric.profiles import value_of
from analysis.psychometric.sigmoids import sigmoid_of
from benchmarks.coverage.acceptance import Share, covered
from benchmarks.coverage.cell import Cell
from core import rng

LEVELS = np.array([-np.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])  # log2 ε
MEAN, WIDTH, GUESS, LAPSE = 2.5, 3.0, 0.15, 0.02
TRIALS = np.array([40.0, 20, 20, 20, 20, 20, 20])
GRID = np.array([1.5, 3.5])  # between levels, on either side of the threshold
BATCH, BATCHES, REPLICATES = 20, 20, 200
WORDS = {"eps50": "ε₅₀", "width_octaves": "ln w", "slope_per_octave": "ln slope"}


def probability(threshold: Floats) -> Floats:
    """Returns P(yes) [P, L] of participants by their thresholds [P]."""
    sigmoid = sigmoid_of(estimates.PSYCHOMETRIC.family)
    z = (LEVELS - threshold[:, None]) * sigmoid.width / WIDTH + sigmoid.quantile(0.5)
    rise = np.where(np.isfinite(LEVELS), sigmoid.cdf(np.clip(z, -1e3, 1e3)), 0.0)
    return np.asarray(GUESS + (1 - GUESS - LAPSE) * rise)


def population(sd: float) -> PsychometricFit:
    """Returns the curve of the whole population, whose thresholds have the standard deviation ``sd`` in octaves."""
    nodes, weights = hermegauss(61)
    p = weights / weights.sum() @ probability(MEAN + sd * nodes)
    trials = np.full((1, len(LEVELS)), 1e7)
    return fit_psychometric(estimates.PSYCHOMETRIC, LEVELS, p * trials, trials)


def batch(people: int, sd: float, seed: int, number: int) -> list[dict[str, Any]]:
    """Returns the intervals of 20 studies."""
    generator = rng.numpy_generator(seed, "pooled curves", people, f"{sd:g}", number)
    return [_study(people, sd, generator, BATCH * number + each) for each in range(BATCH)]


def _study(people: int, sd: float, generator: np.random.Generator, seed: int) -> dict[str, Any]:
    p = probability(generator.normal(MEAN, sd, people))
    yes = generator.binomial(TRIALS.astype(np.int64), p).astype(float)
    weights = np.concatenate(list(intervals.participant_weights(people, REPLICATES, seed, progress=False)))
    trials = np.broadcast_to(TRIALS, yes.shape)
    model = estimates.PSYCHOMETRIC
    fit = fit_psychometric(model, LEVELS, yes.sum(axis=0)[None], trials.sum(axis=0)[None])
    draws = [fit_psychometric(model, LEVELS, weights @ yes, weights @ trials)]
    row = {
        name: [_bound(found[end]) for end in ("low", "high")]
        for name, quantity in QUANTITIES.items()
        if (found := by_people(fit, draws, quantity, people, intervals.LEVEL))
    }
    _, low, high = band(fit, draws, GRID, people, intervals.LEVEL)
    return row | {"band": list(zip(low.tolist(), high.tolist(), strict=True))}


def _bound(value: float | None) -> float:
    return np.nan if value is None else float(np.log(value))


def shares(sd: float, rows: Sequence[list[dict[str, Any]]]) -> list[Share]:
    """Returns the coverage of each interval over participants."""
    every, truth = [row for batch_rows in rows for row in batch_rows], population(sd)
    found = []
    for name, quantity in QUANTITIES.items():
        own = float(value_of(truth.model, quantity, truth.fit.parameters)[0])
        own *= float(np.log(2)) if name == "eps50" else 1.0
        found.append(covered(f"{WORDS[name]} of pooled answers, over participants", _of(every, name), own, "inside"))
    at = curve_at(truth, GRID)[0]
    for place, eps in enumerate(2**GRID):
        ends = [row["band"][place] for row in every]
        found.append(covered(f"curve at ε = {eps:.1f}, band over participants", ends, float(at[place]), "inside"))
    return found


def _of(every: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(row[name][0], row[name][1]) for row in every]


CELLS = tuple(
    Cell(
        name=f"pooled-curve-p{people}-sd{sd:g}", times=BATCHES, one=partial(batch, people, sd),
        shares=partial(shares, sd),
        words=f"the curve of {people} participants × 20 trials a level, sd of log₂ thresholds {sd:g} octaves",
    )
    for people, sd in ((8, 0.875), (20, 0.25), (20, 0.875), (40, 0.875))
)  # fmt: skip
