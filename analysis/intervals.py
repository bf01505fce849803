"""Intervals (at 95 % by default): of participants drawn again for what people answered, Wilson's for pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student
from tqdm import tqdm

from analysis.likelihood import Floats
from core import rng

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
CHUNK = 250
LEAST_EFFECT = 1e-3  # of clustering: participants who agree to the answer
NEVER_CERTAIN = 1e-4  # a rate estimated at 0 has no logit
NORMAL = float(norm.ppf(1 - TAIL))


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate between two bounds. A bound is ``None`` where it lies beyond what was tested."""

    estimate: float
    low: float | None
    high: float | None

    def covers(self, value: float) -> bool:
        """Whether ``value`` lies inside; an open side covers everything on its side."""
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def wilson(successes: Floats, trials: Floats, quantile: Floats | float = NORMAL) -> tuple[Floats, Floats]:
    """Returns the bounds of Wilson's interval of proportions; (0, 1) where there are no trials."""
    z = quantile
    n = np.maximum(trials, TAIL)
    p = np.clip(successes / n, 0, 1)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half: Floats = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    some = trials > 0
    return np.where(some, np.maximum(centre - half, 0), 0.0), np.where(some, np.minimum(centre + half, 1), 1.0)


def clustered_wilson(yes: Floats, trials: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Returns Wilson bounds [L] of pooled proportions of participants' answers, counts [P, L].

    The wider of two intervals: with the trials divided by the design effect (the variance between participants'
    contributions over the binomial variance) and the quantile of t(P − 1), and that of independent answers. The second
    keeps rates near 0 and 1 from looking certain; where people are alike the wider of the two is conservative.
    """
    k, n = yes.sum(axis=0), trials.sum(axis=0)
    return _wider_wilson(k / np.maximum(n, 1), n, n / design_effect(yes, trials), len(yes), level)


def _wider_wilson(
    share: Floats, trials: Floats, effective: Floats, people: int, level: float = LEVEL
) -> tuple[Floats, Floats]:
    clustered = wilson(share * effective, effective, t_quantile(people, level))
    independent = wilson(share * trials, trials, normal_quantile(level))
    return np.minimum(clustered[0], independent[0]), np.maximum(clustered[1], independent[1])


def normal_quantile(level: float = LEVEL) -> float:
    """Returns how many standard errors an interval of ``level`` has on either side."""
    return float(norm.ppf((1 + level) / 2))


def t_quantile(participants: int, level: float = LEVEL) -> float:
    """Returns the upper point of t with P − 1 degrees of freedom (at least 1) of a two-sided interval of ``level``."""
    return float(student.ppf((1 + level) / 2, max(participants - 1, 1)))


def design_effect(yes: Floats, trials: Floats) -> Floats:
    """Returns by how much clustering in participants widens the variance of pooled proportions, [L]; 1 if unknown."""
    people, n = len(yes), trials.sum(axis=0)
    p = yes.sum(axis=0) / np.maximum(n, 1)
    residual = ((yes - trials * p) ** 2).sum(axis=0) * people / max(people - 1, 1)
    binomial = n * p * (1 - p)
    effect: Floats = np.divide(residual, binomial, out=np.ones_like(n), where=binomial > 0)
    return np.maximum(effect, LEAST_EFFECT)


def participant_weights(participants: int, replicates: int, seed: int, *, progress: bool = True) -> Iterator[Floats]:
    """Yields how often each participant was drawn, [chunk, P], until there are ``replicates`` rows; shows progress."""
    generator = rng.numpy_generator(seed, "participant bootstrap")
    share = np.full(participants, 1 / participants)
    with tqdm(total=replicates, desc="bootstrap", unit="draw", leave=False, disable=not progress) as bar:
        for start in range(0, replicates, CHUNK):
            size = min(CHUNK, replicates - start)
            yield generator.multinomial(participants, share, size=size).astype(float)
            bar.update(size)


def crossed_weights(
    participants: int, pictures: int, replicates: int, seed: int, *, progress: bool = True
) -> Iterator[tuple[Floats, Floats]]:
    """Yields how often each participant [chunk, P] and each picture [chunk, I] was drawn, independently of each other.

    An answer of participant p to picture i weighs w_p · v_i (the pigeonhole bootstrap: Owen 2007, Annals of Applied
    Statistics 1, 386–411). What belongs to single answers is counted about three times, so that these intervals are
    conservative: they cover at least what they say, and much more where participants and pictures are alike.
    """
    generator = rng.numpy_generator(seed, "crossed bootstrap")
    people, images = np.full(participants, 1 / participants), np.full(pictures, 1 / pictures)
    with tqdm(total=replicates, desc="crossed bootstrap", unit="draw", leave=False, disable=not progress) as bar:
        for start in range(0, replicates, CHUNK):
            size = min(CHUNK, replicates - start)
            drawn = generator.multinomial(participants, people, size=size).astype(float)
            yield drawn, generator.multinomial(pictures, images, size=size).astype(float)
            bar.update(size)


def bootstrap_error(replicates: Floats, participants: Floats | int) -> Floats:
    """Returns the standard error [...] from bootstrap replicates [B, ...]: their standard deviation × √(P / (P − 1)).

    Drawing P of P with replacement makes the variance of a mean too small by (P − 1) / P, which with few participants
    is enough to make tests err too often and intervals too short; whatever resamples participants uses this.
    """
    people = np.maximum(participants, 2)
    error: Floats = replicates.std(axis=0, ddof=1) * np.sqrt(people / (people - 1))
    return error


def t_interval(estimate: Floats, replicates: Floats, participants: int, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Returns estimate ± t(P − 1) × the standard error from the bootstrap replicates [B, ...]."""
    half = t_quantile(participants, level) * bootstrap_error(replicates, participants)
    return estimate - half, estimate + half


def mean_interval(values: Floats, level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """Returns the mean over the first axis of ``values`` [N ≥ 2, …] with its t interval: estimate, low, high."""
    mean = values.mean(axis=0, dtype=float)
    half = t_quantile(len(values), level) * values.std(axis=0, ddof=1, dtype=float) / np.sqrt(len(values))
    return mean, mean - half, mean + half


def mean_share_interval(shares: Floats, trials: Floats, level: float = LEVEL) -> tuple[float, float, float]:
    """Returns the mean of participants' shares [P ≥ 2] of their ``trials`` [P] with Wilson's interval.

    As in ``clustered_wilson``, with the number of trials whose binomial variance is the variance of the mean over
    participants. Near 0 and 1 shares are skewed, and the t interval of their mean is too sure.
    """
    mean, total = float(shares.mean()), float(trials.sum())
    variance = float(shares.var(ddof=1)) / len(shares)
    effective = min(mean * (1 - mean) / variance, total / LEAST_EFFECT) if variance > 0 else total
    low, high = _wider_wilson(np.array(mean), np.array(total), np.array(effective), len(shares), level)
    return mean, float(low), float(high)


def rate_interval(rate: Floats, replicates: Floats, participants: int, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Returns the t interval of a rate [...] on the logit, from its bootstrap replicates [B, ...].

    Percentiles of the replicates are too sure of few people: of 8 they cover 0.84, of 20 0.91 (docs/coverage.md).
    """
    low, high = t_interval(_logit(rate), _logit(replicates), participants, level)
    return np.minimum(expit(low), rate), np.maximum(expit(high), rate)


def _logit(rate: Floats) -> Floats:
    inside: Floats = logit(np.clip(rate, NEVER_CERTAIN, 1 - NEVER_CERTAIN))
    return inside
