"""Simulated evaluations of machines whose law is known: accuracy, its half-way point, paired comparisons and seeds.

log2 of the least ε that fools a machine on a picture is drawn by picture; some pictures are wrong unattacked. What is
shared by the machines on a picture makes them err on the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr

from analysis import robustness
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from benchmarks.coverage import joint_studies
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.cell import Cell
from core import rng

EPS = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
LEVEL, ALPHA = 0.95, 0.05
MIDDLE, SCALE, CLEAN = (
    5.0,
    0.6,
    0.95,
)  # ε that fools half the pictures; logistic scale in octaves; share right unattacked
SHARED, OWN = 1.0, 0.7  # sd of the least ε in octaves: by picture, and by picture and machine
BATCH = 50  # studies at a time


def curve(right: Floats, name: str = "a", *, by_picture: bool = True) -> MachineCurve:
    """Returns the curve of a machine that is right on pictures [I, K]."""
    count = len(right)
    return MachineCurve(
        model=name, run=name, attack="pgd", region="full", eps=EPS, correct=right.sum(axis=0),
        pictures=np.full(len(EPS), float(count)), names=tuple(f"i{index:04d}" for index in range(count)) if by_picture
        else (), right=right if by_picture else None, classes=None,
    )  # fmt: skip


def standing(least: Floats, clean: np.ndarray) -> Floats:
    """Returns whether pictures stay right, [I, K], whose least ε that fools is given in log2, [I]."""
    with np.errstate(divide="ignore"):
        return np.asarray(clean[:, None] & (np.log2(EPS) < least[:, None]), dtype=float)


# ---- accuracy at each ε ----


def accuracies(pictures: int, seed: int, number: int) -> list[dict[str, tuple[float, float]]]:
    """Returns Wilson intervals less the truth of machines that are robust to different degrees, at ε = 0 and 4."""
    generator = rng.numpy_generator(seed, "coverage of accuracies", pictures, number)
    rows = []
    for middle, clean in zip(generator.uniform(0, 4, BATCH), generator.uniform(0.7, 0.98, BATCH), strict=True):
        right = standing(middle + generator.standard_normal(pictures), generator.random(pictures) < clean)
        found = {row["eps"]: row["accuracy"] for row in robustness.accuracy([curve(right)], LEVEL)}
        truth = {0.0: clean, 4.0: clean * ndtr(middle - 2)}
        rows.append({f"{eps:g}": (found[eps]["low"] - p, found[eps]["high"] - p) for eps, p in truth.items()})
    return rows


def accuracy_shares(rows: Sequence[list[dict[str, Any]]]) -> list[Share]:
    """Returns the coverage of Wilson's interval."""
    studies = [study for batch in rows for study in batch]
    return [
        covered(f"robust accuracy at ε = {eps}, Wilson", [study[eps] for study in studies], 0.0, "inside")
        for eps in studies[0]
    ]


# ---- the psychometric function of a machine ----


@dataclass(frozen=True, kw_only=True)
class Falling:
    """A machine whose accuracy falls by the logistic law, tried on so many pictures."""

    pictures: int
    by_picture: bool = True

    @property
    def words(self) -> str:
        """The machine in words."""
        known = "" if self.by_picture else ", without outcomes by picture"
        return f"a machine's accuracy over ε, {self.pictures} pictures{known}"


def half_way(law: Falling, seed: int, number: int) -> list[tuple[float, float] | None]:
    """Returns intervals of log2 ε₅₀ of a batch of evaluations; ``None`` where there is none."""
    generator = rng.numpy_generator(seed, "coverage of machines' curves", law.words, number)
    study = replace(joint_studies.study(joint_studies.SHAPES[0], 0, 0), replicates=200)
    found = []
    for _ in range(BATCH // 5):
        least = np.log2(MIDDLE) + SCALE * generator.logistic(size=law.pictures)
        right = standing(least, generator.random(law.pictures) < CLEAN)
        found.append(_half_way(study, curve(right, by_picture=law.by_picture)))
    return found


def _half_way(study: Study, own: MachineCurve) -> tuple[float, float] | None:
    eps50 = robustness.psychometric(study, own)["eps50"]
    if eps50 is None:
        return None
    low, high = eps50["low"], eps50["high"]
    return -np.inf if low is None else np.log2(low), np.inf if high is None else np.log2(high)


def half_way_shares(rows: Sequence[list[tuple[float, float] | None]]) -> list[Share]:
    """Returns the coverage of a machine's ε₅₀."""
    known = [interval for batch in rows for interval in batch if interval is not None]
    return [covered("machine's ε₅₀, pictures resampled", known, float(np.log2(MIDDLE)), "inside")]


# ---- comparisons on the same pictures ----


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Three machines on the same pictures; each is more robust than the one before by ``shift`` octaves."""

    pictures: int
    shift: float = 0.0

    @property
    def words(self) -> str:
        """The machines in words."""
        apart = f"{self.shift:g} octave apart" if self.shift else "equally robust"
        return f"three machines, {apart}, on the same {self.pictures} pictures"


def compared(law: Compared, seed: int, number: int) -> list[dict[str, Any]]:
    """Returns what a batch of comparisons says of the first two machines at ε = 4, and the least corrected p."""
    generator = rng.numpy_generator(seed, "coverage of machines' comparisons", law.words, number)
    return [_compared(law, generator) for _ in range(BATCH)]


def _compared(law: Compared, generator: np.random.Generator) -> dict[str, Any]:
    shared, clean = SHARED * generator.standard_normal(law.pictures), generator.random(law.pictures) < CLEAN
    curves = [
        curve(standing(2 + law.shift * index + shared + OWN * generator.standard_normal(law.pictures), clean), name)
        for index, name in enumerate("abc")
    ]
    rows = robustness.comparisons(curves, LEVEL)
    first = next(row for row in rows if (row["second"], row["eps"]) == ("b", 4.0))
    bounds = first["difference"]["low"], first["difference"]["high"]
    return {"difference": bounds, "p": first["p"], "p_holm": min(row["p_holm"] for row in rows)}


def compared_shares(law: Compared, rows: Sequence[list[dict[str, Any]]]) -> list[Share]:
    """Returns the coverage of Tango's interval and, of machines that are alike, how often the tests err."""
    studies = [study for batch in rows for study in batch]
    nodes, weights = hermegauss(61)
    right = [CLEAN * ndtr((law.shift * index + SHARED * nodes) / OWN) @ (weights / weights.sum()) for index in range(2)]
    found = [
        covered("difference of two accuracies, Tango", [study["difference"] for study in studies],
                float(right[1] - right[0]), "inside")
    ]  # fmt: skip
    if law.shift == 0:
        found += [
            erred("McNemar's exact test of two machines", [study["p"] < ALPHA for study in studies], "not above"),
            erred("any comparison of three machines at seven ε, after Holm",
                  [study["p_holm"] < ALPHA for study in studies], "not above"),
        ]  # fmt: skip
    return found


# ---- training seeds ----


def trainings(seeds: int, seed: int, number: int) -> list[tuple[float, float]]:
    """Returns intervals less the truth of the mean accuracy at ε = 4 of trainings that differ in the seed."""
    generator = rng.numpy_generator(seed, "coverage of training seeds", seeds, number)
    found = []
    for _ in range(BATCH):
        pictures, training = SHARED * generator.standard_normal(300), 0.3 * generator.standard_normal((seeds, 1))
        values = (2 + pictures + training + OWN * generator.standard_normal((seeds, 300)) > 2).mean(axis=1)
        _, low, high = robustness.over_seeds(values[:, None], LEVEL)
        truth = ndtr(pictures / np.hypot(OWN, 0.3)).mean()
        found.append((float(low[0] - truth), float(high[0] - truth)))
    return found


def training_shares(rows: Sequence[list[tuple[float, float]]]) -> list[Share]:
    """Returns the coverage of the mean over training seeds."""
    known = [interval for batch in rows for interval in batch]
    return [covered("mean accuracy over training seeds, on these pictures", known, 0.0, "inside")]


CELLS = (
    *(
        Cell(name=f"machines-accuracy-{count}", words=f"machines of varied robustness on {count} pictures", times=40,
             one=partial(accuracies, count), shares=accuracy_shares)
        for count in (30, 300)
    ),
    *(
        Cell(name=f"machines-curve-{law.pictures}{'' if law.by_picture else '-counts'}", words=law.words, times=40,
             one=partial(half_way, law), shares=half_way_shares)
        for law in (Falling(pictures=40), Falling(pictures=200), Falling(pictures=200, by_picture=False))
    ),
    *(
        Cell(name=f"machines-compared-{law.pictures}-{law.shift:g}", words=law.words, times=40,
             one=partial(compared, law), shares=partial(compared_shares, law))
        for law in (Compared(pictures=30), Compared(pictures=200), Compared(pictures=200, shift=0.5))
    ),
    *(
        Cell(name=f"machines-seeds-{count}", words=f"one method trained with {count} seeds, 300 pictures", times=40,
             one=partial(trainings, count), shares=training_shares)
        for count in (3, 5)
    ),
)  # fmt: skip
