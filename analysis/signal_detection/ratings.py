"""Ratings: ROC curve, area under it, d_a, and the unequal-variance normal model by maximum likelihood.

Counts by rating, from the surest "no" to the surest "yes". Area: Mann & Whitney 1947, ties count one half; its
variance for independent trials: DeLong et al. 1988. Normal model: noise ~ N(0, 1), signal ~ N(μ, σ²), cut at K − 1
criteria (Dorfman & Alf 1969), an ordered probit; d_a = μ / √((1 + σ²) / 2) (Simpson & Fitter 1973).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from analysis.likelihood import TINY, Fit, Floats, deviance, maximise

MOST_LOG_SIGMA, MOST_MU, MOST_CRITERION = 3.0, 10.0, 10.0
LEAST_LOG_GAP, MOST_LOG_GAP = -12.0, 3.0
NEAR = 0.02
MU, LOG_SIGMA, FIRST_CRITERION = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class RatingFit:
    """The normal model of B data sets with K ratings; arrays [B] unless said.

    Attributes:
        mu: distance of the means, in standard deviations of the noise.
        sigma: standard deviation of the signal, in those of the noise.
        zroc_slope: 1 / σ.
        criteria: [B, K − 1].
        d_a: with ``d_a_variance`` for independent trials (delta method on the expected information).
        mu_variance: for independent trials.
        zroc_slope_variance: for independent trials; 0 where σ was held at 1.
        deviance: against one free probability a rating, on ``degrees_of_freedom``.
    """

    mu: Floats
    mu_variance: Floats
    sigma: Floats
    zroc_slope: Floats
    zroc_slope_variance: Floats
    criteria: Floats
    d_a: Floats
    d_a_variance: Floats
    deviance: Floats
    degrees_of_freedom: int
    fit: Fit = field(repr=False)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Whether μ and σ lie inside the limits of the fit, [B]; at a limit the ratings do not tell them."""
        inside: NDArray[np.bool_] = (np.abs(self.mu) < MOST_MU - NEAR) & (
            np.abs(np.log(self.sigma)) < MOST_LOG_SIGMA - NEAR
        )
        return inside


def roc_points(noise: Floats, signal: Floats) -> tuple[Floats, Floats]:
    """Returns false-alarm and hit rates [..., K + 1] from (0, 0), strictest criterion first, to (1, 1).

    Args:
        noise: trials without signal by rating, [..., K], surest "no" first.
        signal: trials with signal, likewise.
    """
    return _cumulated(noise), _cumulated(signal)


def _cumulated(counts: Floats) -> Floats:
    above = np.cumsum(counts[..., ::-1], axis=-1)
    start = np.zeros((*above.shape[:-1], 1))
    return np.concatenate([start, above / np.maximum(above[..., -1:], 1)], axis=-1)


def area_under_curve(noise: Floats, signal: Floats) -> Floats:
    """Returns P(rating of a signal > of a noise trial) + P(equal) / 2, [...]; NaN where either was never shown."""
    n, s = _totals(noise, signal)
    area: Floats = (signal * _below(noise)).sum(axis=-1) / np.where((n > 0) & (s > 0), n * s, np.nan)
    return area


def area_variance(noise: Floats, signal: Floats) -> Floats:
    """Returns the variance of the area for independent trials (DeLong et al. 1988), [...]."""
    n, s = _totals(noise, signal)
    area = area_under_curve(noise, signal)[..., None]
    of_signal = _below(noise) / n[..., None]
    of_noise = 1 - _below(signal) / s[..., None]
    within = (signal * (of_signal - area) ** 2).sum(axis=-1) / np.maximum(s - 1, 1) / s
    between = (noise * (of_noise - area) ** 2).sum(axis=-1) / np.maximum(n - 1, 1) / n
    variance: Floats = within + between
    return variance


def _totals(noise: Floats, signal: Floats) -> tuple[Floats, Floats]:
    return noise.sum(axis=-1), signal.sum(axis=-1)


def _below(counts: Floats) -> Floats:
    """How many trials were rated lower than each rating, those rated the same counted half."""
    below: Floats = np.cumsum(counts, axis=-1) - counts / 2
    return below


def fit_ratings(noise: Floats, signal: Floats, *, equal_variance: bool = False) -> RatingFit:
    """Returns the maximum-likelihood normal model of B data sets.

    The multinomial likelihood is a product of binomials (go on to the next rating, or stay), which is what is fitted.

    Args:
        noise: [B, K] with K ≥ 2, surest "no" first.
        signal: [B, K].
        equal_variance: hold σ at 1. With K = 2 it always is: two points cannot tell σ.

    Raises:
        ValueError: fewer than two ratings, or shapes that differ.
    """
    if noise.shape != signal.shape or noise.ndim != 2 or noise.shape[1] < 2:
        raise ValueError(f"expected two arrays [B, K] of one shape with K >= 2, got {noise.shape} and {signal.shape}")
    held = equal_variance or noise.shape[1] == 2
    hits, trials = _steps(noise, signal)
    low, high = _box(noise.shape[1], held)
    start = _start(noise, signal)
    fit = maximise(lambda theta: _curve(theta, held), _flat, start, hits, trials, low, high)
    return _rating_fit(fit, hits, trials, held)


def _rating_fit(fit: Fit, hits: Floats, trials: Floats, held: bool) -> RatingFit:
    theta = fit.parameters
    covariance = _covariance(theta, held, trials)
    mu, sigma = theta[:, MU], np.exp(theta[:, LOG_SIGMA])
    width = np.sqrt((1 + sigma**2) / 2)
    of_mu, of_log_sigma = 1 / width, -mu * sigma**2 / (2 * width**3)
    gradient = np.stack([of_mu, of_log_sigma], axis=1)
    block = covariance[:, :FIRST_CRITERION, :FIRST_CRITERION]
    return RatingFit(
        mu=mu,
        mu_variance=covariance[:, MU, MU],
        sigma=sigma,
        zroc_slope=1 / sigma,
        zroc_slope_variance=covariance[:, LOG_SIGMA, LOG_SIGMA] / sigma**2,
        criteria=_criteria(theta),
        d_a=mu / width,
        d_a_variance=np.einsum("bp,bpq,bq->b", gradient, block, gradient),
        deviance=deviance(_curve(theta, held)[0], hits, trials),
        degrees_of_freedom=hits.shape[1] - theta.shape[1] + int(held),
        fit=fit,
    )


def _steps(noise: Floats, signal: Floats) -> tuple[Floats, Floats]:
    """Trials that reached each rating and those of them that went beyond it: noise rows first, [B, 2 (K − 1)]."""
    at_least = [np.cumsum(counts[:, ::-1], axis=1)[:, ::-1] for counts in (noise, signal)]
    hits = np.concatenate([counts[:, 1:] for counts in at_least], axis=1)
    return hits, np.concatenate([counts[:, :-1] for counts in at_least], axis=1)


def _box(ratings: int, held: bool) -> tuple[Floats, Floats]:
    gaps = np.ones(ratings - 2)
    spread = 0.0 if held else MOST_LOG_SIGMA
    low = np.concatenate([[-MOST_MU, -spread, -MOST_CRITERION], LEAST_LOG_GAP * gaps])
    return low, np.concatenate([[MOST_MU, spread, MOST_CRITERION], MOST_LOG_GAP * gaps])


def _start(noise: Floats, signal: Floats) -> Floats:
    ratings = noise.shape[1]
    above = np.cumsum((noise + 0.5 / ratings)[:, ::-1], axis=1)[:, ::-1]
    criteria = -ndtri(above[:, 1:] / above[:, :1])
    mu = np.sqrt(2) * ndtri(np.clip(area_under_curve(noise, signal), 0.01, 0.99))
    gaps = np.log(np.maximum(np.diff(criteria, axis=1), 1e-3))
    return np.concatenate([mu[:, None], np.zeros((len(mu), 1)), criteria[:, :1], gaps], axis=1)


def _criteria(theta: Floats) -> Floats:
    gaps = np.exp(theta[:, FIRST_CRITERION + 1 :])
    return np.cumsum(np.concatenate([theta[:, FIRST_CRITERION : FIRST_CRITERION + 1], gaps], axis=1), axis=1)


def _curve(theta: Floats, held: bool) -> tuple[Floats, Floats]:
    """P(beyond rating j | at least j) for noise then signal, [B, 2 (K − 1)], and its derivatives."""
    parts = [_survival(theta, signal=False, held=held), _survival(theta, signal=True, held=held)]
    probability, jacobian = [], []
    for survival, slope in parts:
        before = np.concatenate([np.ones_like(survival[:, :1]), survival[:, :-1]], axis=1)
        slope_before = np.concatenate([np.zeros_like(slope[:, :1]), slope[:, :-1]], axis=1)
        before = np.maximum(before, TINY)
        p = survival / before
        probability.append(p)
        jacobian.append((slope - p[..., None] * slope_before) / before[..., None])
    return np.concatenate(probability, axis=1), np.concatenate(jacobian, axis=1)


def _survival(theta: Floats, *, signal: bool, held: bool) -> tuple[Floats, Floats]:
    """P(evidence > criterion j), [B, K − 1], and its derivatives, [B, K − 1, parameters]."""
    criteria = _criteria(theta)
    mu, sigma = (theta[:, :1], np.exp(theta[:, LOG_SIGMA : LOG_SIGMA + 1])) if signal else (0.0, 1.0)
    z = (mu - criteria) / sigma
    height = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    slope = np.zeros((*z.shape, theta.shape[1]))
    if signal:
        slope[:, :, MU] = height / sigma
        slope[:, :, LOG_SIGMA] = 0.0 if held else -height * z
    slope[:, :, FIRST_CRITERION] = -height / sigma
    for gap in range(FIRST_CRITERION + 1, theta.shape[1]):
        rows = slice(gap - FIRST_CRITERION, None)
        slope[:, rows, gap] = (-height / sigma * np.exp(theta[:, gap : gap + 1]))[:, rows]
    return ndtr(z), slope


def _covariance(theta: Floats, held: bool, trials: Floats) -> Floats:
    probability, jacobian = _curve(theta, held)
    p = np.clip(probability, TINY, 1 - TINY)
    information = np.einsum("blp,bl,blq->bpq", jacobian, trials / (p * (1 - p)), jacobian)
    covariance: Floats = np.linalg.pinv(information, hermitian=True)
    return covariance


def _flat(theta: Floats) -> tuple[Floats, Floats, Floats]:
    return np.zeros(len(theta)), np.zeros_like(theta), np.zeros_like(theta)
