"""Intervals of people: any statistic of pooled counts, recomputed from participants drawn with replacement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis import intervals
from analysis.likelihood import Floats


@dataclass(frozen=True, kw_only=True)
class ClusteredInterval:
    """An estimate from pooled counts with its 95 % interval and the larger of its standard errors, arrays [...]."""

    estimate: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    participants: int


def clustered(
    statistic: Callable[[Floats], Floats], counts: Floats, *, replicates: int, seed: int, progress: bool = False
) -> tuple[Floats, Floats]:
    """Returns a statistic of the pooled counts, [...], and of each bootstrap draw of participants, [B, ...].

    Args:
        statistic: counts [B, ...] of B pooled data sets to values [B, ...].
        counts: of each participant, [P, ...].
        replicates: draws B.
        seed: of the draws; the same seed gives the same participants for every statistic, so that they are paired.
        progress: show a bar on stderr.
    """
    flat = counts.reshape(len(counts), -1)
    weights = intervals.participant_weights(len(counts), replicates, seed, progress=progress)
    draws = [statistic((chunk @ flat).reshape(len(chunk), *counts.shape[1:])) for chunk in weights]
    return statistic(counts.sum(axis=0)[None])[0], np.concatenate(draws)


def clustered_interval(
    estimate: Floats,
    draws: Floats,
    participants: int,
    variance: Floats | None = None,
    level: float = intervals.LEVEL,
) -> ClusteredInterval:
    """Returns estimate ± t(P − 1) × the standard error from the draws [B, ...], as ``intervals.t_interval`` does.

    With a binomial variance the wider of two intervals is given: that one, and the normal one as if all answers were
    independent. In cells with few answers, or nearly all of one kind, the bootstrap alone is too sure; where people are
    alike the wider of the two is conservative.

    Args:
        estimate: [...].
        draws: of the bootstrap, [B, ...].
        participants: P.
        variance: binomial variance.
        level: of the interval.
    """
    error = intervals.bootstrap_error(draws, participants)
    half = intervals.t_quantile(participants, level) * error
    if variance is not None:
        binomial = np.sqrt(variance)
        half, error = np.maximum(half, intervals.normal_quantile(level) * binomial), np.maximum(error, binomial)
    return ClusteredInterval(
        estimate=np.asarray(estimate),
        low=np.asarray(estimate - half),
        high=np.asarray(estimate + half),
        standard_error=np.asarray(error),
        participants=participants,
    )
