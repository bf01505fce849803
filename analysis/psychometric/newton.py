"""Maximum a posteriori fits of many binomial curves: Newton's method in (m, ln w, γ, λ), begun at a grid's best cell.

ψ is linear in γ and λ, so that in them, unlike in their logits, few steps are needed and a bound at 0 is reached at
once. The Hessian is that of the answers (Nocedal & Wright 2006, Numerical Optimization, chapter 3), without the
curvature of ψ where it is not positive definite; Levenberg's damping and the parameters held at bounds are per data
set. Fisher scoring (``likelihood.climb``) needs about three times as many steps. Arrays are [P, B] and [L, B]: the data
sets are last, so that all sums over rows run along memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.likelihood import MOST_DAMPING, TINY, Fit
from analysis.psychometric import model as models
from analysis.psychometric.model import GUESS, LAPSE, LOGIT_BOX, THRESHOLD, WIDTH, PsychometricModel, rate_prior
from analysis.psychometric.priors import ASYMPTOTE, Terms, normal_prior
from analysis.psychometric.sigmoids import Floats, sigmoid_of
from analysis.psychometric.starting_cells import starting_cells

STEPS = 200
START_DAMPING, MORE_DAMPING, LESS_DAMPING = 1e-3, 10.0, 0.1
LEAST_DAMPING, REFUSED_DAMPING = 1e-6, 1.0  # the least after a step that was accepted, and after one refused
LEAST_GAIN, NO_GAIN = 1e-12, 1e-10  # predicted and found; a data set that gains less is done
LEAST_PIVOT = 1e-12
RACES = (3, 5, 7)  # after which steps searches may be given up
SAME = 0.02
MOST_T = 1e3
LONGEST = np.array([0.3, 0.6, 0.1, 0.1])  # steps of m (in ranges of the levels), ln w, γ and λ
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Levels [L, 1] on the axis of S, whether there is a signal, and the data [L, B]."""

    levels: Floats
    signal: Floats
    hits: Floats
    misses: Floats

    def of(self, chosen: NDArray[np.intp]) -> Rows:
        """Returns some of the data sets."""
        return Rows(levels=self.levels, signal=self.signal, hits=self.hits[:, chosen], misses=self.misses[:, chosen])


@dataclass(frozen=True, kw_only=True)
class Place:
    """The log posterior [B] at parameters, its gradient [4, B], and minus its Hessian [4, 4, B] in two parts.

    ``outer`` is made of first derivatives of ψ alone and positive semi-definite, ``bent`` of second ones.
    """

    value: Floats
    gradient: Floats
    outer: Floats
    bent: Floats

    def of(self, chosen: NDArray[np.intp]) -> Place:
        """Returns the places of some of the data sets."""
        return Place(
            value=self.value[chosen],
            gradient=self.gradient[:, chosen],
            outer=self.outer[..., chosen],
            bent=self.bent[..., chosen],
        )

    def where(self, better: Bools, other: Place) -> Place:
        """Returns this place of the data sets where it is ``better``, the other one elsewhere."""
        if better.all():
            return self
        return Place(
            value=np.where(better, self.value, other.value),
            gradient=np.where(better, self.gradient, other.gradient),
            outer=np.where(better, self.outer, other.outer),
            bent=np.where(better, self.bent, other.bent),
        )


def newton_fits(model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats) -> Fit:
    """Returns the maximum a posteriori parameters θ [B, 4] of data sets [B, L] with levels [L] on the axis of S.

    Each is the best of searches that begin at the best cells of a grid, one for each group of widths; those that fall
    behind, or come to the same place, are given up.
    """
    start = starting_cells(model, axis, hits, trials)
    groups = start.shape[2]
    low, high = _box(model, axis)
    longest = LONGEST * np.array([np.ptp(axis[np.isfinite(axis)]), 1, 1, 1])
    rows = _rows(axis, hits, trials).of(np.repeat(np.arange(len(hits)), groups))
    found = _search(model, rows, start.reshape(4, -1), low, high, longest[:, None], groups)
    best = found.objective.reshape(-1, groups).argmax(axis=1) + groups * np.arange(len(hits))
    return Fit(parameters=found.parameters[best], objective=found.objective[best], converged=found.converged[best])


def _rows(axis: Floats, hits: Floats, trials: Floats) -> Rows:
    """All answers without signal are one row."""
    signal = np.isfinite(axis)
    yes, no = hits.T, (trials - hits).T
    idle = [] if signal.all() else [-np.inf]
    return Rows(
        levels=np.where(np.isfinite([*idle, *axis[signal]]), [*idle, *axis[signal]], 0.0)[:, None],
        signal=np.array([0.0] * len(idle) + [1.0] * int(signal.sum()))[:, None],
        hits=np.concatenate([*([yes[~signal].sum(axis=0)[None]] if idle else []), yes[signal]]),
        misses=np.concatenate([*([no[~signal].sum(axis=0)[None]] if idle else []), no[signal]]),
    )


def _box(model: PsychometricModel, axis: Floats) -> tuple[Floats, Floats]:
    """Bounds [4, 1] of m, ln w, γ and λ; equal where a parameter is not estimated."""
    low, high = (each[:4].copy() for each in models.box(model, axis))
    for bound in (low, high):
        bound[GUESS:] = ASYMPTOTE * special.expit(bound[GUESS:])
    for parameter, fixed in ((GUESS, 0.0 if model.equal_asymptotes else model.guess), (LAPSE, model.lapse)):
        if fixed is not None:
            low[parameter] = high[parameter] = fixed
    return low[:, None], high[:, None]


def _search(
    model: PsychometricModel, rows: Rows, start: Floats, low: Floats, high: Floats, longest: Floats, groups: int
) -> Fit:
    at = np.clip(start, low, high)
    size = at.shape[1]
    objective, damping, converged = np.empty(size), np.full(size, START_DAMPING), np.zeros(size, dtype=bool)
    active, place = np.arange(size), _place(model, rows, at)
    for number in range(STEPS):
        step, gain = _step(place, at[:, active], damping[active], low, high)
        trial = np.clip(at[:, active] + np.clip(step, -longest, longest), low, high)
        there = _place(model, rows, trial)
        gained = there.value - place.value
        better = gained >= 0
        at[:, active] = np.where(better, trial, at[:, active])
        place = there.where(better, place)
        objective[active] = place.value
        now = damping[active]
        damping[active] = np.where(
            better, np.maximum(now * LESS_DAMPING, LEAST_DAMPING), np.maximum(now * MORE_DAMPING, REFUSED_DAMPING)
        )
        still = (gain < LEAST_GAIN) | ((gained < NO_GAIN) & (now < 1))
        done = (better & still) | (damping[active] > MOST_DAMPING)
        converged[active[done]] = True
        if number in RACES:
            lost = _lost(at / longest, objective, active, place.value + gain, groups)
            objective[active[lost]] = -np.inf
            done |= lost
        if done.any():
            left = np.flatnonzero(~done)
            active, rows, place = active[left], rows.of(left), place.of(left)
        if not len(active):
            break
    return Fit(parameters=_theta(at), objective=objective, converged=converged)


def _lost(at: Floats, objective: Floats, active: NDArray[np.intp], hoped: Floats, groups: int) -> Bools:
    """Which searches will hardly reach the best of their data set, or are where an earlier one of it is already."""
    every, places = objective.reshape(-1, groups), at.reshape(4, -1, groups)
    still, behind = np.isfinite(every), np.zeros(len(objective), dtype=bool)
    behind[active] = hoped < every.max(axis=1)[active // groups]
    lost = behind.reshape(-1, groups)
    for later in range(1, groups):
        near = (np.abs(places[..., :later] - places[..., later, None]) < SAME).all(axis=0)
        lost[:, later] |= (near & still[:, :later] & ~lost[:, :later]).any(axis=1)
    return lost.ravel()[active]


def _theta(at: Floats) -> Floats:
    theta = at.T.copy()
    with np.errstate(divide="ignore"):
        logits = special.logit(np.clip(theta[:, GUESS:] / ASYMPTOTE, 0, 1))
    theta[:, GUESS:] = np.clip(logits, -LOGIT_BOX, LOGIT_BOX)
    return theta


def _place(model: PsychometricModel, rows: Rows, at: Floats) -> Place:
    m, log_w, guess, lapse = at
    guess = lapse if model.equal_asymptotes else guess
    sigmoid = sigmoid_of(model.family)
    scale, height = sigmoid.width * np.exp(-log_w), 1 - guess - lapse
    t = np.clip((rows.levels - m) * scale, -MOST_T, MOST_T)
    z = t + sigmoid.quantile(model.proportion)
    s, f, bend = (rows.signal * part(z) for part in (sigmoid.cdf, sigmoid.density, sigmoid.density_slope))
    p = np.clip(guess + height * s, TINY, 1 - TINY)
    q = 1 - p
    yes, no = rows.hits / p, rows.misses / q
    score, weight = yes - no, yes / p + no / q
    slopes = (-height * scale * f, -height * f * t, *_asymptote_slopes(model, s))
    value, gradient, outer = _prior(model, at)
    value += (rows.hits * np.log(p) + rows.misses * np.log(q)).sum(axis=0)
    for one, slope in enumerate(slopes):
        gradient[one] += (score * slope).sum(axis=0)
        weighted = weight * slope
        for two in range(one + 1):
            outer[one, two] += (weighted * slopes[two]).sum(axis=0)
            outer[two, one] = outer[one, two]
    return Place(value=value, gradient=gradient, outer=outer, bent=_bent(model, score, f, bend, t, scale, height))


def _asymptote_slopes(model: PsychometricModel, s: Floats) -> tuple[Floats, Floats]:
    return (np.zeros_like(s), 1 - 2 * s) if model.equal_asymptotes else (1 - s, -s)


def _bent(
    model: PsychometricModel, score: Floats, f: Floats, bend: Floats, t: Floats, scale: Floats, height: Floats
) -> Floats:
    """Minus the sum over rows of the answers' score times the second derivatives of ψ."""
    found = np.zeros((4, 4, score.shape[1]))
    steep, curved = score * f, score * bend
    steep_t, curved_t = steep * t, curved * t
    slope, slope_t = steep.sum(axis=0), steep_t.sum(axis=0)
    found[THRESHOLD, THRESHOLD] = -height * scale**2 * curved.sum(axis=0)
    found[THRESHOLD, WIDTH] = -height * scale * (curved_t.sum(axis=0) + slope)
    found[WIDTH, WIDTH] = -height * ((curved_t * t).sum(axis=0) + slope_t)
    for parameter in (LAPSE,) if model.equal_asymptotes else (GUESS, LAPSE):
        times = 2 if model.equal_asymptotes else 1
        found[THRESHOLD, parameter], found[WIDTH, parameter] = -times * scale * slope, -times * slope_t
    for one in range(4):
        for two in range(one):
            found[one, two] = found[two, one]
    return found


def _prior(model: PsychometricModel, at: Floats) -> tuple[Floats, Floats, Floats]:
    """Log density [B], its gradient [4, B] and minus its Hessian [4, 4, B]."""
    value, gradient, curvature = np.zeros(at.shape[1]), np.zeros_like(at), np.zeros((4, *at.shape))
    parts: list[tuple[int, Terms]] = []
    if model.levels is not None:
        parts += [(THRESHOLD, model.levels.threshold(at[THRESHOLD])), (WIDTH, model.levels.width(at[WIDTH]))]
    elif model.width_prior is not None:
        parts += [(WIDTH, normal_prior(at[WIDTH], np.log(model.width_prior[0]), model.width_prior[1]))]
    asymptotes = ((GUESS, model.free_guess), (LAPSE, model.lapse is None))
    parts += [(parameter, rate_prior(at[parameter], model.beta)) for parameter, free in asymptotes if free]
    for parameter, (density, slope, bend) in parts:
        value += density
        gradient[parameter], curvature[parameter, parameter] = slope, bend
    return value, gradient, curvature


def _step(place: Place, at: Floats, damping: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Newton's step [4, B], and how much the objective ought to gain by it, [B]."""
    held = ((at <= low) & (place.gradient < 0)) | ((at >= high) & (place.gradient > 0)) | (low == high)
    free = ~held
    gradient = np.where(held, 0.0, place.gradient)
    both = free[:, None] & free[None]
    plain, bent = place.outer * both, place.bent * both
    own = np.arange(4)
    plain[own, own] += damping * plain[own, own] + 1e-10 + held
    step, positive = _solved(plain + bent, gradient)
    if not positive.all():
        rest = np.flatnonzero(~positive)
        step[:, rest] = _solved(plain[..., rest], gradient[:, rest])[0]
    return step, (gradient * step).sum(axis=0)


def _solved(matrix: Floats, vector: Floats) -> tuple[Floats, Bools]:
    """Solutions [P, B] by elimination of all systems at once, and whether the matrices are positive definite."""
    left, right = matrix.copy(), vector.copy()
    size = len(right)
    positive = np.ones(right.shape[1], dtype=bool)
    for pivot in range(size):
        positive &= left[pivot, pivot] > LEAST_PIVOT
        left[pivot, pivot] = np.where(positive, left[pivot, pivot], 1.0)
        for row in range(pivot + 1, size):
            factor = left[row, pivot] / left[pivot, pivot]
            left[row, pivot + 1 :] -= factor * left[pivot, pivot + 1 :]
            right[row] -= factor * right[pivot]
    for row in reversed(range(size)):
        right[row] -= (left[row, row + 1 :] * right[row + 1 :]).sum(axis=0)
        right[row] /= left[row, row]
    return right, positive
