"""The marginal likelihood of a mixed model by Laplace's approximation, with its gradient.

Spherical random effects u with M = Z Λ(θ): l = h(û) − ½ ln |A|, h(u) = ln p(y | η) − ½ u'u, A = I + M'WM with Fisher
weights W (Bates et al. 2015, Journal of Statistical Software 67(1), extended to links by penalised iteratively
reweighted least squares; the weights are those of lme4). One factor, as a rule the pictures, has a scalar effect, so
that its block D of A is diagonal: it is eliminated and the rest is the Schur complement S = A_rr − C D⁻¹ C', of the
size of the participants' block. Cost: rows + R³, whatever the number of pictures.

û is found to |Δu| < 1e-9 with step halving; the gradient takes into account that û moves with the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lu_factor, lu_solve

from analysis.likelihood import Floats
from analysis.mixed_models.links import Link, Terms, terms

TOLERANCE, MOST_STEPS, MOST_HALVINGS = 1e-9, 200, 30
ROUNDING = 1e-12  # share of h(u) by which a step may fall short for no other reason than rounding
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """One random term: ``design`` [N, q] times effects of ``group`` [N] (0..G − 1)."""

    group: Ints
    design: Floats
    groups: int

    @property
    def width(self) -> int:
        """q: effects a group."""
        return int(self.design.shape[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The data of a model: ``blocks`` stay in the Schur complement, ``eliminated`` (if any) is scalar.

    ``lapse`` is a known share of random answers (probit only).
    """

    link: Link
    yes: Floats
    trials: Floats
    blocks: tuple[Block, ...]
    eliminated: Block | None
    lapse: float = 0.0

    @property
    def kept(self) -> int:
        """R: effects in the Schur complement."""
        return sum(block.groups * block.width for block in self.blocks)

    @property
    def columns(self) -> Ints:
        """Column in the Schur complement of each effect that a row has, [N, K]."""
        parts, offset = [np.zeros((len(self.yes), 0), dtype=np.int64)], 0
        for block in self.blocks:
            parts.append(offset + block.group[:, None] * block.width + np.arange(block.width))
            offset += block.groups * block.width
        return np.concatenate(parts, axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mode:
    """The conditional mode and all that the gradient needs.

    Attributes:
        value: the marginal log likelihood, without binomial coefficients.
        kept: û of the kept blocks, [R]; ``eliminated`` that of the eliminated one.
        steps: of the inner iteration; ``converged``: whether it ended below the tolerance.
    """

    value: float
    kept: Floats
    eliminated: Floats
    terms: Terms
    loadings: Floats
    loading_eliminated: Floats
    steps: int
    converged: bool


def triangles(layout: Layout, theta: Floats) -> list[Floats]:
    """Returns Λ of each block, lower triangular [q, q], the eliminated block's last; θ holds them row by row."""
    found, offset = [], 0
    for block in (*layout.blocks, *([] if layout.eliminated is None else [layout.eliminated])):
        rows, columns = np.tril_indices(block.width)
        triangle = np.zeros((block.width, block.width))
        triangle[rows, columns] = theta[offset : offset + len(rows)]
        found.append(triangle)
        offset += len(rows)
    return found


def find_mode(layout: Layout, fixed: Floats, theta: Floats, start: tuple[Floats, Floats] | None = None) -> Mode:
    """Returns û and the marginal log likelihood at θ.

    Args:
        layout: data and random terms.
        fixed: the fixed part of η, [N].
        theta: entries of the triangles Λ.
        start: û of the kept blocks and of the eliminated one to start from.
    """
    loadings, own = _loadings(layout, theta)
    system = _System(layout, loadings, own)
    at = _at(layout, system, fixed, *(start or (np.zeros(layout.kept), np.zeros(system.groups))))
    converged, steps = False, 0
    while not converged and steps < MOST_STEPS:
        before, at = at, _improved(layout, system, fixed, at)
        converged, steps = _distance(before, at) < TOLERANCE, steps + 1
    return Mode(
        value=at.value - system.factor(at.terms.weight).log_determinant / 2, kept=at.kept, eliminated=at.alone,
        terms=at.terms, loadings=loadings, loading_eliminated=own, steps=steps, converged=converged,
    )  # fmt: skip


class _Position(NamedTuple):
    """u with what it implies; ``value`` is the penalised log likelihood h(u)."""

    kept: Floats
    alone: Floats
    terms: Terms
    value: float


def _at(layout: Layout, system: _System, fixed: Floats, kept: Floats, alone: Floats) -> _Position:
    row = terms(layout.link, fixed + system.predict(kept, alone), layout.yes, layout.trials, layout.lapse)
    return _Position(kept, alone, row, float(row.log_likelihood.sum() - (kept @ kept + alone @ alone) / 2))


def _improved(layout: Layout, system: _System, fixed: Floats, at: _Position) -> _Position:
    """A Fisher-scoring step, halved until h(u) does not fall."""
    move = system.factor(at.terms.weight).solve(*system.gradient(at.terms.score, at.kept, at.alone))
    share = 1.0
    for _ in range(MOST_HALVINGS):
        found = _at(layout, system, fixed, at.kept + share * move[0], at.alone + share * move[1])
        if found.value >= at.value - ROUNDING * abs(at.value):
            return found
        share /= 2
    return at


def _distance(before: _Position, after: _Position) -> float:
    kept, alone = np.abs(after.kept - before.kept), np.abs(after.alone - before.alone)
    return float(max(kept.max(initial=0.0), alone.max(initial=0.0)))


def gradient(layout: Layout, mode: Mode) -> tuple[Floats, Floats]:
    """Returns the derivatives of the marginal log likelihood over the fixed part of η, [N], and over θ."""
    system = _System(layout, mode.loadings, mode.loading_eliminated)
    row = mode.terms
    inverse = system.factor(row.weight).inverse_rows()
    leverage = (mode.loadings * inverse[0]).sum(axis=1) + mode.loading_eliminated * inverse[1]
    pull = row.weight_slope * leverage
    moved = system.factor(row.observed).solve(*system.project(pull))
    direct = row.score - pull / 2 + row.observed * system.predict(*moved) / 2
    return direct, _theta_gradient(layout, mode, inverse, moved, direct)


def _theta_gradient(
    layout: Layout, mode: Mode, inverse: tuple[Floats, Floats], moved: tuple[Floats, Floats], direct: Floats
) -> Floats:
    """∂M = Z ∂Λ: entry (r, c) of a triangle moves the loading of effect c by Z's column r."""
    row, columns = mode.terms, layout.columns
    found, offset = [], 0
    for block in layout.blocks:
        own = slice(offset, offset + block.width)
        u, a, v = mode.kept[columns[:, own]], inverse[0][:, own], moved[0][columns[:, own]]
        found += [
            float((block.design[:, r] * (direct * u[:, c] - row.weight * a[:, c] - row.score * v[:, c] / 2)).sum())
            for r, c in zip(*np.tril_indices(block.width), strict=True)
        ]
        offset += block.width
    if (last := layout.eliminated) is not None:
        u, a, v = mode.eliminated[last.group], inverse[1], moved[1][last.group]
        found.append(float((last.design[:, 0] * (direct * u - row.weight * a - row.score * v / 2)).sum()))
    return np.array(found)


def _loadings(layout: Layout, theta: Floats) -> tuple[Floats, Floats]:
    """M without its zeros: loadings of the kept effects of each row, [N, K], and of the eliminated one, [N]."""
    found = triangles(layout, theta)
    kept = [block.design @ triangle for block, triangle in zip(layout.blocks, found, strict=False)]
    none = np.zeros((len(layout.yes), 0))
    own = np.zeros(len(layout.yes))
    if layout.eliminated is not None:
        own = layout.eliminated.design[:, 0] * found[-1][0, 0]
    return np.concatenate([none, *kept], axis=1), own


class _System:
    """The sparse matrix M, and A = I + M'WM for given weights."""

    def __init__(self, layout: Layout, loadings: Floats, own: Floats) -> None:
        self.columns, self.size = layout.columns, layout.kept
        self.loadings, self.own = loadings, own
        last = layout.eliminated
        self.group = np.zeros(len(own), dtype=np.int64) if last is None else last.group
        self.groups = 0 if last is None else last.groups

    def predict(self, kept: Floats, alone: Floats) -> Floats:
        """Returns M u, [N]."""
        eta: Floats = (self.loadings * kept[self.columns]).sum(axis=1)
        return eta + self.own * alone[self.group] if self.groups else eta

    def project(self, rows: Floats) -> tuple[Floats, Floats]:
        """Returns M' times a vector of rows."""
        kept = np.bincount(self.columns.ravel(), (self.loadings * rows[:, None]).ravel(), minlength=self.size)
        alone = np.bincount(self.group, self.own * rows, minlength=self.groups)[: self.groups]
        return kept.astype(float), alone.astype(float)

    def gradient(self, score: Floats, kept: Floats, alone: Floats) -> tuple[Floats, Floats]:
        """Returns the derivative of the penalised log likelihood over u."""
        first, second = self.project(score)
        return first - kept, second - alone

    def factor(self, weight: Floats) -> _Factor:
        """Returns A factored: D, D⁻¹C' and S by LU, since A of observed weights need not be positive definite."""
        return _Factor(self, weight)


class _Factor:
    def __init__(self, system: _System, weight: Floats) -> None:
        self.system = system
        size, groups, columns = system.size, system.groups, system.columns
        weighted = system.loadings * weight[:, None]
        across = np.zeros((size, size))
        for j in range(columns.shape[1]):
            for k in range(columns.shape[1]):
                index = columns[:, j] * size + columns[:, k]
                across += np.bincount(index, weighted[:, j] * system.loadings[:, k], minlength=size**2).reshape(
                    size, size
                )
        cross = np.zeros((size, groups))
        for j in range(columns.shape[1] if groups else 0):
            index = columns[:, j] * groups + system.group
            cross += np.bincount(index, weighted[:, j] * system.own, minlength=size * groups).reshape(size, groups)
        self.diagonal = 1 + np.bincount(system.group, weight * system.own**2, minlength=groups)[:groups]
        self.cross = cross
        self.scaled = cross / self.diagonal
        self.schur = lu_factor(np.eye(size) + across - self.scaled @ cross.T) if size else None

    @property
    def log_determinant(self) -> float:
        """Ln |A|."""
        kept = 0.0 if self.schur is None else np.log(np.abs(np.diag(self.schur[0]))).sum()
        return float(kept + np.log(self.diagonal).sum())

    def solve(self, kept: Floats, alone: Floats) -> tuple[Floats, Floats]:
        """Returns A⁻¹ times a vector."""
        if self.schur is None:
            return kept, alone / self.diagonal
        first = lu_solve(self.schur, kept - self.scaled @ alone)
        return first, alone / self.diagonal - self.scaled.T @ first

    def inverse_rows(self) -> tuple[Floats, Floats]:
        """Returns A⁻¹ m of each row's m, at the effects that the row has: [N, K] and [N]."""
        system, columns = self.system, self.system.columns
        if self.schur is None:
            return np.zeros(columns.shape), system.own / self.diagonal[system.group]
        inverse = lu_solve(self.schur, np.eye(system.size))
        kept = np.einsum("njk,nk->nj", inverse[columns[:, :, None], columns[:, None, :]], system.loadings)
        if not system.groups:
            return kept, np.zeros(len(columns))
        corner = -inverse @ self.scaled  # R × G
        own_corner = corner[columns, system.group[:, None]]
        own_diagonal = 1 / self.diagonal - (self.scaled * corner).sum(axis=0)
        kept = kept + own_corner * system.own[:, None]
        return kept, (own_corner * system.loadings).sum(axis=1) + own_diagonal[system.group] * system.own
