"""The search for the parameters of a mixed model: quasi-Newton first, then Newton steps with the whole information."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize

from analysis.likelihood import Floats
from analysis.mixed_models.elimination import Layout, triangles
from analysis.mixed_models.laplace import Mode, find_mode, gradient

SINGULAR = 1e-4  # a standard deviation below this share of the link's scale counts as zero
GRADIENT_LIMIT = 1e-3  # what is left of the gradient, in units of standard errors
HESSIAN_STEP = 1e-4
NEAR = 0.05  # standard errors that the position may move before the information is computed again
LEAST_INFORMATION = 1e-4  # a direction with less is not told by the data: complete separation
LIFT = 0.03  # a spread to try where one of 0 was found
LEVEL, ANOTHER = 1e-7, 1e-3  # differences of log likelihoods: none but rounding, and that of another mode
PAIR = 2  # effects
MOST_ROUNDS, MOST_CHORDS = 5, 10
Predictor = Callable[[Floats], tuple[Floats, Floats]]
"""Fixed parameters [P] to the fixed part of η [N] and its derivatives [N, P]."""
Prior = Callable[[Floats], tuple[float, Floats]]
"""Fixed parameters, λ last where it is free, to their log prior density and its gradient."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moving:
    """A random slope on what the fixed parameters say, as in (1 + a_i) d(ε; β).

    Attributes:
        place: of its block in ``Layout.all_blocks``; its design is [1, covariate] ``scale``.
        covariate: fixed parameters, with what ``Predictor`` makes of them, to the covariate [N] and its derivatives
            [N, P].
    """

    place: int
    scale: Floats
    covariate: Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]

    def design(self, covariate: Floats) -> Floats:
        """Returns the block's design, [N, 2]."""
        return np.stack([np.ones_like(covariate), covariate], axis=1) @ self.scale


Limits = Sequence[tuple[float | None, float | None]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Summit:
    """Where the search ended.

    Attributes:
        position: θ, then the fixed parameters (and λ), [T + P], with their ``covariance``; 0 where at a bound.
        left: the largest gradient left, in units of standard errors.
        least: the smallest eigenvalue of the information: near 0 where some direction is not told by the data, below
            it where there is no maximum.
    """

    position: Floats
    covariance: Floats
    left: float
    least: float
    mode: Mode

    @property
    def separated(self) -> bool:
        """Whether some direction is not told by the data."""
        return abs(self.least) < LEAST_INFORMATION

    @property
    def failed(self) -> bool:
        """Whether the search ended at no maximum."""
        return self.least < LEAST_INFORMATION or self.left >= GRADIENT_LIMIT or not self.mode.converged


@dataclass(kw_only=True, eq=False)
class Objective:
    """Minus the marginal log likelihood and its gradient; remembers û, from which the next search starts.

    Attributes:
        sizes: T, the number of parameters θ, which come first.
        lapse: λ; ``None``: it is the last parameter.
        warm: whether û is searched from the last one on, or from 0.
    """

    layout: Layout
    predictor: Predictor
    sizes: int
    lapse: float | None
    prior: Prior | None
    moving: Moving | None
    warm: bool = True
    start: tuple[Floats, Floats] | None = None

    @property
    def diagonal(self) -> NDArray[np.bool_]:
        """Which θ are on the diagonal of their triangle: these are not negative, and symmetric about 0."""
        parts = [row == column for block in self.layout.all_blocks
                 for row, column in zip(*np.tril_indices(block.width), strict=True)]  # fmt: skip
        return np.array(parts, dtype=bool)

    def mode(self, position: Floats) -> tuple[Mode, Layout, Floats, Floats | None]:
        """Returns the mode, the layout to which it belongs, and the derivatives of the fixed part and covariate."""
        fixed = position[self.sizes :]
        beta, lapse = (fixed[:-1], float(fixed[-1])) if self.lapse is None else (fixed, self.lapse)
        eta, jacobian = self.predictor(beta)
        layout, slopes = self.layout, None
        if self.moving is not None:
            covariate, slopes = self.moving.covariate(beta, eta, jacobian)
            layout = layout.with_design(self.moving.place, self.moving.design(covariate))
        mode = find_mode(layout, eta, position[: self.sizes], self.start if self.warm else None, lapse)
        self.start = mode.kept, mode.eliminated
        return mode, layout, jacobian, slopes

    def __call__(self, position: Floats) -> tuple[float, Floats]:
        """Returns minus the log likelihood (and prior) and its gradient."""
        mode, layout, jacobian, slopes = self.mode(position)
        found = gradient(layout, mode)
        over_beta = jacobian.T @ found.fixed
        if self.moving is not None and slopes is not None:
            place, triangle = self.moving.place, triangles(layout, position[: self.sizes])[self.moving.place]
            over_beta += slopes.T @ (found.loadings[place] @ (self.moving.scale[1] @ triangle))
        slope = np.concatenate([found.theta, over_beta, [found.lapse] if self.lapse is None else []])
        value = mode.value
        if self.prior is not None:
            density, pull = self.prior(position[self.sizes :])
            value, slope[self.sizes :] = value + density, slope[self.sizes :] + pull
        return -value, -slope


def climb(objective: Objective, start: Floats, limits: Limits, guess: Floats | None) -> Summit:
    """Returns the maximum nearest to a start; ``guess``: the covariance of the parameters, if it is known about.

    With lapses a group's effects can have two modes, and a search that goes on from the last one stay at the lower:
    then it is done again, each mode from 0.
    """
    low, high = _ends(limits)
    top = _climb(objective, start, low, high, guess)
    objective.warm = False
    if top.failed or objective.mode(top.position)[0].value > top.mode.value + ANOTHER:
        top = _climb(objective, start, low, high, None)
    return top


def _climb(objective: Objective, start: Floats, low: Floats, high: Floats, guess: Floats | None) -> Summit:
    if guess is not None:
        value, slope = objective(start)
        position, slope = _chords(objective, start, value, slope, guess, low, high, NEAR)
        if _left(slope, guess) < 1:
            return _polish(objective, position, low, high)
    begin = start
    for _ in range(MOST_ROUNDS):
        found = minimize(objective, begin, jac=True, method="L-BFGS-B", bounds=Bounds(low, high),
                         options={"maxiter": 500, "maxcor": 30, "ftol": 1e-10, "gtol": 1e-4})  # fmt: skip
        lifted = _lifted(objective, found.x, float(found.fun))
        if lifted is None:
            break
        begin = lifted
    return _polish(objective, _settled(objective, found.x, float(found.fun)), low, high)


def _chords(
    objective: Objective,
    position: Floats,
    value: float,
    slope: Floats,
    covariance: Floats,
    low: Floats,
    high: Floats,
    least: float,
) -> tuple[Floats, Floats]:
    """Newton steps with one covariance, until the gradient is below ``least`` standard errors or a step fails."""
    for _ in range(MOST_CHORDS):
        if _left(slope, covariance) < least:
            break
        moved = np.clip(position - covariance @ slope, low, high)
        there, turned = objective(moved)
        if there > value:
            break
        position, value, slope = moved, there, turned
    return position, slope


def _left(slope: Floats, covariance: Floats) -> float:
    """The largest gradient in units of standard errors, of parameters that are not at a bound."""
    return float(np.abs(slope * np.sqrt(np.maximum(np.diag(covariance), 0))).max(initial=0.0))


def _ends(limits: Limits) -> tuple[Floats, Floats]:
    low = np.array([-np.inf if end is None else end for end, _ in limits])
    return low, np.array([np.inf if end is None else end for _, end in limits])


def _settled(objective: Objective, position: Floats, value: float) -> Floats:
    """Spreads next to 0 put at 0 where that is no worse: there the likelihood is flat, and Newton's steps go astray."""
    for k in np.flatnonzero(objective.diagonal & (position[: objective.sizes] < LIFT)):
        there = position.copy()
        there[k] = 0.0
        there = _turned(objective, there)
        if objective(there)[0] <= value + LEVEL:
            position = there
    return position


def _turned(objective: Objective, position: Floats) -> Floats:
    """The same covariances with one parameter for what is left of two effects if the first has no spread.

    [[0, 0], [s, t]] and [[0, 0], [√(s² + t²), 0]] say the same; in the first, s and t are not told apart.
    """
    found, offset = position.copy(), 0
    for block in objective.layout.all_blocks:
        if block.width == PAIR and found[offset] < SINGULAR:
            found[offset : offset + 3] = 0.0, np.hypot(*found[offset + 1 : offset + 3]), 0.0
        offset += block.width * (block.width + 1) // 2
    return found


def _lifted(objective: Objective, position: Floats, value: float) -> Floats | None:
    """A better place with a spread that is not 0, where the search ended at 0: there the slope is 0 for certain."""
    for k in np.flatnonzero(objective.diagonal & (position[: objective.sizes] < SINGULAR)):
        there = position.copy()
        there[k] = LIFT
        if objective(there)[0] < value:
            return there
    return None


def _polish(objective: Objective, position: Floats, low: Floats, high: Floats) -> Summit:
    """Newton steps on the free parameters, the information computed again until the last moves were short."""
    for _ in range(MOST_ROUNDS):
        value, slope = objective(position)
        free = (position - low >= SINGULAR) & (high - position >= SINGULAR)
        information = _information(objective, position, low, high)[np.ix_(free, free)]
        covariance = np.zeros((len(position), len(position)))
        covariance[np.ix_(free, free)] = np.linalg.pinv(information, hermitian=True)
        began = position
        position, slope = _chords(objective, position, value, slope, covariance, low, high, GRADIENT_LIMIT / 100)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0))
        far = np.abs(position - began)[free] / np.maximum(errors[free], 1e-300)
        if far.max(initial=0.0) < NEAR:
            break
    least = float(np.linalg.eigvalsh(information).min(initial=np.inf))
    return Summit(position=position, covariance=covariance, left=_left(slope, covariance), least=least,
                  mode=objective.mode(position)[0])  # fmt: skip


def _information(objective: Objective, position: Floats, low: Floats, high: Floats) -> Floats:
    """Minus the second derivatives, by central differences of the gradient; 0 for parameters at a bound."""
    room = np.minimum(position - low, high - position)
    matrix = np.zeros((len(position), len(position)))
    for k in np.flatnonzero(room >= SINGULAR):
        step = np.zeros_like(position)
        step[k] = min(HESSIAN_STEP, room[k] / 2)
        matrix[k] = (objective(position + step)[1] - objective(position - step)[1]) / (2 * step[k])
    information: Floats = (matrix + matrix.T) / 2
    return information
