"""Agreement of annotators, and how maps of two sources differ: means and coefficients over pictures, or annotators.

The law: each picture has a region of its own size, each annotator paints each pixel of it with a skill of their own and
now and then one outside. The truth is the agreement over very many pictures of very many annotators.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.region_maps import MEASURES, summarised
from benchmarks.coverage.acceptance import Gate, Share, covered
from benchmarks.coverage.cell import Cell
from core import rng
from core.annotations import agreement
from core.annotations.agreement import SUMS, Totals, indices, intersections, over_annotators, sums_of, weights

PIXELS, RATERS = 128, 3  # of a picture
REPLICATES = 400
MANY = 20_000
SKILL, SD_SKILL, STRAY = 0.8, 0.1, 0.05
JUDGED = {"dice": "Dice", "iou": "IoU", "alpha_pixels": "α over pixels", "alpha_areas": "α over areas",
          "fleiss_kappa": "Fleiss’ κ"}  # fmt: skip

FEW_PICTURES: tuple[tuple[int, Gate], ...] = ((5, "reported"), (8, "inside"), (20, "inside"))  # values are skewed


def _masks(skills: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.bool_]:
    """One picture's masks, [annotators, 1, pixels]."""
    salient = np.arange(PIXELS) < PIXELS * generator.uniform(0.1, 0.6)
    paints = np.where(salient, skills[:, None], STRAY)
    masks: NDArray[np.bool_] = generator.random((len(skills), PIXELS)) < paints
    return masks[:, None, :]


def _sums(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    votes = np.bincount(masks.sum(axis=0).ravel(), minlength=len(masks) + 1)
    return sums_of(intersections(masks), votes)


def _skills(size: int, generator: np.random.Generator) -> NDArray[np.float64]:
    return np.clip(generator.normal(SKILL, SD_SKILL, size), 0.3, 0.99)


def pictures(count: int, seed: int, number: int) -> dict[str, tuple[float, float]]:
    """Returns the intervals over pictures of one set, every picture painted by other annotators."""
    generator = rng.numpy_generator(seed, "coverage of agreement", count, number)
    totals = Totals(len(SUMS), REPLICATES)
    for index in range(count):
        sums = _sums(_masks(_skills(RATERS, generator), generator))
        totals.add(sums, weights(number, f"p{index}", REPLICATES))
    found = totals.measures()
    return {name: (found[name]["low"], found[name]["high"]) for name in JUDGED}


@lru_cache(maxsize=1)
def _population() -> dict[str, float]:
    generator = rng.numpy_generator(0, "population of agreement")
    sums = np.sum([_sums(_masks(_skills(RATERS, generator), generator)) for _ in range(MANY)], axis=0)
    return {name: float(value) for name, value in indices(sums).items()}


def picture_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of each measure of agreement."""
    return [
        covered(
            f"{words}, over pictures",
            [row[name] for row in rows],
            _population()[name],
            "not below" if name == "alpha_areas" else "inside",
        )  # draws of few pictures repeat their areas
        for name, words in JUDGED.items()
    ]


def annotators(count: int, seed: int, number: int) -> dict[str, tuple[float, float]]:
    """Returns the intervals over annotators who all painted the same 30 pictures."""
    generator = rng.numpy_generator(seed, "coverage over annotators", count, number)
    skills, pairs = _skills(count, generator), dict[tuple[str, str], NDArray[np.float64]]()
    for _ in range(30):
        dice, iou = agreement.overlaps(intersections(_masks(skills, generator)))
        for one, two in combinations(range(count), 2):
            pair = (f"a{one:02d}", f"a{two:02d}")
            pairs[pair] = pairs.get(pair, np.zeros(3)) + np.array([1.0, dice[one, two], iou[one, two]])
    found = over_annotators(pairs)
    return {name: (found[name]["low"], found[name]["high"]) for name in ("dice", "iou")}


def annotator_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of Dice and IoU over annotators."""
    return [
        covered(f"{JUDGED[name]}, over annotators", [row[name] for row in rows], _population()[name], "inside")
        for name in ("dice", "iou")
    ]


def compared(count: int, seed: int, number: int) -> tuple[float, float]:
    """Returns the interval of a mean over pictures, such as the IoU of people's and automatic maps."""
    generator = rng.numpy_generator(seed, "coverage of maps", count, number)
    values = generator.beta(4, 2, (count, len(MEASURES)))
    found = summarised([dict(zip(MEASURES, row, strict=True)) for row in values.tolist()])[MEASURES[0]]
    return found["low"], found["high"]


def compared_shares(gate: Gate, rows: Sequence[tuple[float, float]]) -> list[Share]:
    """Returns the coverage of a mean over pictures."""
    return [covered("mean over pictures of what two maps have in common", list(rows), 4 / 6, gate)]


CELLS = (
    *(
        Cell(name=f"agreement-{count}-pictures", times=400, one=partial(pictures, count), shares=picture_shares,
             words=f"{RATERS} annotators of each of {count} pictures")
        for count in (10, 40)
    ),
    *(
        Cell(name=f"agreement-{count}-annotators", times=400, one=partial(annotators, count), shares=annotator_shares,
             words=f"{count} annotators of the same 30 pictures")
        for count in (6, 12)
    ),
    *(
        Cell(name=f"maps-{count}-pictures", times=2000, one=partial(compared, count),
             shares=partial(compared_shares, gate), words=f"maps compared on {count} pictures")
        for count, gate in FEW_PICTURES
    ),
)  # fmt: skip
