"""Beta-binomial answers: k ~ BetaBinomial(n, ψv, (1 − ψ)v), v = 1/η² − 1 (Schütt et al. 2016, eq. 9 and 10).

Written as the binomial kernel plus a remainder that vanishes with η, so that nothing cancels where v is large.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from analysis.likelihood import TINY
from analysis.psychometric.sigmoids import Floats

LARGE = 20.0  # from here Stirling's series is exact to 12 digits
LEAST_ETA2 = 1e-12


def log_kernel(probability: Floats, eta: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns the log likelihood of each row without its binomial coefficient; all arguments broadcast."""
    p = np.clip(probability, TINY, 1 - TINY)
    v = concentration(eta)
    misses = trials - hits
    binomial = special.xlogy(hits, p) + special.xlog1py(misses, -p)
    total: Floats = binomial + _remainder(hits, p * v) + _remainder(misses, (1 - p) * v) - _remainder(trials, v)
    return total


def derivatives(probability: Floats, eta: Floats, hits: Floats, trials: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns the slope of ``log_kernel`` over the probability, its slope and its curvature over ln η."""
    p = np.clip(probability, TINY, 1 - TINY)
    v = concentration(eta)
    misses = trials - hits
    yes, no, all_ = (_digamma(hits, p * v), _digamma(misses, (1 - p) * v), _digamma(trials, v))
    over_p = hits / p - misses / (1 - p) + v * (yes - no)
    over_v = p * yes + (1 - p) * no - all_
    v_slope = -2 / np.maximum(eta**2, LEAST_ETA2)  # dv / d ln η
    return over_p, over_v * v_slope, (over_v * v_slope) ** 2


def concentration(eta: Floats) -> Floats:
    """Returns v = 1/η² − 1."""
    v: Floats = 1 / np.clip(eta**2, LEAST_ETA2, 1 - 1e-9) - 1
    return v


def inflation(eta: Floats, trials: Floats) -> Floats:
    """Returns by how much η widens the variance of a row, 1 + (n − 1) η²."""
    return 1 + np.maximum(trials - 1, 0) * eta**2


def _remainder(count: Floats, a: Floats) -> Floats:
    """Returns ln Γ(a + k) − ln Γ(a) − k ln a, which is about k (k − 1) / 2a where a is large."""
    big = np.maximum(a, LARGE)
    series = (big + count - 0.5) * np.log1p(count / big) - count + _stirling(big + count) - _stirling(big)
    small = np.minimum(a, LARGE)
    exact = special.gammaln(small + count) - special.gammaln(small) - special.xlogy(count, small)
    return np.where(a > LARGE, series, exact)


def _stirling(x: Floats) -> Floats:
    return 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5)


def _digamma(count: Floats, a: Floats) -> Floats:
    """ψ(a + k) − ψ(a) − k / a: the slope of the remainder."""
    big = np.maximum(a, LARGE)
    end = big + count
    series = np.log1p(count / big) - (1 / end - 1 / big) / 2 + _digamma_tail(big) - _digamma_tail(end) - count / big
    small = np.minimum(a, LARGE)
    exact = special.digamma(small + count) - special.digamma(small) - count / small
    return np.where(a > LARGE, series, exact)


def _digamma_tail(x: Floats) -> Floats:
    return 1 / (12 * x**2) - 1 / (120 * x**4) + 1 / (252 * x**6)
