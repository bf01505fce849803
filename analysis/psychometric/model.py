"""ψ(x) = γ + (1 − γ − λ) S(x; m, w): what is fitted, the curve with its derivatives, and the prior.

Parameters θ = (m, ln w, logit 2γ, logit 2λ, logit η) on the axis of S. S(m) is ``proportion``; w is the distance
between S = 0.05 and S = 0.95. Rows at −∞ have no signal: S is exactly 0 there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.psychometric.priors import ASYMPTOTE, BETA, LevelPrior, Terms, beta_prior, normal_prior
from analysis.psychometric.sigmoids import Family, Floats, sigmoid_of

LOGIT_BOX = 14.0
THRESHOLD, WIDTH, GUESS, LAPSE, OVERDISPERSION = range(5)


@dataclass(frozen=True, kw_only=True)
class PsychometricModel:
    """What is fitted.

    Attributes:
        family: shape of S; ``weibull`` takes x itself, the others x or its logarithm as given.
        guess: γ (1/n where the task fixes it), or ``None`` to estimate it with a Beta(1, ``beta``) prior on (0, 0.5).
        lapse: λ, or ``None`` to estimate it likewise.
        width_prior: centre (in units of x) and standard deviation of the normal prior on ln w; ``None`` is flat.
        equal_asymptotes: γ is λ, and estimated.
        proportion: S at the threshold m.
        beta: of the prior on the asymptotes; 1 is flat, and the fit maximum likelihood without a ``width_prior``.
        overdispersed: answers of a row are beta-binomial, ψv and (1 − ψ)v with v = 1/η² − 1; η ~ Beta(1, 10).
        levels: psignifit 4's priors of m and w instead of ours.
    """

    family: Family = "gumbel"
    guess: float | None = None
    lapse: float | None = None
    width_prior: tuple[float, float] | None = None
    equal_asymptotes: bool = False
    proportion: float = 0.5
    beta: float = BETA
    overdispersed: bool = False
    levels: LevelPrior | None = None

    def __post_init__(self) -> None:
        if not 0 < self.proportion < 1 or self.beta < 1:
            raise ValueError(
                f"PsychometricModel: expected 0 < proportion < 1 and beta ≥ 1, got {self.proportion} and {self.beta}"
            )
        if self.equal_asymptotes and (self.guess is not None or self.lapse is not None):
            raise ValueError(
                f"PsychometricModel: equal_asymptotes estimates γ = λ; expected neither fixed, "
                f"got guess {self.guess} and lapse {self.lapse}"
            )

    @property
    def free_guess(self) -> bool:
        """Whether γ is a parameter of its own."""
        return self.guess is None and not self.equal_asymptotes

    @property
    def free_parameters(self) -> int:
        """Number of parameters that are estimated."""
        return 2 + self.free_guess + (self.lapse is None) + self.overdispersed


def asymptotes(model: PsychometricModel, theta: Floats) -> tuple[Floats, Floats]:
    """Returns γ and λ, each [...], of parameters [..., P]."""
    lapse = _asymptote(model.lapse, theta[..., LAPSE])
    return (lapse if model.equal_asymptotes else _asymptote(model.guess, theta[..., GUESS])), lapse


def _asymptote(fixed: float | None, logit: Floats) -> Floats:
    return ASYMPTOTE * special.expit(logit) if fixed is None else np.full_like(logit, fixed)


def standardised(model: PsychometricModel, levels: Floats, m: Floats, log_w: Floats) -> tuple[Floats, Floats]:
    """Returns z of rows with signal, and its slope over x; all arguments broadcast."""
    sigmoid = sigmoid_of(model.family)
    scale = sigmoid.width * np.exp(-log_w)
    z = (np.where(np.isfinite(levels), levels, 0.0) - m) * scale + sigmoid.quantile(model.proportion)
    return np.clip(z, -1e3, 1e3), scale


def curve(
    model: PsychometricModel, levels: Floats, theta: Floats, which: NDArray[np.intp] | None = None
) -> tuple[Floats, Floats]:
    """Returns P(yes) [B, L] and its derivatives [B, L, 4].

    Args:
        model: what is fitted.
        levels: on the axis of S, [L]; −∞ for rows without signal.
        theta: [B, 4 or more]; or, for several curves with common asymptotes, [B, K, 4 or more].
        which: the curve (0 to K − 1) of each row, [L], where there are several.
    """
    rows = theta[:, None, :] if which is None else theta[:, which, :]
    sigmoid = sigmoid_of(model.family)
    guess, lapse = asymptotes(model, rows)
    z, scale = standardised(model, levels, rows[..., THRESHOLD], rows[..., WIDTH])
    signal = np.isfinite(levels)
    s, density = np.where(signal, sigmoid.cdf(z), 0.0), np.where(signal, sigmoid.density(z), 0.0)
    height = 1 - guess - lapse
    lapse_slope = lapse * (1 - lapse / ASYMPTOTE) if model.lapse is None else np.zeros_like(lapse)
    guess_slope = guess * (1 - guess / ASYMPTOTE) if model.free_guess else np.zeros_like(guess)
    jacobian = np.empty((*s.shape, 4))
    jacobian[..., THRESHOLD] = -height * density * scale
    jacobian[..., WIDTH] = -height * density * (z - sigmoid.quantile(model.proportion))
    jacobian[..., GUESS] = (1 - s) * guess_slope
    jacobian[..., LAPSE] = (1 - 2 * s if model.equal_asymptotes else -s) * lapse_slope
    return guess + height * s, jacobian


def log_prior(model: PsychometricModel, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns log density [B], gradient [B, P] and minus the diagonal of the Hessian [B, P] of parameters [B, P]."""
    value = np.zeros(len(theta))
    gradient, curvature = np.zeros_like(theta), np.zeros_like(theta)
    for column, terms in _priors(model, theta):
        value += terms[0]
        gradient[:, column], curvature[:, column] = terms[1], terms[2]
    return value, gradient, curvature


def _priors(model: PsychometricModel, theta: Floats) -> list[tuple[int, Terms]]:
    parts: list[tuple[int, Terms]] = []
    if model.levels is not None:
        parts += [
            (THRESHOLD, model.levels.threshold(theta[:, THRESHOLD])), (WIDTH, model.levels.width(theta[:, WIDTH])),
        ]  # fmt: skip
    elif model.width_prior is not None:
        parts += [(WIDTH, normal_prior(theta[:, WIDTH], np.log(model.width_prior[0]), model.width_prior[1]))]
    if model.free_guess:
        parts += [(GUESS, beta_prior(theta[:, GUESS], model.beta))]
    if model.lapse is None:
        parts += [(LAPSE, beta_prior(theta[:, LAPSE], model.beta))]
    if model.overdispersed:
        parts += [(OVERDISPERSION, beta_prior(theta[:, OVERDISPERSION], BETA, 1.0))]
    return parts


def rate_prior(rate: Floats, beta: float) -> Terms:
    """Returns the terms of the Beta(1, ``beta``) prior over an asymptote itself, where ``beta_prior`` has its logit."""
    inverse = 1 / np.maximum(1 - rate, 1e-12)
    return -(beta - 1) * np.log(inverse), -(beta - 1) * inverse, (beta - 1) * inverse**2


def box(model: PsychometricModel, levels: Floats) -> tuple[Floats, Floats]:
    """Returns the bounds of the parameters, each [4 or 5], for levels on the axis of S."""
    distinct = np.unique(levels[np.isfinite(levels)])
    span = distinct[-1] - distinct[0]
    low = [distinct[0] - span, np.log(span * 1e-3), -LOGIT_BOX, -LOGIT_BOX]
    high = [distinct[-1] + span, np.log(span * 30), LOGIT_BOX, LOGIT_BOX]
    if model.levels is not None:  # where psignifit's densities are not 0
        prior = model.levels
        low[:2] = [prior.low - 0.499 * prior.span, np.log(prior.gap * 1.001)]
        high[:2] = [prior.high + 0.499 * prior.span, np.log(prior.span * 2.999)]
    extra = [LOGIT_BOX] if model.overdispersed else []
    return np.array([*low, *(-each for each in extra)]), np.array([*high, *extra])


def starts(model: PsychometricModel, levels: Floats) -> list[Floats]:
    """Returns three starting points, each [4 or 5], that differ in the threshold."""
    distinct = np.unique(levels[np.isfinite(levels)])
    width = np.log((distinct[-1] - distinct[0]) / 2)
    extra = [-2.0] if model.overdispersed else []
    return [np.array([m, width, -3.0, -3.0, *extra]) for m in np.quantile(distinct, [0.25, 0.5, 0.75])]


def freed(theta: Floats) -> Floats:
    """Returns a starting point [..., P] near parameters, with asymptotes off their bounds, where slopes vanish."""
    near = theta.copy()
    near[..., GUESS:] = np.clip(near[..., GUESS:], -4.0, 4.0)
    return near
