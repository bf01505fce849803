"""Binomial mixed models by maximum likelihood (Laplace): ``fit`` for any design, ``maximise`` for any fixed part.

Covariates are centred and scaled inside and everything is given back in the units that came in: on the raw scale the
correlation of random slopes and intercepts easily ends at −1. Standard errors come from the observed information over
all parameters, fixed and random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import gammaln

from analysis.likelihood import Floats
from analysis.mixed_models.laplace import Block, Layout, Mode, find_mode, gradient, triangles
from analysis.mixed_models.links import Link

SINGULAR = 1e-4  # a standard deviation below this share of the link's scale counts as zero
GRADIENT_LIMIT = 1e-3  # what is left of the gradient, in units of standard errors
HESSIAN_STEP = 1e-4
START_SD = 0.5
Predictor = Callable[[Floats], tuple[Floats, Floats]]
"""Fixed parameters [P] to the fixed part of η [N] and its derivatives [N, P]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Random:
    """A random term: every group has its own effects of ``design`` [N, q] (none given: of the constant 1).

    ``eliminated``: at most one term, with a scalar effect; the one with most groups, as a rule the pictures.
    """

    name: str
    group: ArrayLike
    design: Floats | None = None
    eliminated: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """How groups differ: ``sd`` [q] and ``covariance`` [q, q] of their effects; ``modes`` [G, q] are each group's."""

    name: str
    groups: int
    sd: Floats
    covariance: Floats
    modes: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedFit:
    """The fitted model.

    Attributes:
        coefficients: fixed parameters, [P], with their ``covariance`` [P, P].
        log_likelihood: Laplace's approximation, binomial coefficients included.
        converged: outer and inner iterations ended, with the gradient at 0.
        singular: a standard deviation of random effects is 0 or a correlation ±1: the data do not tell it.
        largest_gradient: in units of standard errors.
    """

    link: Link
    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    random: tuple[Spread, ...]
    log_likelihood: float
    converged: bool
    singular: bool
    largest_gradient: float
    rows: int
    mode: Mode = field(repr=False)

    @property
    def standard_errors(self) -> Floats:
        """Of the coefficients, [P]."""
        errors: Floats = np.sqrt(np.diag(self.covariance))
        return errors


def fit(
    design: Floats,
    yes: Floats,
    trials: Floats,
    random: Sequence[Random],
    *,
    link: Link = "logit",
    names: Sequence[str] = (),
) -> MixedFit:
    """Returns the model link⁻¹(X β + random terms) of ``yes`` in ``trials``.

    Args:
        design: X, [N, P].
        yes: [N].
        trials: [N].
        random: random terms.
        link: logit or probit.
        names: of the columns of X.

    Raises:
        ValueError: shapes that differ, more yes than trials, X of less than full rank, or a term that cannot be
            eliminated.
    """
    _check(design, yes, trials)
    back = _centring(design)
    scaled = design @ back
    layout, unscale = make_layout(link, yes, trials, random)
    start = np.linalg.lstsq(scaled, _rough(link, yes, trials), rcond=None)[0].astype(float)
    found = maximise(layout, lambda beta: (scaled @ beta, scaled), start, random=random, unscale=unscale)
    return MixedFit(
        **{
            **vars(found),
            "names": tuple(names) or tuple(f"x{index}" for index in range(design.shape[1])),
            "coefficients": back @ found.coefficients,
            "covariance": back @ found.covariance @ back.T,
        }
    )


def maximise(
    layout: Layout,
    predictor: Predictor,
    start: Floats,
    *,
    random: Sequence[Random],
    unscale: Sequence[Floats],
    names: Sequence[str] = (),
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
) -> MixedFit:
    """Returns the model with any differentiable fixed part.

    Args:
        layout: data and random terms, with ``unscale`` as ``make_layout`` returns them.
        predictor: the fixed part.
        start: of the fixed parameters.
        random: the terms as given, for their names.
        unscale: from scaled to given designs.
        names: of the fixed parameters.
        bounds: of the fixed parameters.
    """
    objective = _Objective(layout, predictor, len(start))
    theta, limits = _theta_start(layout)
    limits += list(bounds) if bounds is not None else [(None, None)] * len(start)
    found = minimize(
        objective, np.concatenate([theta, start]), jac=True, method="L-BFGS-B", bounds=limits,
        options={"maxiter": 500, "ftol": 1e-14, "gtol": 1e-6, "maxcor": 30},
    )  # fmt: skip
    position, covariance, left = _polish(objective, found.x, limits)
    sizes, mode = len(theta), objective.mode(position)
    spreads = _spreads(layout, position[:sizes], mode, random, unscale)
    return MixedFit(
        link=layout.link,
        names=tuple(names) or tuple(f"x{index}" for index in range(len(start))),
        coefficients=position[sizes:],
        covariance=covariance[sizes:, sizes:],
        random=spreads,
        log_likelihood=mode.value + _coefficients(layout),
        converged=bool(mode.converged and left < GRADIENT_LIMIT),
        singular=_singular(layout, position[:sizes]),
        largest_gradient=left,
        rows=len(layout.yes),
        mode=mode,
    )


def make_layout(
    link: Link, yes: Floats, trials: Floats, random: Sequence[Random], lapse: float = 0.0
) -> tuple[Layout, list[Floats]]:
    """Returns the data with scaled random designs, and for each term (kept ones first) how to scale effects back.

    Raises:
        ValueError: more than one term is to be eliminated, or one that is not scalar.
    """
    kept, alone = [term for term in random if not term.eliminated], [term for term in random if term.eliminated]
    if len(alone) > 1 or any(term.design is not None and term.design.shape[1] > 1 for term in alone):
        raise ValueError("expected at most one eliminated term, with one effect a group; keep the others")
    blocks, unscale = [], []
    for term in (*kept, *alone):
        design = np.ones((len(yes), 1)) if term.design is None else np.asarray(term.design, dtype=float)
        back = _centring(design)
        _, group = np.unique(np.asarray(term.group), return_inverse=True)
        blocks.append(Block(group=group.astype(np.int64), design=design @ back, groups=int(group.max()) + 1))
        unscale.append(back)
    last = blocks.pop() if alone else None
    layout = Layout(link=link, yes=np.asarray(yes, dtype=float), trials=np.asarray(trials, dtype=float),
                    blocks=tuple(blocks), eliminated=last, lapse=lapse)  # fmt: skip
    return layout, unscale


class _Objective:
    """Minus the marginal log likelihood and its gradient; remembers û, from which the next search starts."""

    def __init__(self, layout: Layout, predictor: Predictor, fixed: int) -> None:
        self.layout, self.predictor, self.fixed = layout, predictor, fixed
        self.start: tuple[Floats, Floats] | None = None

    def mode(self, position: Floats) -> Mode:
        eta, _ = self.predictor(position[len(position) - self.fixed :])
        mode = find_mode(self.layout, eta, position[: len(position) - self.fixed], self.start)
        self.start = mode.kept, mode.eliminated
        return mode

    def __call__(self, position: Floats) -> tuple[float, Floats]:
        mode = self.mode(position)
        jacobian = self.predictor(position[len(position) - self.fixed :])[1]
        direct, of_theta = gradient(self.layout, mode)
        return -mode.value, -np.concatenate([of_theta, jacobian.T @ direct])


def _theta_start(layout: Layout) -> tuple[Floats, list[tuple[float | None, float | None]]]:
    values: list[float] = []
    limits: list[tuple[float | None, float | None]] = []
    for block in (*layout.blocks, *([] if layout.eliminated is None else [layout.eliminated])):
        for row, column in zip(*np.tril_indices(block.width), strict=True):
            values.append(START_SD if row == column else 0.0)
            limits.append((0.0, None) if row == column else (None, None))
    return np.array(values), limits


def _polish(
    objective: _Objective, position: Floats, limits: list[tuple[float | None, float | None]]
) -> tuple[Floats, Floats, float]:
    """Newton steps on the free parameters; returns where they end, the covariance and what is left of the gradient."""
    for _ in range(4):
        value, slope = objective(position)
        free = np.array([not _at_bound(x, limit) for x, limit in zip(position, limits, strict=True)])
        covariance = np.zeros((len(position), len(position)))
        information = _information(objective, position, free)
        covariance[np.ix_(free, free)] = np.linalg.pinv(information, hermitian=True)
        errors = np.sqrt(np.maximum(np.diag(covariance), 0))
        left = float(np.abs(slope * errors)[free].max(initial=0.0))
        if left < GRADIENT_LIMIT / 100:
            break
        moved = position - covariance @ slope
        low = np.array([-np.inf if a is None else a for a, _ in limits])
        high = np.array([np.inf if b is None else b for _, b in limits])
        moved = np.clip(moved, low, high)
        if objective(moved)[0] > value:
            break
        position = moved
    return position, covariance, left


def _at_bound(value: float, limit: tuple[float | None, float | None]) -> bool:
    low, high = limit
    return (low is not None and value - low < SINGULAR) or (high is not None and high - value < SINGULAR)


def _information(objective: _Objective, position: Floats, free: np.ndarray) -> Floats:
    index = np.flatnonzero(free)
    rows = []
    for k in index:
        step = np.zeros_like(position)
        step[k] = HESSIAN_STEP
        rows.append((objective(position + step)[1] - objective(position - step)[1])[index] / (2 * HESSIAN_STEP))
    matrix = np.array(rows)
    information: Floats = (matrix + matrix.T) / 2
    return information


def _spreads(
    layout: Layout, theta: Floats, mode: Mode, random: Sequence[Random], unscale: Sequence[Floats]
) -> tuple[Spread, ...]:
    names = [term.name for term in random if not term.eliminated] + [term.name for term in random if term.eliminated]
    blocks = [*layout.blocks, *([] if layout.eliminated is None else [layout.eliminated])]
    found, offset = [], 0
    for name, block, triangle, back in zip(names, blocks, triangles(layout, theta), unscale, strict=True):
        size = block.groups * block.width
        own = block is layout.eliminated
        spherical = mode.eliminated if own else mode.kept[offset : offset + size]
        offset += 0 if own else size
        root = back @ triangle
        covariance = root @ root.T
        found.append(
            Spread(name=name, groups=block.groups, sd=np.sqrt(np.diag(covariance)), covariance=covariance,
                   modes=spherical.reshape(block.groups, block.width) @ root.T)
        )  # fmt: skip
    return tuple(found)


def _singular(layout: Layout, theta: Floats) -> bool:
    return any(float(np.abs(np.diag(triangle)).min()) < SINGULAR for triangle in triangles(layout, theta))


def _coefficients(layout: Layout) -> float:
    n, k = layout.trials, layout.yes
    return float((gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)).sum())


def _rough(link: Link, yes: Floats, trials: Floats) -> Floats:
    logit: Floats = np.log((yes + 0.5) / (trials - yes + 0.5))
    return logit if link == "logit" else logit / 1.7


def _centring(design: Floats) -> Floats:
    """The matrix B for which X B has columns of mean 0 (where X has a constant column) and standard deviation 1."""
    spread = design.std(axis=0)
    constant = spread == 0
    back = np.diag(np.where(constant, 1.0, 1 / np.where(constant, 1.0, spread)))
    ones = np.flatnonzero(constant & (design[0] != 0))
    if len(ones):
        back[ones[0]] -= (
            np.where(constant, 0.0, design.mean(axis=0) / np.where(constant, 1.0, spread)) / design[0, ones[0]]
        )
    return back


def _check(design: Floats, yes: Floats, trials: Floats) -> None:
    if design.ndim != 2 or yes.shape != trials.shape or len(design) != len(yes):
        raise ValueError(f"expected X [N, P] and counts [N], got {design.shape}, {yes.shape} and {trials.shape}")
    if (yes > trials).any() or (yes < 0).any():
        raise ValueError("expected 0 <= yes <= trials in every row; check which column holds what")
    rank = np.linalg.matrix_rank(design)
    if rank < design.shape[1]:
        raise ValueError(f"expected columns of X that do not follow from each other, got rank {rank}; leave some out")
