"""How well annotators agree on pictures: overlap of pairs, Krippendorff's α, Fleiss' κ, with bootstrap intervals.

Everything is made of sums over pictures, so that any number of pictures takes one pass and the memory of one. Intervals
are those of the Poisson bootstrap (Hanley & MacGibbon 2006, Computer Methods and Programs in Biomedicine 83): in each
replicate a picture counts Poisson(1) times, drawn by (seed, source_id), which needs no list of the pictures.

A picture with fewer than two masks says nothing about agreement and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from core import rng
from core.errors import DataError

Floats = NDArray[np.float64]
SUMS = (
    "pictures", "dice", "iou", "pixels", "painted", "unpainted", "within", "differing", "ratings", "areas", "squares",
    "spread",
)  # fmt: skip
_LEAST_ANNOTATORS = 4  # of which an interval over annotators can be made
LEAST_PICTURES = 5  # of which an interval over pictures can be made


def intersections(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Returns how many pixels each two of the masks share, [annotators, annotators]; areas on the diagonal."""
    packed = np.packbits(masks.reshape(len(masks), -1), axis=1)
    packed = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    shared = [np.bitwise_count(packed & row).sum(axis=1, dtype=np.int64) for row in packed]
    return np.stack(shared)


def overlaps(shared: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Returns Dice and IoU of each two masks, [annotators, annotators] each; two empty masks agree, 1."""
    areas = np.diagonal(shared)
    total = areas[:, None] + areas[None, :]
    empty = total == 0
    dice = np.where(empty, 1.0, 2 * shared / np.where(empty, 1, total))
    return dice, np.where(empty, 1.0, shared / np.where(empty, 1, total - shared))


def pair_mean(values: Floats) -> float:
    """Returns the mean over all pairs of different annotators."""
    count = len(values)
    return float((values.sum() - np.trace(values)) / (count * (count - 1)))


def sums_of(shared: NDArray[np.int64], votes: NDArray[np.int64]) -> Floats:
    """Returns the sums, in the order of ``SUMS``, of one picture that at least two annotators have masks of.

    Args:
        shared: pixels that each two masks share.
        votes: number of pixels that 0, 1, … all annotators painted, [annotators + 1].
    """
    raters = len(shared)
    dice, iou = overlaps(shared)
    painters = np.arange(raters + 1)
    product = float(votes @ (painters * (raters - painters)))  # over pixels, annotators who paint × who do not
    pixels, painted = int(votes.sum()), float(votes @ painters)
    areas = np.diagonal(shared) / pixels
    spread = 2 * (raters * float(areas @ areas) - float(areas.sum()) ** 2) / (raters - 1)
    return np.asarray([
        1, pair_mean(dice), pair_mean(iou), pixels, painted, raters * pixels - painted, product / (raters - 1),
        2 * product / (raters * (raters - 1)), raters, areas.sum(), areas @ areas, max(0.0, spread),
    ])  # fmt: skip


def indices(sums: Floats) -> dict[str, Floats]:
    """Returns the measures of agreement of sums [..., 12]; NaN where nothing varies, so that chance explains all.

    - ``dice``, ``iou``: mean over pictures of the mean over pairs.
    - ``alpha_pixels``: Krippendorff's α for nominal data, pixels being the units, 1 − D_o / D_e (Krippendorff 2011).
    - ``alpha_areas``: his α for interval data; pictures are the units, shares of painted pixels the values; not of one
      picture alone.
    - ``fleiss_kappa``: Fleiss 1971, over pixels; where pictures have different numbers of annotators, with each pixel's
      own number in its term, and the shares of all ratings as chance.
    """
    of = dict(zip(SUMS, np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0), strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        all_ratings = of["painted"] + of["unpainted"]
        share = of["painted"] / all_ratings
        chance = share**2 + (1 - share) ** 2
        product = of["painted"] * of["unpainted"]
        scatter = of["ratings"] * of["squares"] - of["areas"] ** 2
        found = {
            "dice": of["dice"] / of["pictures"],
            "iou": of["iou"] / of["pictures"],
            "alpha_pixels": np.where(product > 0, 1 - of["within"] * (all_ratings - 1) / product, np.nan),
            "alpha_areas": np.where(
                (scatter > 1e-12 * of["ratings"]) & (of["pictures"] > 1),
                1 - of["spread"] * (of["ratings"] - 1) / (2 * scatter),
                np.nan,
            ),
            "fleiss_kappa": np.where(product > 0, (1 - of["differing"] / of["pixels"] - chance) / (1 - chance), np.nan),
        }
    return {name: np.asarray(value) for name, value in found.items()}


def weights(seed: int, source_id: str, replicates: int) -> Floats:
    """Returns how many times a picture counts in each replicate, [replicates]."""
    return rng.numpy_generator(seed, "agreement", source_id).poisson(1.0, replicates).astype(np.float64)


class Totals:
    """Sums over the pictures of a group, and the same in every bootstrap replicate."""

    def __init__(self, size: int, replicates: int) -> None:
        self.sums = np.zeros(size)
        self.drawn = np.zeros((replicates, size))

    def add(self, sums: Floats, times: Floats) -> None:
        """Adds a picture that counts so many times in each replicate."""
        self.sums += sums
        self.drawn += times[:, None] * sums[None, :]

    def measures(self) -> dict[str, Any]:
        """Returns each measure with its 95 % interval over pictures, of sums in the order of ``SUMS``."""
        point, drawn, pictures = indices(self.sums), indices(self.drawn), int(self.sums[0])
        shown = slice(None) if pictures >= LEAST_PICTURES else slice(0)
        table = {name: estimate(float(point[name]), drawn[name][shown], pictures) for name in point}
        return {"pictures": pictures, **table}


def estimate(value: float, drawn: Floats, units: int) -> dict[str, float | None]:
    """Returns a value ± t(N − 1) × the standard error from its replicates; ``None`` for what is not defined.

    The error is the replicates' standard deviation times √(N / (N − 1)): with few units their percentiles are too sure.
    Nothing above 1 or below −1, which no measure of agreement can be. Without an interval where fewer than nine in ten
    replicates have a value.

    Args:
        value: of all units.
        drawn: of the bootstrap replicates.
        units: pictures or annotators that were resampled, N.
    """
    usable = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(drawn) or len(usable) < 0.9 * len(drawn):
        return {"estimate": value if np.isfinite(value) else None, "low": None, "high": None}
    half = float(student.ppf(0.975, units - 1) * usable.std(ddof=1) * np.sqrt(units / (units - 1)))
    return {"estimate": value, "low": max(value - half, -1.0), "high": min(value + half, 1.0)}


def over_annotators(pairs: Mapping[tuple[str, str], Floats]) -> dict[str, Any]:
    """Returns the mean Dice and IoU of two annotators on a picture, with intervals over annotators.

    ± t(N − 1) × the jackknife's standard error: each annotator is left out with all pairs it belongs to. A bootstrap of
    few annotators is too sure, since pairs of an annotator with itself do not count.

    Args:
        pairs: of each two annotators: pictures that both have masks of, sum of Dice, sum of IoU.
    """
    names = sorted({name for pair in pairs for name in pair})
    if len(names) < _LEAST_ANNOTATORS:
        reason = f"an interval over annotators needs at least {_LEAST_ANNOTATORS}, got {len(names)}"
        return {"not_estimable": {"reason": "few annotators", "message": reason}}
    place = {name: index for index, name in enumerate(names)}
    own = np.zeros((len(names), 3))
    for pair, values in pairs.items():
        own[[place[name] for name in pair]] += values
    whole = own.sum(axis=0) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = (whole - own)[:, 1:] / (whole - own)[:, :1]
    return {
        name: _jackknifed(float(whole[column] / whole[0]), left[:, column - 1])
        for column, name in ((1, "dice"), (2, "iou"))
    }


def _jackknifed(value: float, left: Floats) -> dict[str, float | None]:
    count = len(left)
    if not np.isfinite(left).all():
        return {"estimate": value, "low": None, "high": None}
    half = float(student.ppf(0.975, count - 1) * left.std() * np.sqrt(count - 1))
    return {"estimate": value, "low": max(value - half, -1.0), "high": min(value + half, 1.0)}


def check_replicates(replicates: int) -> None:
    """Refuses a number of replicates of which no interval can be made.

    Raises:
        DataError: it is neither 0 (no intervals) nor at least 100.
    """
    if replicates and replicates < 100:
        raise DataError(f"bootstrap: expected 0 (no intervals) or at least 100 replicates, got {replicates}")
