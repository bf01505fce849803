"""Adaptive placement: the ε of the next trial from the answers so far, as QUEST+ does (Watson 2017, JoV 17(3):10).

For each source model by itself there is a posterior over threshold (log2 ε) and slope on a grid; guess and lapse rates
are fixed. ψ(ε) = γ + (1 − γ − λ) Φ(β (log2 ε − α)). The next ε is the level for which the posterior's entropy after the
answer is expected to be least. All functions are pure: an interrupted session goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import erf, log2, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

THRESHOLDS, SLOPES = 41, 9
MARGIN = 1.0  # octaves that thresholds may lie beyond the levels
SLOPE_RANGE = (0.5, 8.0)  # per octave
TIE = 12  # decimals of an entropy; where two levels differ less, the weaker one is shown

Numbers = NDArray[np.float64]


class Seen(NamedTuple):
    """One answered trial: its level, and whether it was the signal's answer (in 2afc: the right side)."""

    eps: int
    detected: bool


@dataclass(frozen=True)
class Law:
    """What is assumed of the observer; levels are grey levels above 0, in any order."""

    levels: tuple[int, ...]
    guess: float
    lapse: float


@dataclass(frozen=True)
class Estimate:
    """Mean and standard deviation of the posterior of the threshold, log2 grey levels."""

    log2_threshold: float
    sd: float


def law_of(levels: Iterable[int], guess: float, lapse: float, *, forced_choice: bool) -> Law:
    """Returns the law for a task; where one of two pictures is chosen, one guesses right half of the time."""
    return Law(tuple(sorted(levels)), 0.5 if forced_choice else guess, lapse)


def next_level(law: Law, answers: Iterable[Seen]) -> int:
    """Returns the level of the next trial of a source model, given all answers to its perturbed trials so far."""
    chances, posterior = _chances(law), _posterior(law, answers)
    detected = posterior @ chances  # of each level, before its answer is known
    expected = detected * _entropy(posterior[:, None] * chances) + (1 - detected) * _entropy(
        posterior[:, None] * (1 - chances)
    )
    return law.levels[int(np.argmin(np.round(expected, TIE)))]


def estimate(law: Law, answers: Iterable[Seen]) -> Estimate:
    """Returns the threshold α of ψ as the answers tell it."""
    alpha, _ = _grid(law)
    posterior = _posterior(law, answers)
    mean = float(posterior @ alpha)
    return Estimate(mean, sqrt(float(posterior @ (alpha - mean) ** 2)))


def chance(log2_eps: float, threshold: float, slope: float, law: Law) -> float:
    """Returns ψ, the chance of the signal's answer."""
    normal = (1 + erf(slope * (log2_eps - threshold) / sqrt(2))) / 2
    return law.guess + (1 - law.guess - law.lapse) * normal


@lru_cache(maxsize=32)
def _grid(law: Law) -> tuple[Numbers, Numbers]:
    """Returns threshold and slope of each point of the grid."""
    low, high = log2(law.levels[0]) - MARGIN, log2(law.levels[-1]) + MARGIN
    thresholds, slopes = np.linspace(low, high, THRESHOLDS), np.geomspace(*SLOPE_RANGE, SLOPES)
    return np.repeat(thresholds, SLOPES), np.tile(slopes, THRESHOLDS)


@lru_cache(maxsize=32)
def _chances(law: Law) -> Numbers:
    """Returns ψ of each point of the grid (rows) and level (columns)."""
    points = list(zip(*_grid(law), strict=True))
    return np.array([[chance(log2(eps), *point, law) for eps in law.levels] for point in points])


def _posterior(law: Law, answers: Iterable[Seen]) -> Numbers:
    """Returns the weight of each point of the grid; they are equal before the first answer."""
    detected, missed = _counts(law.levels, answers)
    chances = np.clip(_chances(law), 1e-12, 1 - 1e-12)
    logs = np.log(chances) @ detected + np.log1p(-chances) @ missed
    weights: Numbers = np.exp(logs - logs.max())
    weights /= weights.sum()
    return weights


def _counts(levels: Sequence[int], answers: Iterable[Seen]) -> tuple[Numbers, Numbers]:
    counts = np.zeros((2, len(levels)))
    for answer in answers:
        counts[0 if answer.detected else 1, levels.index(answer.eps)] += 1
    return counts[0], counts[1]


def _entropy(joint: Numbers) -> Numbers:
    """Returns the entropy of each column, in nats, after it is made to sum to 1."""
    weights = joint / np.maximum(joint.sum(axis=0), 1e-300)
    entropies: Numbers = -(weights * np.log(np.maximum(weights, 1e-300))).sum(axis=0)
    return entropies
