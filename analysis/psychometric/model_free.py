"""Thresholds that need no shape: the best non-decreasing rates (PAVA) and Spearman and Kärber's mean.

Both take detection above the rate of false alarms, (rate − γ) / (1 − γ − λ), with γ and λ of a fitted curve.
Where the rates do not run from 0 to 1 within what was tested, there is no Spearman-Kärber mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from analysis.psychometric.fitting import PsychometricFit, fit_psychometric
from analysis.psychometric.sigmoids import Floats
from core import rng

COMPLETE = 0.25  # corrected rates have to come this near 0 and 1 at the ends


@dataclass(frozen=True, kw_only=True)
class ModelFree:
    """Two thresholds on the axis of x with percentile intervals of a refitted bootstrap; NaN: not within the range."""

    pava: float
    pava_low: float
    pava_high: float
    spearman_karber: float
    spearman_karber_low: float
    spearman_karber_high: float
    samples: int


def isotonic(levels: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns the non-decreasing rates [L] with the highest likelihood (pool adjacent violators), in the order given.

    Rows without trials get the rate of the row below.
    """
    order = np.argsort(levels, kind="stable")
    n = trials[order]
    rate = np.divide(hits[order], n, out=np.zeros(len(n)), where=n > 0)
    used = n > 0
    rising = np.zeros(len(n))
    rising[used] = isotonic_regression(rate[used], weights=n[used]).x
    filled = np.maximum.accumulate(rising)
    result = np.empty(len(n))
    result[order] = filled
    return result


def crossing(x: Floats, rates: Floats, target: float) -> float:
    """Returns where rising ``rates`` at rising ``x`` reach ``target``, linear between levels; NaN if they do not."""
    if rates[0] > target or rates[-1] < target:
        return float("nan")
    after = int(np.argmax(rates >= target))
    if after == 0:
        return float(x[0])
    share = (target - rates[after - 1]) / (rates[after] - rates[after - 1])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))


def spearman_karber(x: Floats, rates: Floats) -> float:
    """Returns the mean of the distribution whose distribution function rises through ``rates`` (linear between).

    NaN where the rates stay away from 0 or 1 at the ends; the rest of the rise counts half a step beyond the end.
    """
    if rates[0] > COMPLETE or rates[-1] < 1 - COMPLETE:
        return float("nan")
    edges = np.concatenate([[2 * x[0] - x[1]], x, [2 * x[-1] - x[-2]]])
    whole = np.concatenate([[0.0], rates, [1.0]])
    return float((np.diff(whole) * (edges[1:] + edges[:-1]) / 2).sum())


def model_free_thresholds(
    fit: PsychometricFit, *, index: int = 0, seed: int, samples: int = 500, level: float = 0.95
) -> ModelFree:
    """Returns both thresholds of data set ``index``, at half of the way from γ to 1 − λ of its fit.

    Samples are drawn from the isotonic rates of all rows, those without signal too, and γ and λ fitted to each: with
    γ and λ held, intervals of the mean cover 0.91.
    """
    hits, trials = fit.hits[index], fit.trials[index]
    signal = np.flatnonzero(np.isfinite(fit.levels) & (trials > 0))
    order = signal[np.argsort(fit.levels[signal], kind="stable")]
    x, n = fit.levels[order], trials[order]
    own = _both(x, hits[order], n, float(fit.guess[index]), float(fit.lapse[index]))
    generator = rng.numpy_generator(seed, "model-free thresholds")
    rates = isotonic(fit.levels, hits, trials)
    drawn_hits = generator.binomial(trials.astype(np.int64), rates, (samples, len(rates))).astype(float)
    again = fit_psychometric(fit.model, fit.levels, drawn_hits, np.broadcast_to(trials, drawn_hits.shape))
    drawn = np.array([
        _both(x, row, n, guess, lapse)
        for row, guess, lapse in zip(drawn_hits[:, order], again.guess.tolist(), again.lapse.tolist(), strict=True)
    ])  # fmt: skip
    low, high = _bounds(drawn, (1 - level) / 2)
    return ModelFree(
        pava=own[0],
        pava_low=low[0],
        pava_high=high[0],
        spearman_karber=own[1],
        spearman_karber_low=low[1],
        spearman_karber_high=high[1],
        samples=samples,
    )


def _both(x: Floats, hits: Floats, trials: Floats, guess: float, lapse: float) -> tuple[float, float]:
    corrected = np.clip((isotonic(x, hits, trials) - guess) / max(1 - guess - lapse, 1e-9), 0, 1)
    return crossing(x, corrected, 0.5), spearman_karber(x, corrected)


def _bounds(drawn: Floats, tail: float) -> tuple[list[float], list[float]]:
    """Percentiles of each column; NaN where a larger share than ``tail`` of the samples has no threshold."""
    low, high = [], []
    for column in drawn.T:
        known = column[np.isfinite(column)]
        enough = len(known) > (1 - tail) * len(column)
        low.append(float(np.quantile(known, tail)) if enough else float("nan"))
        high.append(float(np.quantile(known, 1 - tail)) if enough else float("nan"))
    return low, high
