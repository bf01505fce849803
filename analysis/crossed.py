"""Counts of answers with participants and pictures resampled, and the variance that two crossed factors give.

Participants differ and pictures differ, and every answer belongs to one of each. The variance of an estimate is that of
resampling participants, plus that of resampling pictures, less that of resampling single pairs of both, which the first
two hold twice (Cameron, Gelbach & Miller 2011, Journal of Business & Economic Statistics 29, 238–249), and at least the
larger of the first two (the "max-se" of MacKinnon, Nielsen & Webb 2024, arXiv 2406.08880). Drawing both at once (the
pigeonhole bootstrap) would count what belongs to single answers three times. Few of a factor: its variance is
multiplied by n / (n − 1), and t has the degrees of freedom of Satterthwaite (1946, Biometrics Bulletin 2, 110–114), at
least min(participants, pictures) − 1.

Answers are first summed by participant × picture × cell, and then over what is not resampled, so that a draw costs as
much as there are participants, pictures or groups of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import t as student
from tqdm import tqdm

from analysis.intervals import CHUNK
from analysis.likelihood import Floats
from analysis.trials import Answers, Cells
from core import rng

QUANTITIES = ("trials", "yes", "judged", "fooled", "undetected")
FACTORS = 3  # what is resampled: participants, pictures, pairs of both
GROUPS = 1000  # of pairs at most: enough for their variance, and few enough to draw
FEWEST_KNOWN = 0.9  # of the draws


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Weighted counts of B draws, each [B, L].

    Attributes:
        trials: answers; ``yes``: those that say that there was a change.
        yes: see there.
        judged: answers to stimuli of which it is known whether they fool their source model.
        fooled: those to stimuli that fool; ``undetected``: those of them that say that there was no change.
        undetected: see there.
    """

    trials: Floats
    yes: Floats
    judged: Floats
    fooled: Floats
    undetected: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossed:
    """The sums: of each cell a sparse matrix pictures × participants for each of ``QUANTITIES``.

    Attributes:
        pictures: names of the pictures that are resampled, [I]: those shown and those that the machines were judged on.
    """

    participants: int
    pictures: tuple[str, ...]
    cells: tuple[dict[str, csr_array], ...]


def cross(cells: Cells, answers: Answers, fooled: NDArray[np.int8], others: tuple[str, ...] = ()) -> Crossed:
    """Returns the sums of a study.

    Args:
        cells: of the study.
        answers: of the study.
        fooled: by stimulus, [S]: 1, 0, or −1 where it is not known.
        others: pictures that were not shown and are resampled too.
    """
    pictures = tuple(sorted({*answers.pictures, *others}))
    place = {name: index for index, name in enumerate(pictures)}
    row = np.array([place[name] for name in answers.pictures])[answers.picture]
    outcome = fooled[answers.stimulus]
    values = {
        "trials": np.ones(len(row)),
        "yes": answers.yes.astype(float),
        "judged": (outcome >= 0).astype(float),
        "fooled": (outcome == 1).astype(float),
        "undetected": ((outcome == 1) & ~answers.yes).astype(float),
    }
    shape = (len(pictures), len(cells.participants))
    matrices = tuple(_matrices(values, row, answers, cell, shape) for cell in range(len(cells.eps)))
    return Crossed(participants=shape[1], pictures=pictures, cells=matrices)


def _matrices(
    values: dict[str, Floats], row: NDArray[np.int64], answers: Answers, cell: int, shape: tuple[int, int]
) -> dict[str, csr_array]:
    own = answers.cell == cell
    place = (row[own], answers.participant[own])
    found = {name: csr_array((value[own], place), shape=shape) for name, value in values.items()}
    for matrix in found.values():
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return found


def counts(crossed: Crossed, people: Floats, pictures: Floats) -> Counts:
    """Returns the counts under weights of participants [B, P] and pictures [B, I]."""
    columns = {name: np.zeros((len(people), len(crossed.cells))) for name in QUANTITIES}
    for index, matrices in enumerate(crossed.cells):
        for name, matrix in matrices.items():
            if matrix.nnz:
                columns[name][:, index] = np.einsum("ib,bi->b", matrix @ people.T, pictures)
    return Counts(**columns)


def observed(crossed: Crossed) -> Counts:
    """Returns the counts as they are, [1, L]."""
    return counts(crossed, np.ones((1, crossed.participants)), np.ones((1, len(crossed.pictures))))


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """Counts as observed, then in B draws of participants, B of pictures and B of pairs.

    Attributes:
        counts: [1 + 3B, L].
        pictures: how often each picture was drawn in the draws of pictures, [B, I].
    """

    counts: Counts
    pictures: NDArray[np.uint8]


def draw(crossed: Crossed, replicates: int, seed: int, *, progress: bool) -> Drawn:
    """Returns the counts of ``replicates`` draws of each factor; shows progress on stderr."""
    factors = {"participants": _sums(crossed, axis=0), "pictures": _sums(crossed, axis=1)}
    factors["pairs"] = _sums_of_groups(crossed, seed)
    parts, drawn = [observed(crossed)], []
    total = FACTORS * replicates
    with tqdm(total=total, desc="crossed bootstrap", unit="draw", leave=False, disable=not progress) as bar:
        for factor, sums in factors.items():
            for weights in _weights(len(sums["trials"]), replicates, seed, factor):
                parts.append(Counts(**{name: weights @ sums[name] for name in QUANTITIES}))
                drawn += [weights.astype(np.uint8)] if factor == "pictures" else []
                bar.update(len(weights))
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in QUANTITIES}
    return Drawn(counts=Counts(**joined), pictures=np.concatenate(drawn))


def _weights(units: int, replicates: int, seed: int, purpose: str) -> Iterator[Floats]:
    """How often each unit was drawn, chunk by chunk."""
    generator = rng.numpy_generator(seed, "crossed bootstrap", purpose)
    for start in range(0, replicates, CHUNK):
        size = min(CHUNK, replicates - start)
        yield generator.multinomial(units, np.full(units, 1 / units), size=size).astype(float)


def _sums(crossed: Crossed, axis: int) -> dict[str, Floats]:
    """The sums of each participant [P, L] (over axis 0, pictures) or of each picture [I, L] (over axis 1)."""
    return {
        name: np.stack([np.asarray(matrices[name].sum(axis=axis)).ravel() for matrices in crossed.cells], axis=1)
        for name in QUANTITIES
    }


def _sums_of_groups(crossed: Crossed, seed: int) -> dict[str, Floats]:
    """The sums [G, L] of ``GROUPS`` random groups of pairs, or of the pairs themselves where there are no more."""
    keys = [_keys(matrices["trials"]) for matrices in crossed.cells]
    known = np.unique(np.concatenate(keys))
    size = max(min(len(known), GROUPS), 1)
    group = rng.numpy_generator(seed, "groups of pairs").permutation(len(known)) % size
    found = {name: np.zeros((size, len(crossed.cells))) for name in QUANTITIES}
    for index, matrices in enumerate(crossed.cells):
        for name, matrix in matrices.items():
            place = group[np.searchsorted(known, _keys(matrix))]
            found[name][:, index] = np.bincount(place, matrix.tocoo().data, minlength=size)
    return found


def _keys(matrix: csr_array) -> NDArray[np.int64]:
    entries = matrix.tocoo()
    keys: NDArray[np.int64] = entries.row.astype(np.int64) * matrix.shape[1] + entries.col
    return keys


@dataclass(frozen=True, kw_only=True)
class Units:
    """How many participants and pictures an estimate rests on."""

    participants: int
    pictures: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Error:
    """Standard errors of estimates [...] and their degrees of freedom; NaN where a tenth of the draws have no value."""

    standard: Floats
    df: Floats

    def quantile(self, tail: float) -> Floats:
        """Returns what t exceeds with probability ``tail``, [...]."""
        return np.asarray(student.isf(tail, self.df))

    def p(self, statistic: Floats) -> Floats:
        """Returns the two-sided p-values of estimates over their standard errors, [...]."""
        return np.asarray(2 * student.sf(np.abs(statistic), self.df))


def error(values: Floats, units: Units) -> Error:
    """Returns the errors of estimates ``values``, [1 + 3B, ...]."""
    draws = values[1:].reshape(FACTORS, -1, *values.shape[1:])
    known = np.isfinite(draws)
    count = known.sum(axis=1)
    mean = np.where(known, draws, 0.0).sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, draws - mean[:, None], 0.0) ** 2
    people, pictures, pairs = squares.sum(axis=1) / np.maximum(count - 1, 1)
    others = max(units.participants - 1, 1), max(units.pictures - 1, 1)
    people, pictures = people * units.participants / others[0], pictures * units.pictures / others[1]
    variance = np.maximum(people + pictures - pairs, np.maximum(people, pictures))
    weight = people**2 / others[0] + pictures**2 / others[1]
    df = np.divide(variance**2, weight, out=np.ones_like(weight), where=weight > 0)
    enough = (count >= FEWEST_KNOWN * draws.shape[1]).all(axis=0)
    return Error(standard=np.where(enough, np.sqrt(variance), np.nan), df=np.clip(df, min(others), sum(others)))


def interval(
    values: Floats, units: Units, alpha: float, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> dict[str, Any]:
    """Returns estimate (the first of ``values``), low and high at 1 − ``alpha``, clipped to ``bounds``.

    A bound is ``None`` where the draws do not give it.
    """
    estimate, spread = float(values[0]), error(values, units)
    half = float(spread.quantile(alpha / 2) * spread.standard)
    if not np.isfinite(estimate + half):
        return {"estimate": estimate if np.isfinite(estimate) else None, "low": None, "high": None}
    return {"estimate": estimate, "low": max(estimate - half, bounds[0]), "high": min(estimate + half, bounds[1])}
