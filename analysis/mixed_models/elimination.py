"""The random terms of a mixed model as one sparse matrix M, and A = I + M'WM factored by eliminating one block.

Rows of different groups of one factor never meet in A, so that this factor's block D of A is block diagonal (q × q a
group): D is eliminated group by group, and the rest is the Schur complement S = A_rr − C D⁻¹ C' of the size of the
kept effects (Bates et al. 2015, section 3, with the roles of the factors as here). Either pictures (q = 1) or
participants (q = 2) can be eliminated; what is dense is C, of kept × eliminated effects, and S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from analysis.likelihood import Floats
from analysis.mixed_models.links import Link

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
    """The data of a model: ``blocks`` stay in the Schur complement, ``eliminated`` (if any) does not."""

    link: Link
    yes: Floats
    trials: Floats
    blocks: tuple[Block, ...]
    eliminated: Block | None

    @property
    def all_blocks(self) -> tuple[Block, ...]:
        """The kept blocks and then the eliminated one: the order of θ."""
        return (*self.blocks, *([] if self.eliminated is None else [self.eliminated]))

    @property
    def kept(self) -> int:
        """R: effects in the Schur complement."""
        return sum(block.groups * block.width for block in self.blocks)

    def with_design(self, place: int, design: Floats) -> Layout:
        """Returns the same data with another design [N, q] of the block at ``place`` of ``all_blocks``."""
        block = replace(self.all_blocks[place], design=design)
        if place == len(self.blocks):
            found = replace(self, eliminated=block)
        else:
            found = replace(self, blocks=(*self.blocks[:place], block, *self.blocks[place + 1 :]))
        vars(found)["columns"] = self.columns  # cached: it depends on the groups only
        return found

    @cached_property
    def columns(self) -> Ints:
        """Column in the Schur complement of each effect that a row has, [N, K]."""
        parts, offset = [np.zeros((len(self.yes), 0), dtype=np.int64)], 0
        for block in self.blocks:
            parts.append(offset + block.group[:, None] * block.width + np.arange(block.width))
            offset += block.groups * block.width
        return np.concatenate(parts, axis=1)

    @cached_property
    def group(self) -> Ints:
        """The group of each row in the eliminated block, [N]."""
        return np.zeros(len(self.yes), dtype=np.int64) if self.eliminated is None else self.eliminated.group


def triangles(layout: Layout, theta: Floats) -> list[Floats]:
    """Returns Λ of each block, lower triangular [q, q], the eliminated block's last; θ holds them row by row."""
    found, offset = [], 0
    for block in layout.all_blocks:
        rows, columns = np.tril_indices(block.width)
        triangle = np.zeros((block.width, block.width))
        triangle[rows, columns] = theta[offset : offset + len(rows)]
        found.append(triangle)
        offset += len(rows)
    return found


class System:
    """M without its zeros: ``loadings`` [N, K] of the kept effects of each row, ``own`` [N, q] of the eliminated."""

    def __init__(self, layout: Layout, theta: Floats) -> None:
        found = triangles(layout, theta)
        none, last = np.zeros((len(layout.yes), 0)), layout.eliminated
        kept = [block.design @ triangle for block, triangle in zip(layout.blocks, found, strict=False)]
        self.layout, self.columns, self.group, self.size = layout, layout.columns, layout.group, layout.kept
        self.loadings: Floats = np.concatenate([none, *kept], axis=1)
        self.own: Floats = none if last is None else last.design @ found[-1]
        self.groups = 0 if last is None else last.groups

    def zero(self) -> tuple[Floats, Floats]:
        """Returns effects of 0: of the kept blocks, [R], and of the eliminated one, [G, q]."""
        return np.zeros(self.size), np.zeros((self.groups, self.own.shape[1]))

    def predict(self, kept: Floats, alone: Floats) -> Floats:
        """Returns M u, [N]."""
        eta: Floats = np.einsum("nk,nk->n", self.loadings, kept[self.columns])
        return eta + np.einsum("nk,nk->n", self.own, alone[self.group]) if self.groups else eta

    def project(self, rows: Floats) -> tuple[Floats, Floats]:
        """Returns M' times a vector of rows."""
        kept, alone = self.zero()
        for j in range(self.loadings.shape[1]):
            kept += np.bincount(self.columns[:, j], self.loadings[:, j] * rows, minlength=self.size)
        for j in range(self.own.shape[1]):
            alone[:, j] = np.bincount(self.group, self.own[:, j] * rows, minlength=self.groups)
        return kept, alone

    def gradient(self, score: Floats, kept: Floats, alone: Floats) -> tuple[Floats, Floats]:
        """Returns the derivative of the penalised log likelihood over u."""
        first, second = self.project(score)
        return first - kept, second - alone

    def factor(self, weight: Floats) -> Factor:
        """Returns A factored by Cholesky.

        Raises:
            numpy.linalg.LinAlgError: A is not positive definite, as observed weights with lapses may make it.
        """
        return Factor(self, weight)


class Factor:
    """A of given weights: ``root`` is L⁻¹ of D = LL', ``half`` is C L'⁻¹ [q, R, G], and S = ``schur`` its factor."""

    def __init__(self, system: System, weight: Floats) -> None:
        self.system = system
        block = np.linalg.cholesky(_diagonal(system, weight))
        self.root: Floats = np.linalg.inv(block) if block.shape[1] > 1 else 1 / block
        cross, schur = _cross(system, weight), _across(system, weight)
        self.half = np.zeros_like(cross)
        for i in range(len(cross)):
            for j in range(i + 1):  # L⁻¹ is lower triangular
                self.half[i] += cross[j] * self.root[:, i, j]
            schur -= self.half[i] @ self.half[i].T
        self.schur = cholesky(schur, lower=True) if system.size else schur
        diagonals = np.diagonal(block, axis1=1, axis2=2), np.diagonal(self.schur)
        self.log_determinant = float(2 * sum(np.log(part).sum() for part in diagonals))

    def solve(self, kept: Floats, alone: Floats) -> tuple[Floats, Floats]:
        """Returns A⁻¹ times a vector."""
        inner = np.einsum("gij,gj->gi", self.root, alone)
        first = kept
        if self.system.size:
            first = cho_solve((self.schur, True), kept - sum(own @ inner[:, i] for i, own in enumerate(self.half)))
            inner = inner - np.stack([first @ own for own in self.half], axis=1) if len(self.half) else inner
        return first, np.einsum("gji,gj->gi", self.root, inner)

    def inverse_rows(self) -> tuple[Floats, Floats]:
        """Returns A⁻¹ m of each row's m, at the effects that the row has: [N, K] and [N, q]."""
        system = self.system
        size, groups, columns, group = system.size, system.groups, system.columns, system.group
        inner = np.einsum("nij,nj->ni", self.root[group], system.own) if groups else system.own
        if not size:
            return np.zeros(columns.shape), np.einsum("nji,nj->ni", self.root[group], inner)
        inverse = cho_solve((self.schur, True), np.eye(size))
        kept = np.einsum("njk,nk->nj", inverse[columns[:, :, None], columns[:, None, :]], system.loadings)
        if not groups:
            return kept, inner
        corner = [inverse @ own for own in self.half]
        met = np.stack([own[columns, group[:, None]] for own in corner], axis=2)  # [N, K, q]
        own = np.array([[np.einsum("rg,rg->g", a, b) for b in corner] for a in self.half])[:, :, group]
        kept -= np.einsum("nki,ni->nk", met, inner)
        inner = inner + np.einsum("ijn,nj->ni", own, inner) - np.einsum("nki,nk->ni", met, system.loadings)
        return kept, np.einsum("nji,nj->ni", self.root[group], inner)


def _diagonal(system: System, weight: Floats) -> Floats:
    """D, [G, q, q]."""
    width = system.own.shape[1]
    found = np.tile(np.eye(width), (system.groups, 1, 1))
    for j in range(width):
        weighted = weight * system.own[:, j]
        for k in range(j + 1):
            entry = np.bincount(system.group, weighted * system.own[:, k], minlength=system.groups)
            found[:, j, k] += entry
            found[:, k, j] = found[:, j, k]
    return found


def _cross(system: System, weight: Floats) -> Floats:
    """C, [q, R, G]."""
    size, groups, width = system.size, system.groups, system.own.shape[1]
    found = np.zeros((width, size, groups))
    for j in range(system.columns.shape[1] if groups else 0):
        index, weighted = system.columns[:, j] * groups + system.group, weight * system.loadings[:, j]
        for k in range(width):
            entry = np.bincount(index, weighted * system.own[:, k], minlength=size * groups)
            found[k] += entry.reshape(size, groups)
    return found


def _across(system: System, weight: Floats) -> Floats:
    """I + the kept blocks' part of M'WM, [R, R]."""
    size, columns = system.size, system.columns
    found = np.eye(size)
    for j in range(columns.shape[1]):
        weighted = weight * system.loadings[:, j]
        for k in range(columns.shape[1]):
            index = columns[:, j] * size + columns[:, k]
            found += np.bincount(index, weighted * system.loadings[:, k], minlength=size**2).reshape(size, size)
    return found
