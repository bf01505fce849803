"""Counts of answers with participants and pictures resampled together; the same draws for every source model.

Answers are first summed by participant × picture × cell, so that a draw costs as much as there are such sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from analysis import intervals
from analysis.likelihood import Floats
from analysis.trials import Answers, Cells

QUANTITIES = ("trials", "yes", "judged", "fooled", "undetected")


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


def draws(crossed: Crossed, replicates: int, seed: int, *, progress: bool) -> Iterator[tuple[Counts, Floats]]:
    """Yields the counts of a chunk of draws, and how often each picture was drawn in them, [chunk, I]."""
    weights = intervals.crossed_weights(
        crossed.participants, len(crossed.pictures), replicates, seed, progress=progress
    )
    for people, pictures in weights:
        yield counts(crossed, people, pictures), pictures
