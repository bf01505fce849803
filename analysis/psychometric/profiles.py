"""Profile likelihood intervals, batched: all values that the likelihood ratio test at the level does not reject.

The quantity of interest takes the place of one parameter (Palamedes calls this reparametrisation), the others are
fitted again at each of its values; both ends are bracketed and found by the Illinois rule, for all data sets at once.

The asymptotes are profiled without their Beta prior, which only serves the estimate: its mode at 0 would hold λ below a
true 0.05 and make the width too sure (simulated coverage of ln w at 20 trials a level 0.934 with and 0.953 without it).
The prior of the width stays, since a few answers leave ln w unbounded: the interval is cautious where the width agrees
with that prior and answers are few (docs/coverage.md). Refitted parametric bootstrap samples to calibrate the signed
root of the ratio were tried and made it worse (coverage of ln w 0.78 to 0.93 at 20 trials a level).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from analysis.likelihood import Fit, climb
from analysis.psychometric import model as models
from analysis.psychometric.fitting import PsychometricFit, evaluation, fit_psychometric
from analysis.psychometric.model import GUESS, LAPSE, THRESHOLD, WIDTH, PsychometricModel
from analysis.psychometric.priors import ASYMPTOTE
from analysis.psychometric.sigmoids import Floats, sigmoid_of

Profiled = Literal["threshold", "width", "slope"]
EXPANSIONS, REFINEMENTS = 14, 9
CLOSE = 0.02  # of the deviance: 0.25 % of the interval's width
LEAST_SHARE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """What an interval is for.

    Attributes:
        name: ``threshold`` (the level where S is ``proportion``, or with ``of_answers`` where ψ is), ``width``, or
            ``slope``: (1 − γ − λ) S′ at the level where S is ``proportion``.
        proportion: see there; ``None`` is that of the model.
        of_answers: see there.
    """

    name: Profiled = "threshold"
    proportion: float | None = None
    of_answers: bool = False

    def __post_init__(self) -> None:
        if self.of_answers and (self.proportion is None or self.name != "threshold"):
            raise ValueError(
                f"Quantity: of_answers needs name 'threshold' and a proportion, got {self.name!r} and {self.proportion}"
            )


def value_of(model: PsychometricModel, quantity: Quantity, theta: Floats) -> Floats:
    """Returns the quantity [...] of parameters [..., P]: ln w, ln slope, or the level on the axis of S."""
    sigmoid = sigmoid_of(model.family)
    proportion = model.proportion if quantity.proportion is None else quantity.proportion
    match quantity.name:
        case "width":
            return theta[..., WIDTH]
        case "slope":
            guess, lapse = models.asymptotes(model, theta)
            steepest = np.log(float(sigmoid.density(np.array(sigmoid.quantile(proportion)))) * sigmoid.width)
            slope: Floats = np.log(1 - guess - lapse) + steepest - theta[..., WIDTH]
            return slope
        case "threshold":
            z = _z(model, quantity, proportion, theta)[0] - sigmoid.quantile(model.proportion)
            level: Floats = theta[..., THRESHOLD] + np.exp(theta[..., WIDTH]) / sigmoid.width * z
            return level


def _z(model: PsychometricModel, quantity: Quantity, proportion: float, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Standard score of the level that is asked for, and its slopes over γ and λ."""
    sigmoid = sigmoid_of(model.family)
    if not quantity.of_answers:
        flat = np.zeros(theta.shape[:-1])
        return np.full(theta.shape[:-1], sigmoid.quantile(proportion)), flat, flat
    guess, lapse = models.asymptotes(model, theta)
    share = (proportion - guess) / (1 - guess - lapse)
    inside = np.clip(share, LEAST_SHARE, 1 - LEAST_SHARE)
    z = np.array([sigmoid.quantile(float(each)) for each in inside.ravel()]).reshape(inside.shape)
    rate = np.where(share == inside, 1 / np.maximum(sigmoid.density(z), 1e-300), 0.0) / (1 - guess - lapse)
    return z, (inside - 1) * rate, inside * rate


def profile_interval(
    fit: PsychometricFit, quantity: Quantity | None = None, level: float = 0.95
) -> tuple[Floats, Floats]:
    """Returns the bounds [B] of a quantity; −∞ and ∞ (0 and ∞ of a width or slope) where the likelihood sets none.

    Args:
        fit: of B data sets; the profile is that of its model without the prior of the asymptotes.
        quantity: by default the threshold m.
        level: of confidence; the likelihood ratio is compared with chi-squared on one degree of freedom.
    """
    asked = quantity or Quantity()
    profile = _Profile(without_asymptote_prior(fit), asked)
    critical = float(chi2.ppf(level, 1))
    low, high = (profile.bound(side, critical) for side in (-1.0, 1.0))
    if asked.name in ("width", "slope") or fit.model.family == "weibull":
        return np.exp(low), np.exp(high)
    return low, high


def without_asymptote_prior(fit: PsychometricFit) -> PsychometricFit:
    """Returns the fit of the same data sets with flat γ and λ, all else as it was."""
    if fit.model.beta == 1 or (fit.model.guess is not None and fit.model.lapse is not None):
        return fit
    return fit_psychometric(dataclasses.replace(fit.model, beta=1.0), fit.levels, fit.hits, fit.trials)


class _Profile:
    """The profile of one quantity; ``place`` is the column of θ that gives way to it."""

    def __init__(self, fit: PsychometricFit, quantity: Quantity) -> None:
        self.model, self.quantity, self.axis = fit.model, quantity, fit.axis
        self.hits, self.trials, self.best = fit.hits, fit.trials, fit.fit
        self.place = THRESHOLD if quantity.name == "threshold" else WIDTH
        self.low, self.high = models.box(self.model, self.axis)
        self.estimate = value_of(self.model, quantity, self.best.parameters)
        self.step = self._first_step()

    def _first_step(self) -> Floats:
        """1.96 standard errors from the curvature at the mode, within reason."""
        native = self._turned(self.best.parameters, self.estimate)
        evaluate = evaluation(self.model, self.axis, self.hits, self.trials, self._native)
        information = evaluate(native, np.arange(len(native)))[2]
        diagonal = np.arange(native.shape[1])
        information[:, diagonal, diagonal] += 1e-6
        error = np.sqrt(np.abs(np.linalg.inv(information)[:, self.place, self.place]))
        span = self.high[self.place] - self.low[self.place]
        step: Floats = np.clip(1.96 * error, span * 1e-4, span / 8)
        return step

    def _turned(self, theta: Floats, value: Floats) -> Floats:
        turned = theta.copy()
        turned[:, self.place] = value
        return turned

    def _native(self, turned: Floats) -> tuple[Floats, Floats]:
        """θ from parameters in which the quantity stands at ``place``, and the derivatives."""
        theta = turned.copy()
        zero = self._turned(turned, np.zeros(len(turned)))
        offset = value_of(self.model, self.quantity, zero)
        jacobian = np.broadcast_to(np.eye(turned.shape[1]), (*turned.shape, turned.shape[1])).copy()
        if self.quantity.name == "slope":
            theta[:, WIDTH] = offset - turned[:, WIDTH]
            jacobian[:, WIDTH, WIDTH] = -1.0
        elif self.quantity.name == "threshold":
            theta[:, THRESHOLD] = turned[:, THRESHOLD] - offset
            jacobian[:, THRESHOLD, WIDTH] = -offset
        self._asymptote_slopes(zero, jacobian)
        return theta, jacobian

    def _asymptote_slopes(self, zero: Floats, jacobian: Floats) -> None:
        guess, lapse = models.asymptotes(self.model, zero)
        if self.quantity.name == "slope":
            over_guess = over_lapse = -1 / (1 - guess - lapse)
        elif self.quantity.of_answers and self.quantity.proportion is not None:
            scale = -np.exp(zero[:, WIDTH]) / sigmoid_of(self.model.family).width
            _, over_guess, over_lapse = _z(self.model, self.quantity, self.quantity.proportion, zero)
            over_guess, over_lapse = scale * over_guess, scale * over_lapse
        else:
            return
        if self.model.equal_asymptotes:
            over_lapse = over_lapse + over_guess
        if self.model.free_guess:
            jacobian[:, self.place, GUESS] = over_guess * guess * (1 - guess / ASYMPTOTE)
        if self.model.lapse is None:
            jacobian[:, self.place, LAPSE] = over_lapse * lapse * (1 - lapse / ASYMPTOTE)

    def lost(self, value: Floats, start: Floats, rows: NDArray[np.intp]) -> tuple[Floats, Fit]:
        """Twice the log posterior lost where the quantity is held at ``value`` in the data sets ``rows``."""
        low, high = np.tile(self.low, (len(rows), 1)), np.tile(self.high, (len(rows), 1))
        low[:, self.place] = high[:, self.place] = value
        evaluate = evaluation(self.model, self.axis, self.hits[rows], self.trials[rows], self._native)
        found = climb(evaluate, models.freed(start), low, high, steps=60)
        return 2 * (self.best.objective[rows] - found.objective), found

    def bound(self, side: float, critical: float) -> Floats:
        """The value on one side where ``lost`` reaches ``critical``; infinite where it does not within the box."""
        inner, outer, state, reached = self._bracketed(side, critical)
        result = np.where(reached, np.nan, side * np.inf)
        rows = np.flatnonzero(reached)
        a, b, fa, fb = inner[0][rows], outer[0][rows], inner[1][rows] - critical, outer[1][rows] - critical
        for _ in range(REFINEMENTS):
            middle = np.where(np.abs(fb - fa) > 1e-12, b - fb * (b - a) / (fb - fa), (a + b) / 2)
            value = self.lost(middle, state[rows], rows)[0] - critical
            beyond = value >= 0
            fa = np.where(beyond, fa / 2, value)  # Illinois: the end that stays counts for half
            a = np.where(beyond, a, middle)
            fb = np.where(beyond, value, fb / 2)
            b = np.where(beyond, middle, b)
            result[rows] = middle
            if (np.abs(value) < CLOSE).all():
                break
        return result

    def _bracketed(
        self, side: float, critical: float
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats], Floats, NDArray[np.bool_]]:
        """Values (and what is lost there) on either side of the end, and whether there is one."""
        number = len(self.estimate)
        inner, inner_lost = self.estimate.copy(), np.zeros(number)
        outer, outer_lost = self.estimate.copy(), np.zeros(number)
        state, step = self._turned(self.best.parameters, self.estimate), self.step.copy()
        open_ = np.ones(number, dtype=bool)
        limit = self._limit(side)
        for _ in range(EXPANSIONS):
            rows = np.flatnonzero(open_)
            if not len(rows):
                break
            inner[rows], inner_lost[rows] = outer[rows], outer_lost[rows]
            outer[rows] = side * np.minimum(side * (outer[rows] + side * step[rows]), side * limit)
            outer_lost[rows], found = self.lost(outer[rows], state[rows], rows)
            state[rows] = found.parameters
            step[rows] *= 2
            open_[rows] = (outer_lost[rows] < critical) & (side * outer[rows] < side * limit - 1e-12)
        return (inner, inner_lost), (outer, outer_lost), state, outer_lost >= critical

    def _limit(self, side: float) -> float:
        low, high = self.low[self.place], self.high[self.place]
        if self.quantity.name == "slope":
            low, high = -high - 1, -low + 3
        return float(high if side > 0 else low)
