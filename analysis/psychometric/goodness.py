"""Goodness of fit: deviance and Pearson's X² against refitted parametric bootstrap samples, and residuals.

Wichmann & Hill (2001), Perception & Psychophysics 63, 1293-1313. Every sample is fitted again: without that the
reference distribution is that of the true curve, and the test hardly ever rejects.

What is compared is not the statistic itself but its excess over the number of rows that can contribute. Where γ or λ
is estimated at 0, the rows on that asymptote are predicted without error and add nothing; a curve fitted to such data
draws such samples again, and the plain statistic is then compared with samples that are too much like the data: its
p-values hardly ever come near 1. Each row's term has expectation 1 where answers can vary and 0 where they cannot (for
X² exactly), so that the excess has about the same distribution under either kind of curve (statistics less their
expectation under the fitted curve: McCullagh 1985, International Statistical Review 53, 61-67; Osius & Rojek 1992,
JASA 87, 1145-1152).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import xlogy
from scipy.stats import rankdata

from analysis.psychometric.fitting import PsychometricFit, fit_psychometric, probability
from analysis.psychometric.overdispersion import concentration
from analysis.psychometric.sigmoids import Floats
from core import rng

FLOOR = 1e-9
CERTAIN = 2e-6  # a rate this near 0 or 1 is that of an asymptote estimated at 0 (``LOGIT_BOX``)


@dataclass(frozen=True, kw_only=True, eq=False)
class GoodnessOfFit:
    """Of one data set: residuals are those of its rows with trials, in the order given, [L'].

    Attributes:
        deviance: twice the log likelihood lost against one probability a row.
        degrees: rows less free parameters (0 at least), for reference.
        p_value: share of refitted samples with an excess deviance (see above) at least as large, (1 + b) / (1 + B).
        pearson: Pearson's X² and its p value, found likewise.
        pearson_p: see there.
        residuals: signed deviance residuals.
        trend_p: how often the residuals' rank correlation with the prediction is as large in samples.
        order_p: likewise with the order of the rows given in ``goodness_of_fit``.
        samples: B.
    """

    deviance: float
    degrees: int
    p_value: float
    pearson: float
    pearson_p: float
    residuals: Floats
    predictions: Floats
    trend_p: float
    order_p: float
    samples: int


def residuals(p: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns signed deviance residuals [B, L]; 0 in rows without trials."""
    rate = hits / np.maximum(trials, 1)
    inside = np.clip(p, FLOOR, 1 - FLOOR)
    lost = xlogy(hits, rate / inside) + xlogy(trials - hits, (1 - rate) / (1 - inside))
    signed: Floats = np.sign(rate - p) * np.sqrt(np.maximum(2 * lost, 0))
    return signed


def pearson(p: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns Pearson's X² [B]."""
    inside = np.clip(p, FLOOR, 1 - FLOOR)
    value: Floats = ((hits - trials * inside) ** 2 / (np.maximum(trials, 1) * inside * (1 - inside))).sum(axis=-1)
    return value


def excess(statistic: Floats, p: Floats) -> Floats:
    """Returns statistics [B], sums over rows, less the number of rows of ``p`` [B, L] whose answers can vary."""
    uncertain = (p > CERTAIN) & (p < 1 - CERTAIN)
    over: Floats = statistic - uncertain.sum(axis=-1)
    return over


def simulated(fit: PsychometricFit, index: int, samples: int, generator: np.random.Generator) -> Floats:
    """Returns answers [samples, L] of the fitted curve of data set ``index``, overdispersed where the fit is."""
    p = np.broadcast_to(probability(fit, fit.levels)[index], (samples, len(fit.levels)))
    eta = float(fit.eta[index])
    if eta > 1e-4:
        v = float(concentration(np.array(eta)))
        p = generator.beta(np.maximum(p * v, FLOOR), np.maximum((1 - p) * v, FLOOR))
    answers: Floats = generator.binomial(fit.trials[index].astype(np.int64), np.clip(p, 0, 1)).astype(float)
    return answers


def refitted(fit: PsychometricFit, index: int, samples: int, seed: int, *purpose: str | int) -> PsychometricFit:
    """Returns the fits of ``samples`` data sets drawn from the fitted curve of data set ``index``."""
    hits = simulated(fit, index, samples, rng.numpy_generator(seed, "parametric bootstrap", *purpose))
    trials = np.broadcast_to(fit.trials[index], hits.shape)
    return fit_psychometric(fit.model, fit.levels, hits, trials)


def goodness_of_fit(
    fit: PsychometricFit, index: int = 0, *, samples: int = 1000, seed: int, order: Floats | None = None
) -> GoodnessOfFit:
    """Returns how well the curve of data set ``index`` fits.

    Args:
        fit: of one or more data sets.
        index: which.
        samples: refitted bootstrap samples.
        seed: of those.
        order: rank of each row in time, [L], where rows are blocks; by default their order.
    """
    used = np.flatnonzero(fit.trials[index] > 0)
    again = refitted(fit, index, samples, seed, "goodness of fit")
    p = probability(fit, fit.levels)[index][used]
    drawn_p = probability(again, fit.levels)[:, used]
    own = residuals(p, fit.hits[index][used], fit.trials[index][used])
    drawn = residuals(drawn_p, again.hits[:, used], again.trials[:, used])
    x2 = float(pearson(p, fit.hits[index][used], fit.trials[index][used]))
    drawn_x2 = pearson(drawn_p, again.hits[:, used], again.trials[:, used])
    place = np.arange(len(used), dtype=float) if order is None else order[used]
    return GoodnessOfFit(
        deviance=float((own**2).sum()),
        degrees=max(len(used) - fit.free_parameters, 0),
        p_value=exceeded(float(excess((own**2).sum(), p)), excess((drawn**2).sum(axis=1), drawn_p)),
        pearson=x2,
        pearson_p=exceeded(float(excess(np.array(x2), p)), excess(drawn_x2, drawn_p)),
        residuals=own,
        predictions=p,
        trend_p=exceeded(np.abs(rank_correlation(own[None], p[None]))[0], np.abs(rank_correlation(drawn, drawn_p))),
        order_p=exceeded(
            np.abs(rank_correlation(own[None], place[None]))[0],
            np.abs(rank_correlation(drawn, np.broadcast_to(place, drawn.shape))),
        ),
        samples=samples,
    )


def exceeded(value: float, samples: Floats) -> float:
    """Returns the Monte Carlo p value (1 + number of samples at least as large) / (1 + samples)."""
    return float((1 + (samples >= value - 1e-9).sum()) / (1 + len(samples)))


def rank_correlation(one: Floats, other: Floats) -> Floats:
    """Returns Spearman's correlations [B] of rows [B, L]; 0 where all of a row are equal."""
    a, b = (rankdata(each, axis=1) - (each.shape[1] + 1) / 2 for each in (one, other))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    correlation: Floats = np.divide((a * b).sum(axis=1), scale, out=np.zeros(len(a)), where=scale > 0)
    return correlation
