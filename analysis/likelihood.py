"""Penalised maximum likelihood for many binomial data sets at once: damped Fisher scoring over a batch.

Shapes: B data sets (bootstrap replicates, starts), L rows (cells of a data set), P parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy

Floats = NDArray[np.float64]
Curve = Callable[[Floats], tuple[Floats, Floats]]
"""Parameters [B, P] to P(yes) [B, L] and its derivatives [B, L, P]."""
Evaluate = Callable[[Floats, NDArray[np.intp]], tuple[Floats, Floats, Floats]]
"""Parameters [b, P] and the numbers [b] of their data sets to objective [b], gradient [b, P], information [b, P, P]."""
Prior = Callable[[Floats], tuple[Floats, Floats, Floats]]
"""Parameters [B, P] to log density [B], gradient [B, P] and minus the diagonal of the Hessian [B, P], not negative."""

TINY = 1e-12
MAX_STEP = 3.0
NO_GAIN = 1e-9
START_DAMPING, MORE_DAMPING, LESS_DAMPING, MOST_DAMPING = 1e-2, 8.0, 0.3, 1e10


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Where the batch ended: ``parameters`` [B, P], ``objective`` (log posterior) [B], ``converged`` [B]."""

    parameters: Floats
    objective: Floats
    converged: NDArray[np.bool_]


def log_likelihood(probability: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns the binomial log likelihood [B], without its constant, of ``hits`` in ``trials``, [B, L]."""
    p = np.clip(probability, TINY, 1 - TINY)
    total: Floats = (xlogy(hits, p) + xlog1py(trials - hits, -p)).sum(axis=-1)
    return total


def deviance(probability: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns twice the log likelihood lost against a model with one probability a row, [B]."""
    saturated = hits / np.maximum(trials, 1)
    return 2 * (log_likelihood(saturated, hits, trials) - log_likelihood(probability, hits, trials))


def maximise(
    curve: Curve,
    prior: Prior,
    start: Floats,
    hits: Floats,
    trials: Floats,
    low: Floats,
    high: Floats,
    *,
    steps: int = 200,
) -> Fit:
    """Returns the maximum a posteriori parameters of every data set, from one start each, inside the box [low, high].

    Args:
        curve: P(yes) of each row and its derivatives.
        prior: log prior density.
        start: [B, P].
        hits: answers "yes", [B, L].
        trials: [B, L]; rows without trials count for nothing.
        low: lower bounds, [P] or [B, P]; ``high`` the upper ones. A parameter whose bounds are equal stays there.
        high: see there.
        steps: limit on the iterations.
    """
    return climb(
        lambda theta, rows: _evaluate(curve, prior, theta, hits[rows], trials[rows]), start, low, high, steps=steps
    )


def climb(evaluate: Evaluate, start: Floats, low: Floats, high: Floats, *, steps: int = 200) -> Fit:
    """Returns where Fisher scoring ends, with Levenberg's damping for each data set on its own.

    A step that lowers the objective is refused and damped more. Data sets leave the batch as soon as they converged.

    Args:
        evaluate: parameters [b, P] of the data sets whose numbers are given to their objective [b], its gradient
            [b, P] and information [b, P, P] (positive semi-definite).
        start: [B, P].
        low: lower bounds, [P] or [B, P]; ``high`` the upper ones.
        high: see there.
        steps: limit on the iterations.
    """
    low, high = np.broadcast_to(low, start.shape), np.broadcast_to(high, start.shape)
    theta = np.clip(start, low, high)
    active = np.arange(len(theta))
    objective, gradient, information = evaluate(theta, active)
    damping = np.full(len(theta), START_DAMPING)
    converged = np.zeros(len(theta), dtype=bool)
    for _ in range(steps):
        trial = _step(theta[active], gradient[active], information[active], damping[active], low[active], high[active])
        value, slope, curvature = evaluate(trial, active)
        gain = value - objective[active]
        better = gain >= 0
        accepted = active[better]
        theta[accepted], objective[accepted] = trial[better], value[better]
        gradient[accepted], information[accepted] = slope[better], curvature[better]
        damping[active] = np.where(better, damping[active] * LESS_DAMPING, damping[active] * MORE_DAMPING)
        done = (better & (gain < NO_GAIN) & (damping[active] < 1)) | (damping[active] > MOST_DAMPING)
        converged[active[done]] = True
        active = active[~done]
        if not len(active):
            break
    return Fit(parameters=theta, objective=objective, converged=converged)


def best_of(fits: list[Fit]) -> Fit:
    """Returns, for each data set, the fit with the highest objective among fits from several starts."""
    objective = np.stack([fit.objective for fit in fits])
    choice = objective.argmax(axis=0)
    rows = np.arange(objective.shape[1])
    return Fit(
        parameters=np.stack([fit.parameters for fit in fits])[choice, rows],
        objective=objective[choice, rows],
        converged=np.stack([fit.converged for fit in fits])[choice, rows],
    )


def _evaluate(curve: Curve, prior: Prior, theta: Floats, hits: Floats, trials: Floats) -> tuple[Floats, Floats, Floats]:
    probability, jacobian = curve(theta)
    p = np.clip(probability, TINY, 1 - TINY)
    spread = p * (1 - p)
    density, prior_gradient, prior_curvature = prior(theta)
    gradient = np.einsum("bl,blp->bp", (hits - trials * p) / spread, jacobian) + prior_gradient
    information = np.einsum("blp,blq->bpq", jacobian * (trials / spread)[..., None], jacobian)
    diagonal = np.arange(theta.shape[1])
    information[:, diagonal, diagonal] += prior_curvature
    return log_likelihood(p, hits, trials) + density, gradient, information


def _step(theta: Floats, gradient: Floats, information: Floats, damping: Floats, low: Floats, high: Floats) -> Floats:
    diagonal = np.arange(theta.shape[1])
    held = _held(theta, gradient, low, high)
    free = ~held
    matrix = information * (free[:, :, None] & free[:, None, :])
    matrix[:, diagonal, diagonal] += damping[:, None] * matrix[:, diagonal, diagonal] + 1e-10 + held
    step = np.clip(solve(matrix, np.where(held, 0.0, gradient)), -MAX_STEP, MAX_STEP)
    moved: Floats = np.clip(theta + step, low, high)
    return moved


def solve(matrix: Floats, vector: Floats) -> Floats:
    """Returns the solutions [B, P] of many small positive definite systems, matrix [B, P, P] and vector [B, P].

    Elimination without pivots, all systems at once: for few parameters many times as fast as a call per system.
    """
    left, right = matrix.transpose(1, 2, 0).copy(), vector.T.copy()
    size = len(right)
    for pivot in range(size):
        for row in range(pivot + 1, size):
            factor = left[row, pivot] / left[pivot, pivot]
            left[row, pivot + 1 :] -= factor * left[pivot, pivot + 1 :]
            right[row] -= factor * right[pivot]
    for row in reversed(range(size)):
        right[row] -= (left[row, row + 1 :] * right[row + 1 :]).sum(axis=0)
        right[row] /= left[row, row]
    return right.T


def _held(theta: Floats, gradient: Floats, low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Parameters at a bound that the gradient pushes outwards: they stay, so as not to spoil the others' step."""
    held: NDArray[np.bool_] = ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0))
    return held
