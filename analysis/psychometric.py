"""Psychometric functions: P(yes | x) = γ + (1 − γ − λ) S(x; m, w), fitted to many data sets at once.

m is the level where S = 0.5, w the distance between S = 0.05 and S = 0.95 (Schütt et al. 2016). In the report
x = log2 ε, so that w is in octaves; ε = 0 is x = −∞, where S is exactly 0 and the row speaks of γ alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import special

from analysis.likelihood import Fit, Floats, best_of, deviance, maximise

Family = Literal["normal", "logistic", "gumbel"]
ASYMPTOTE = 0.5  # the most that γ and λ may be
LOGIT_BOX = 14.0
BETA = 10.0  # γ, λ ~ Beta(1, 10)
WIDTH_TAIL = 0.05


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """A distribution function with its density and quantile function, all in standard form."""

    cdf: Callable[[Floats], Floats]
    density: Callable[[Floats], Floats]
    quantile: Callable[[float], float]

    @property
    def width(self) -> float:
        """Distance between the 5 % and the 95 % point."""
        return self.quantile(1 - WIDTH_TAIL) - self.quantile(WIDTH_TAIL)


SIGMOIDS: dict[Family, Sigmoid] = {
    "normal": Sigmoid(
        cdf=special.ndtr,
        density=lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi),
        quantile=lambda q: float(special.ndtri(q)),
    ),
    "logistic": Sigmoid(
        cdf=special.expit,
        density=lambda z: special.expit(z) * special.expit(-z),
        quantile=lambda q: float(special.logit(q)),
    ),
    "gumbel": Sigmoid(  # of the smallest value: Weibull on the axis without the logarithm
        cdf=lambda z: -np.expm1(-np.exp(np.minimum(z, 700))),
        density=lambda z: np.exp(np.minimum(z, 700) - np.exp(np.minimum(z, 700))),
        quantile=lambda q: float(np.log(-np.log1p(-q))),
    ),
}


@dataclass(frozen=True, kw_only=True)
class PsychometricModel:
    """What is fitted.

    Attributes:
        family: shape of S.
        guess: γ, or ``None`` to estimate it with a Beta(1, 10) prior on (0, 0.5).
        lapse: λ, or ``None`` to estimate it likewise.
        width_prior: centre (in units of x) and standard deviation of the normal prior on ln w; ``None`` is flat.
    """

    family: Family = "gumbel"
    guess: float | None = None
    lapse: float | None = None
    width_prior: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class PsychometricFit:
    """Maximum a posteriori parameters of B data sets, each array [B]; ``deviance`` is against one probability a row."""

    model: PsychometricModel
    threshold: Floats
    width: Floats
    guess: Floats
    lapse: Floats
    deviance: Floats
    free_parameters: int
    fit: Fit = field(repr=False)


def probability(fit: PsychometricFit, levels: Floats) -> Floats:
    """Returns P(yes) [B, L] of fitted curves at ``levels`` [L]; −∞ stands for ε = 0."""
    return _curve(fit.model, levels, fit.fit.parameters)[0]


def fit_psychometric(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats) -> PsychometricFit:
    """Returns the fits of B data sets that share their levels.

    Args:
        model: what is fitted.
        levels: x of each row, [L]; −∞ for trials without signal.
        hits: answers "yes", [B, L].
        trials: [B, L].

    Raises:
        ValueError: fewer than two finite levels, or shapes that do not fit together.
    """
    finite = np.unique(levels[np.isfinite(levels)])
    if len(finite) < 2 or hits.shape != trials.shape or hits.shape[-1] != len(levels):
        raise ValueError(f"expected 2 levels or more and [B, {len(levels)}] counts, got {len(finite)} and {hits.shape}")
    low, high = _box(finite)
    fits = [
        maximise(
            lambda theta: _curve(model, levels, theta), lambda theta: _prior(model, theta),
            np.broadcast_to(start, (len(hits), 4)).copy(), hits, trials, low, high,
        )
        for start in _starts(finite)
    ]  # fmt: skip
    best = best_of(fits)
    p = _curve(model, levels, best.parameters)[0]
    return PsychometricFit(
        model=model,
        threshold=best.parameters[:, 0],
        width=np.exp(best.parameters[:, 1]),
        guess=_asymptote(model.guess, best.parameters[:, 2]),
        lapse=_asymptote(model.lapse, best.parameters[:, 3]),
        deviance=deviance(p, hits, trials),
        free_parameters=2 + (model.guess is None) + (model.lapse is None),
        fit=best,
    )


def _box(levels: Floats) -> tuple[Floats, Floats]:
    span = levels[-1] - levels[0]
    low = np.array([levels[0] - span, np.log(span * 1e-3), -LOGIT_BOX, -LOGIT_BOX])
    high = np.array([levels[-1] + span, np.log(span * 30), LOGIT_BOX, LOGIT_BOX])
    return low, high


def _starts(levels: Floats) -> list[Floats]:
    width = np.log((levels[-1] - levels[0]) / 2)
    return [np.array([m, width, -3.0, -3.0]) for m in np.quantile(levels, [0.25, 0.5, 0.75])]


def _asymptote(fixed: float | None, logit: Floats) -> Floats:
    return ASYMPTOTE * special.expit(logit) if fixed is None else np.full_like(logit, fixed)


def _asymptote_slope(fixed: float | None, value: Floats) -> Floats:
    return value * (1 - value / ASYMPTOTE) if fixed is None else np.zeros_like(value)


def _curve(model: PsychometricModel, levels: Floats, theta: Floats) -> tuple[Floats, Floats]:
    sigmoid = SIGMOIDS[model.family]
    m, log_w = theta[:, :1], theta[:, 1:2]
    guess, lapse = _asymptote(model.guess, theta[:, 2:3]), _asymptote(model.lapse, theta[:, 3:4])
    signal = np.isfinite(levels)
    centre = sigmoid.quantile(0.5)
    scale = sigmoid.width * np.exp(-log_w)
    z = np.clip((np.where(signal, levels, 0.0) - m) * scale + centre, -1e3, 1e3)
    s = np.where(signal, sigmoid.cdf(z), 0.0)
    density = np.where(signal, sigmoid.density(z), 0.0)
    height = 1 - guess - lapse
    jacobian = np.stack(
        [
            -height * density * scale,
            -height * density * (z - centre),
            (1 - s) * _asymptote_slope(model.guess, guess),
            -s * _asymptote_slope(model.lapse, lapse),
        ],
        axis=-1,
    )
    return guess + height * s, jacobian


def _prior(model: PsychometricModel, theta: Floats) -> tuple[Floats, Floats, Floats]:
    value = np.zeros(len(theta))
    gradient, curvature = np.zeros_like(theta), np.zeros_like(theta)
    if model.width_prior is not None:
        centre, sd = np.log(model.width_prior[0]), model.width_prior[1]
        value -= ((theta[:, 1] - centre) / sd) ** 2 / 2
        gradient[:, 1] = (centre - theta[:, 1]) / sd**2
        curvature[:, 1] = 1 / sd**2
    for column, fixed in ((2, model.guess), (3, model.lapse)):
        if fixed is None:
            part = beta_prior(theta[:, column])
            value += part[0]
            gradient[:, column], curvature[:, column] = part[1], part[2]
    return value, gradient, curvature


def beta_prior(logit: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns log density, slope and curvature over ``logit`` of the Beta(1, 10) prior on 0.5 expit(logit).

    The density is that of the asymptote itself (no Jacobian), so that the mode does not depend on the parametrisation.
    """
    value = ASYMPTOTE * special.expit(logit)
    slope = value * (1 - value / ASYMPTOTE)
    weight = (BETA - 1) / (1 - value)
    return (BETA - 1) * np.log1p(-value), -weight * slope, weight / (1 - value) * slope**2
