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

    Fisher scoring with Levenberg's damping for each data set on its own; a step that lowers the objective is refused
    and damped more. Data sets leave the batch as soon as they have converged.

    Args:
        curve: P(yes) of each row and its derivatives.
        prior: log prior density.
        start: [B, P].
        hits: answers "yes", [B, L].
        trials: [B, L]; rows without trials count for nothing.
        low: [P] lower bounds; ``high`` the upper ones.
        high: [P].
        steps: limit on the iterations.
    """
    theta = np.clip(start, low, high)
    objective = _objective(curve, prior, theta, hits, trials)
    damping = np.full(len(theta), START_DAMPING)
    active = np.arange(len(theta))
    converged = np.zeros(len(theta), dtype=bool)
    for _ in range(steps):
        trial = _step(curve, prior, theta[active], hits[active], trials[active], damping[active], low, high)
        value = _objective(curve, prior, trial, hits[active], trials[active])
        gain = value - objective[active]
        better = gain >= 0
        accepted = active[better]
        theta[accepted], objective[accepted] = trial[better], value[better]
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


def _objective(curve: Curve, prior: Prior, theta: Floats, hits: Floats, trials: Floats) -> Floats:
    return log_likelihood(curve(theta)[0], hits, trials) + prior(theta)[0]


def _step(
    curve: Curve, prior: Prior, theta: Floats, hits: Floats, trials: Floats, damping: Floats, low: Floats, high: Floats
) -> Floats:
    probability, jacobian = curve(theta)
    p = np.clip(probability, TINY, 1 - TINY)
    spread = p * (1 - p)
    _, prior_gradient, prior_curvature = prior(theta)
    gradient = np.einsum("bl,blp->bp", (hits - trials * p) / spread, jacobian) + prior_gradient
    weighted = jacobian * (trials / spread)[..., None]
    information = np.einsum("blp,blq->bpq", weighted, jacobian)
    diagonal = np.arange(theta.shape[1])
    information[:, diagonal, diagonal] += prior_curvature
    held = _held(theta, gradient, low, high)
    gradient = np.where(held, 0.0, gradient)
    free = ~held
    information *= free[:, :, None] & free[:, None, :]
    scale = information[:, diagonal, diagonal]
    information[:, diagonal, diagonal] += damping[:, None] * scale + 1e-10 + held
    step = np.clip(np.linalg.solve(information, gradient[..., None])[..., 0], -MAX_STEP, MAX_STEP)
    moved: Floats = np.clip(theta + step, low, high)
    return moved


def _held(theta: Floats, gradient: Floats, low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Parameters at a bound that the gradient pushes outwards: they stay, so as not to spoil the others' step."""
    held: NDArray[np.bool_] = ((theta <= low) & (gradient < 0)) | ((theta >= high) & (gradient > 0))
    return held
