"""Binomial mixed models by maximum likelihood (Laplace): ``fit`` for any design, ``maximise`` for any fixed part.

Covariates are centred and scaled inside and everything is given back in the units that came in: on the raw scale the
correlation of random slopes and intercepts easily ends at −1. Standard errors come from the observed information over
all parameters, fixed and random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import block_diag
from scipy.special import gammaln

from analysis.likelihood import Floats
from analysis.mixed_models.climbing import SINGULAR, Limits, Moving, Objective, Predictor, Prior, climb
from analysis.mixed_models.elimination import Block, Layout, triangles
from analysis.mixed_models.laplace import Mode
from analysis.mixed_models.links import Link

START_SD = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Random:
    """A random term: every group has its own effects of ``design`` [N, q] (none given: of the constant 1).

    ``eliminated``: at most one term, the one with most effects: the fit takes a time that grows with the third power
    of the number of effects of all others.
    """

    name: str
    group: ArrayLike
    design: Floats | None = None
    eliminated: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """How groups differ: ``sd`` [q] and ``covariance`` [q, q] of their effects; ``modes`` [G, q] are each group's.

    ``scale`` [q, q] leads from the scaled design, to which θ belongs, to the given one.
    """

    name: str
    groups: int
    sd: Floats
    covariance: Floats
    modes: Floats
    scale: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class MixedFit:
    """The fitted model.

    Attributes:
        coefficients: fixed parameters, [P], with their ``covariance`` [P, P].
        theta: entries of the random terms' triangles, in units of the scaled designs, [T].
        joint_covariance: of θ and the coefficients, [T + P, T + P]; 0 where a parameter is at its bound.
        log_likelihood: Laplace's approximation, binomial coefficients included, priors not.
        converged: outer and inner iterations ended, with the gradient at 0.
        singular: a standard deviation of random effects is 0 or a correlation ±1: the data do not tell it.
        separated: the likelihood has no maximum in some direction (complete separation): trust no estimate.
        largest_gradient: in units of standard errors.
    """

    link: Link
    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    theta: Floats
    joint_covariance: Floats
    random: tuple[Spread, ...]
    log_likelihood: float
    converged: bool
    singular: bool
    separated: bool
    largest_gradient: float
    rows: int

    @property
    def standard_errors(self) -> Floats:
        """Of the coefficients, [P]; NaN where the search ended at no maximum."""
        variances = np.diag(self.covariance)
        errors: Floats = np.sqrt(np.where(variances < 0, np.nan, variances))
        return errors

    def covariances(self, theta: Floats) -> list[Floats]:
        """Returns the covariances of the random terms' effects that other θ would give, [q, q] each."""
        found, offset = [], 0
        for spread in self.random:
            rows, columns = np.tril_indices(len(spread.sd))
            triangle = np.zeros_like(spread.covariance)
            triangle[rows, columns] = theta[offset : offset + len(rows)]
            root = spread.scale @ triangle
            found.append(root @ root.T)
            offset += len(rows)
        return found


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
    whole = block_diag(np.eye(len(found.theta)), back)
    return replace(
        found,
        names=tuple(names) or tuple(f"x{index}" for index in range(design.shape[1])),
        coefficients=back @ found.coefficients,
        covariance=back @ found.covariance @ back.T,
        joint_covariance=whole @ found.joint_covariance @ whole.T,
    )


def maximise(
    layout: Layout,
    predictor: Predictor,
    start: Floats,
    *,
    random: Sequence[Random],
    unscale: Sequence[Floats],
    names: Sequence[str] = (),
    bounds: Limits | None = None,
    lapse: float | None = 0.0,
    prior: Prior | None = None,
    moving: Moving | None = None,
    near: MixedFit | None = None,
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
        lapse: λ, held (probit only); ``None``: it is estimated, as the last of the fixed parameters.
        prior: of the fixed parameters, for those that the data may not tell.
        moving: a random slope whose covariate depends on the fixed parameters.
        near: the same model of a part of the data, to start from.
    """
    theta, limits = _theta_start(layout)
    limits += list(bounds) if bounds is not None else [(None, None)] * len(start)
    sizes, guess = len(theta), None
    if near is not None:
        known = np.diag(near.joint_covariance) > 0
        theta, start = np.where(known[:sizes], near.theta, theta), near.coefficients
        guess = near.joint_covariance * near.rows / len(layout.yes) if known.all() else None
    objective = Objective(layout=layout, predictor=predictor, sizes=sizes, lapse=lapse, prior=prior, moving=moving)
    top = climb(objective, np.concatenate([theta, start]), limits, guess)
    return MixedFit(
        link=layout.link,
        names=tuple(names) or tuple(f"x{index}" for index in range(len(start))),
        coefficients=top.position[sizes:],
        covariance=top.covariance[sizes:, sizes:],
        theta=top.position[:sizes],
        joint_covariance=top.covariance,
        random=_spreads(layout, top.position[:sizes], top.mode, random, unscale),
        log_likelihood=top.mode.value + _coefficients(layout),
        converged=not top.failed,
        singular=_singular(layout, top.position[:sizes]),
        separated=top.separated,
        largest_gradient=top.left,
        rows=len(layout.yes),
    )


def make_layout(link: Link, yes: Floats, trials: Floats, random: Sequence[Random]) -> tuple[Layout, list[Floats]]:
    """Returns the data with scaled random designs, and for each term (kept ones first) how to scale effects back.

    Raises:
        ValueError: more than one term is to be eliminated.
    """
    kept, alone = [term for term in random if not term.eliminated], [term for term in random if term.eliminated]
    if len(alone) > 1:
        raise ValueError("expected at most one eliminated term, the one with most effects; keep the others")
    blocks, unscale = [], []
    for term in (*kept, *alone):
        design = np.ones((len(yes), 1)) if term.design is None else np.asarray(term.design, dtype=float)
        back = _centring(design)
        _, group = np.unique(np.asarray(term.group), return_inverse=True)
        blocks.append(Block(group=group.astype(np.int64), design=design @ back, groups=int(group.max()) + 1))
        unscale.append(back)
    last = blocks.pop() if alone else None
    layout = Layout(link=link, yes=np.asarray(yes, dtype=float), trials=np.asarray(trials, dtype=float),
                    blocks=tuple(blocks), eliminated=last)  # fmt: skip
    return layout, unscale


def _theta_start(layout: Layout) -> tuple[Floats, list[tuple[float | None, float | None]]]:
    values: list[float] = []
    limits: list[tuple[float | None, float | None]] = []
    for block in layout.all_blocks:
        for row, column in zip(*np.tril_indices(block.width), strict=True):
            values.append(START_SD if row == column else 0.0)
            limits.append((0.0, None) if row == column else (None, None))
    return np.array(values), limits


def _spreads(
    layout: Layout, theta: Floats, mode: Mode, random: Sequence[Random], unscale: Sequence[Floats]
) -> tuple[Spread, ...]:
    names = [term.name for term in random if not term.eliminated] + [term.name for term in random if term.eliminated]
    found, offset = [], 0
    for name, block, triangle, back in zip(names, layout.all_blocks, triangles(layout, theta), unscale, strict=True):
        size = block.groups * block.width
        own = block is layout.eliminated
        spherical = mode.eliminated if own else mode.kept[offset : offset + size]
        offset += 0 if own else size
        root = back @ triangle
        covariance = root @ root.T
        found.append(
            Spread(name=name, groups=block.groups, sd=np.sqrt(np.diag(covariance)), covariance=covariance,
                   modes=spherical.reshape(block.groups, block.width) @ root.T, scale=back)
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
