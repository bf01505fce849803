"""Normal values that are known exactly, or only to lie above, below or between bounds (Tobin 1958)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_ndtr, nctdtr
from scipy.stats import t as student

from analysis.intervals import LEVEL
from analysis.likelihood import Floats

FEWEST_EXACT = 3
STEP = 1e-4  # of the second differences, in standard deviations
LEAST_SHIFT, FARTHEST = 3.0, 8.0  # where noncentralities are sought: the lower bound of t = 0 is −1.96


@dataclass(frozen=True, kw_only=True)
class NormalFit:
    """Mean and standard deviation with the t interval of the mean; ``p`` tests that the mean is 0.

    Attributes:
        standard_error: of the mean; s / √n where nothing is censored.
        exact: values that are known; ``above`` and ``below``: known only to lie beyond a bound.
        unknown: values of which nothing is known; they count for nothing.
    """

    mean: float
    sd: float
    standard_error: float
    low: float
    high: float
    t: float
    df: int
    p: float
    exact: int
    above: int
    below: int
    unknown: int

    @property
    def effect_size(self) -> float:
        """Mean over standard deviation: d_z where the values are differences."""
        return self.mean / self.sd

    def effect_interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Returns bounds on the effect size, by the noncentral t (Steiger & Fouladi 1997).

        They are the noncentralities under which a t as small or as large as this one comes up in (1 − level) / 2 of
        samples, in units of the effect size; exact without censoring.
        """
        size = abs(self.t)
        reach = size + FARTHEST * float(np.sqrt(1 + size**2 / self.df))
        low, high = (
            float(brentq(lambda shift, p=p: nctdtr(self.df, shift, size) - p, -LEAST_SHIFT, reach))
            for p in ((1 + level) / 2, (1 - level) / 2)
        )
        unit = self.standard_error / self.sd
        return (low * unit, high * unit) if self.t >= 0 else (-high * unit, -low * unit)


def fit_normal(low: Floats, high: Floats, level: float = LEVEL) -> NormalFit | None:
    """Returns the maximum-likelihood normal distribution; ``None`` with fewer than three exact values or no spread.

    The standard deviation has n − 1 in place of n, so that without censoring mean, interval and p are those of the
    t test.

    Args:
        low: [N], −∞ where there is no lower bound; equal to ``high`` where the value is known.
        high: [N].
        level: of the interval of the mean.
    """
    exact = low == high
    informative = np.isfinite(low) | np.isfinite(high)
    values, n = low[exact], int(informative.sum())
    if exact.sum() < FEWEST_EXACT or np.ptp(values) == 0:
        return None
    mean, sd, error = _maximise(low[informative], high[informative])
    unbiased = float(np.sqrt(n / (n - 1)))
    sd, error = sd * unbiased, error * unbiased
    half = float(student.ppf((1 + level) / 2, n - 1)) * error
    return NormalFit(
        mean=mean, sd=sd, standard_error=error, low=mean - half, high=mean + half, t=mean / error, df=n - 1,
        p=float(2 * student.sf(abs(mean) / error, n - 1)), exact=int(exact.sum()),
        above=int((informative & np.isinf(high)).sum()), below=int((informative & np.isinf(low)).sum()),
        unknown=len(low) - n,
    )  # fmt: skip


def _maximise(low: Floats, high: Floats) -> tuple[float, float, float]:
    exact = low == high
    values = low[exact]
    if exact.all():
        return float(values.mean()), float(values.std()), float(values.std() / np.sqrt(len(values)))
    centre, scale = values.mean(), values.std()
    a, b = (low - centre) / scale, (high - centre) / scale

    def lost(theta: Floats) -> float:
        return -_log_likelihood(theta, a, b, exact)

    found = minimize(lost, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11})
    variance = np.linalg.inv(_information(found.x, a, b, exact))[0, 0]
    return float(centre + scale * found.x[0]), float(scale * np.exp(found.x[1])), float(scale * np.sqrt(variance))


def _log_likelihood(theta: Floats, low: Floats, high: Floats, exact: np.ndarray) -> float:
    mean, log_sd = theta
    z = (low[exact] - mean) / np.exp(log_sd)
    upper, lower = ((bound[~exact] - mean) / np.exp(log_sd) for bound in (high, low))
    flip = lower > 0  # take the tail in which the difference of two probabilities is exact
    upper, lower = np.where(flip, -lower, upper), np.where(flip, -upper, lower)
    log_upper = log_ndtr(upper)
    between = log_upper + np.log1p(-np.exp(np.minimum(log_ndtr(lower) - log_upper, -1e-300)))
    return float(-(z**2).sum() / 2 - log_sd * exact.sum() + between.sum())


def _information(theta: Floats, low: Floats, high: Floats, exact: np.ndarray) -> Floats:
    information = np.empty((2, 2))
    unit = np.eye(2) * STEP
    for i in range(2):
        for j in range(2):
            corners = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
            total = sum(
                sign * _log_likelihood(theta + si * unit[i] + sj * unit[j], low, high, exact)
                for si, sj, sign in corners
            )
            information[i, j] = -total / (4 * STEP**2)
    return information
