"""STAPLE: where several people's masks truly agree, and how good each of them is, by expectation maximisation.

Warfield, Zou & Wells 2004, IEEE Transactions on Medical Imaging 23(7), binary, with one prior for all pixels and no
spatial one. Each annotator paints a pixel that belongs to the region with probability p (sensitivity), and leaves one
that does not with probability q (specificity), independently of the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError

_BEGIN = 0.99999  # of both parameters: everybody is good
_TOLERANCE = 1e-12
_MOST_ROUNDS = 2000
_MOST_ANNOTATORS = 62  # a pixel's decisions are one 64-bit number


@dataclass(frozen=True, kw_only=True, eq=False)
class Staple:
    """What STAPLE found.

    Attributes:
        probability: that a pixel belongs to the region, float64 [height, width].
        sensitivity: of each annotator, [annotators]; NaN where no pixel belongs to the region.
        specificity: of each annotator, [annotators]; NaN where every pixel belongs to it.
        prior: the share of pixels that belong to the region, before looking: the mean of all decisions.
        rounds: of the algorithm.
    """

    probability: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    specificity: NDArray[np.float64]
    prior: float
    rounds: int


def staple(masks: NDArray[np.bool_]) -> Staple:
    """Returns the STAPLE estimate of masks, bool [annotators, height, width].

    Pixels with the same decisions have the same probability, so that each pattern of decisions is computed once. It
    ends when no parameter moves by more than 1e-12, at the latest after 2,000 rounds.

    Raises:
        DataError: there are no masks, or more than 62.
    """
    count = len(masks)
    if not 1 <= count <= _MOST_ANNOTATORS:
        raise DataError(f"STAPLE: expected masks of 1 to {_MOST_ANNOTATORS} annotators of a picture, got {count}")
    patterns, places, sizes = _patterns(masks)
    prior = float((patterns @ sizes).sum() / (count * sizes.sum()))
    truth, sensitivity, specificity, rounds = _fitted(patterns, sizes.astype(np.float64), prior)
    return Staple(
        probability=truth[places].reshape(masks.shape[1:]),
        sensitivity=sensitivity,
        specificity=specificity,
        prior=prior,
        rounds=rounds,
    )


def _patterns(masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the decisions of each pattern [annotators, patterns], each pixel's pattern, and the pixels of each."""
    codes = np.zeros(masks[0].size, dtype=np.int64)
    for place, mask in enumerate(masks):
        codes |= mask.reshape(-1).astype(np.int64) << place
    found, places, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    return ((found[None, :] >> np.arange(len(masks))[:, None]) & 1).astype(np.float64), places, sizes


def _fitted(
    patterns: NDArray[np.float64], sizes: NDArray[np.float64], prior: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    count = len(patterns)
    sensitivity, specificity = np.full(count, _BEGIN), np.full(count, _BEGIN)
    truth = np.full(patterns.shape[1], prior)
    if prior in (0.0, 1.0):
        nothing = np.full(count, np.nan)
        return truth, nothing if prior == 0 else np.ones(count), np.ones(count) if prior == 0 else nothing, 0
    rounds, moved = 0, 1.0
    while moved > _TOLERANCE and rounds < _MOST_ROUNDS:
        truth = _expected(patterns, prior, sensitivity, specificity)
        inside, outside = sizes * truth, sizes * (1 - truth)
        before = np.concatenate([sensitivity, specificity])
        sensitivity = patterns @ inside / inside.sum()
        specificity = (1 - patterns) @ outside / outside.sum()
        moved, rounds = float(np.abs(np.concatenate([sensitivity, specificity]) - before).max()), rounds + 1
    return truth, sensitivity, specificity, rounds


def _expected(
    patterns: NDArray[np.float64], prior: float, sensitivity: NDArray[np.float64], specificity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the probability of each pattern, by way of logarithms: 62 factors may be tiny."""
    tiny = np.finfo(np.float64).tiny
    inside, outside = (
        np.log(np.maximum(painted, tiny)) @ patterns + np.log(np.maximum(left, tiny)) @ (1 - patterns)
        for painted, left in ((sensitivity, 1 - sensitivity), (1 - specificity, specificity))
    )
    difference = np.clip(np.log(1 - prior) - np.log(prior) + outside - inside, -700, 700)
    return np.asarray(1 / (1 + np.exp(difference)))
