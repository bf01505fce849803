"""The difference of mean ratings between two kinds of picture: Welch's standard error, clustered ones, equivalence.

For studies without graded ε, whose participants rate perturbed and real pictures. Ratings of one person, and of one
picture, hang together: Welch's standard error, which takes them as independent, is too small. Participants, or
participants and pictures independently of each other (weights multiplied: Owen 2007), are drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from analysis import intervals
from analysis.intervals import LEVEL, bootstrap_error
from analysis.likelihood import Floats


@dataclass(frozen=True, kw_only=True)
class RatingDifference:
    """Mean rating of the second kind minus that of the first, with its tests.

    Attributes:
        welch_error: standard error as if ratings were independent.
        participant_error: from drawing participants; ``crossed_error``: participants and pictures.
        low: of the 95 % t interval with P − 1 degrees of freedom by the crossed error; ``high`` likewise.
        p: of no difference; ``p_equivalence``: of two one-sided tests against ± ``margin``, by the crossed error.
    """

    difference: float
    welch_error: float
    participant_error: float
    crossed_error: float
    low: float
    high: float
    df: int
    p: float
    margin: float
    p_equivalence: float


def rating_difference(
    rating: ArrayLike,
    second: ArrayLike,
    participant: ArrayLike,
    picture: ArrayLike,
    *,
    margin: float,
    replicates: int = 1000,
    seed: int = 1,
    progress: bool = False,
) -> RatingDifference:
    """Returns the difference of means and how sure it is.

    Args:
        rating: [N].
        second: whether a rating is of the second kind (as: of a real picture), [N].
        participant: who rated, [N].
        picture: what was rated, [N]; names are kept apart by kind, since both kinds may count from 1.
        margin: of equivalence, in units of the rating.
        replicates: bootstrap draws.
        seed: of the draws.
        progress: show a bar on stderr.

    Raises:
        ValueError: fewer than two participants, or only one kind of picture.
    """
    values, kind = np.asarray(rating, dtype=float), np.asarray(second, dtype=bool)
    people, person = np.unique(np.asarray(participant), return_inverse=True)
    _, image = np.unique([f"{side}/{name}" for side, name in zip(kind, np.asarray(picture), strict=True)],
                         return_inverse=True)  # fmt: skip
    if len(people) < 2 or kind.all() or not kind.any():
        raise ValueError(
            f"expected 2 participants or more and both kinds of picture, got {len(people)} and {set(kind)}"
        )
    estimate = float(values[kind].mean() - values[~kind].mean())
    alone = intervals.participant_weights(len(people), replicates, seed, progress=progress)
    crossed = intervals.crossed_weights(len(people), int(image.max()) + 1, replicates, seed, progress=progress)
    by_person = _differences((weights[:, person] for weights in alone), values, kind)
    by_both = _differences((people_w[:, person] * image_w[:, image] for people_w, image_w in crossed), values, kind)
    error = float(bootstrap_error(by_both, len(people)))
    df = len(people) - 1
    half = float(student.ppf((1 + LEVEL) / 2, df)) * error
    return RatingDifference(
        difference=estimate,
        welch_error=float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in (values[kind], values[~kind])))),
        participant_error=float(bootstrap_error(by_person, len(people))),
        crossed_error=error,
        low=estimate - half,
        high=estimate + half,
        df=df,
        p=float(2 * student.sf(abs(estimate) / error, df)),
        margin=margin,
        p_equivalence=float(student.sf((margin - abs(estimate)) / error, df)),
    )


def _differences(weights: Iterator[Floats], values: Floats, kind: np.ndarray) -> Floats:
    drawn = []
    for chunk in weights:
        second, first = chunk[:, kind], chunk[:, ~kind]
        drawn.append(second @ values[kind] / second.sum(axis=1) - first @ values[~kind] / first.sum(axis=1))
    return np.concatenate(drawn)
