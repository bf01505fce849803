"""d′, criterion, bias and rates of pooled answers in the three tasks, and ROC, d_a and slope of confidence ratings.

The truth is the quantity at the rates of the whole population, which follow from the law by quadrature; for ratings it
is in closed form, since participants differ in the places of their criteria and their sensitivity by normal shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from analysis.intervals import clustered_wilson
from analysis.likelihood import Floats
from analysis.sensitivity.cells import by_cell, by_rating
from analysis.signal_detection import different_rate
from analysis.trials import Task
from benchmarks.coverage.acceptance import Share, covered
from benchmarks.coverage.answered import export_of, shown
from benchmarks.coverage.cell import Cell
from core import rng

EPS = (0.0, 2.0, 4.0, 8.0)
JUDGED = (1, 3)  # cells: hardly seen, and mostly
EPS_DPRIME1, EXPONENT, LAPSE = 5.0, 1.3, 0.02
# criterion, side bias, criterion of differences
SHIFT: dict[Task, float] = {"yes-no": 0.7, "2afc": 0.2, "same-different": 2.0}
NOISE = 3  # times as many trials without signal as of each ε
REPLICATES = 200
NODES = 41
WORDS = {
    "d_prime": "d′", "criterion": "criterion c", "log_beta": "ln β", "bias": "side bias",
    "d_prime_independent": "d′, independent observations", "rate": "detection rate",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sensing:
    """``trials`` an ε and participant; log2 ε₁ ± ``sd`` octaves and criterion ± ``sd_shift`` over participants."""

    task: Task
    participants: int
    trials: int = 20
    sd: float = 0.5
    sd_shift: float = 0.3

    @property
    def words(self) -> str:
        """The design in words."""
        return (
            f"{self.task}, {self.participants} participants × {self.trials} trials a level, sd of log₂ ε₁ {self.sd:g} "
            f"octaves, sd of the criterion {self.sd_shift:g}"
        )

    @property
    def shown(self) -> np.ndarray:
        """Trials of each cell."""
        first = 0 if self.task == "2afc" else NOISE * self.trials
        return np.array([first] + [self.trials] * (len(EPS) - 1))


def probability(design: Sensing, eps: Floats, threshold: Floats, shift: Floats, side: Floats) -> Floats:
    """Returns P(yes) of participants whose log2 ε₁ and criterion deviate; in 2afc of the right answer; broadcasts."""
    d = (eps / (EPS_DPRIME1 * 2 ** (design.sd * threshold))) ** EXPONENT
    k = SHIFT[design.task] + design.sd_shift * shift
    if design.task == "same-different":
        seen = different_rate(d, k)
    else:
        seen = ndtr(d - k) if design.task == "yes-no" else ndtr((d + side * k) / np.sqrt(2))
    return np.asarray(LAPSE / 2 + (1 - LAPSE) * seen)


def population(design: Sensing, side: float = 0.0) -> Floats:
    """Returns the population's rates, [L]."""
    nodes, weights = hermegauss(NODES)
    each = probability(design, np.array(EPS)[:, None, None], nodes[:, None], nodes, np.array(side))
    weights = weights / weights.sum()
    return np.asarray(each @ weights @ weights)


def truth(design: Sensing) -> dict[str, Floats]:
    """Returns what each quantity is at the rates of the population, [L]."""
    p = population(design)
    z, z_false = ndtri(p), ndtri(p[0])
    if design.task == "yes-no":
        c = -(z + z_false) / 2
        return {"d_prime": z - z_false, "criterion": c, "log_beta": c * (z - z_false), "rate": p}
    if design.task == "2afc":
        sides = [population(design, side) for side in (-1.0, 1.0)]
        left, right = (ndtri(share) for share in sides)
        return {"d_prime": (left + right) / np.sqrt(2), "bias": (right - left) / 2, "rate": (sides[0] + sides[1]) / 2}
    k = -np.sqrt(2) * ndtri(p[0] / 2)
    d = [brentq(lambda d, hit=hit: different_rate(d, k) - hit, 0, 20) if hit > p[0] else 0.0 for hit in p]
    unbiased = ndtr((z - z_false) / 2)
    return {"d_prime": np.array(d), "d_prime_independent": 2 * ndtri((1 + np.sqrt(2 * unbiased - 1)) / 2), "rate": p}


def one(design: Sensing, seed: int, number: int) -> dict[str, list[tuple[float, float]]]:
    """Returns the intervals of one study, by quantity those of the judged cells."""
    generator = rng.numpy_generator(seed, "coverage", design.words, number)
    person, cell = shown(design.participants, design.shown)
    threshold, shift = generator.standard_normal((2, design.participants))[:, person]
    side = np.where(np.arange(len(cell)) % 2, 1, -1) if design.task == "2afc" else np.zeros(len(cell), int)
    p = probability(design, np.array(EPS)[cell], threshold, shift, side.astype(float))
    export = export_of(design.task, EPS, person, cell, generator.random(len(cell)) < p, side=side)
    rows = by_cell(export, REPLICATES, number)
    found = {
        name: [(rows[index - 1][name]["low"], rows[index - 1][name]["high"]) for index in JUDGED]
        for name in WORDS
        if name in rows[0]
    }
    low, high = clustered_wilson(export.cells.yes, export.cells.trials)
    return found | {"rate": [(float(low[index]), float(high[index])) for index in JUDGED]}


def shares(design: Sensing, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of each quantity at each judged ε."""
    true = truth(design)
    return [
        covered(f"{WORDS[name]} at ε = {EPS[index]:g}", [row[name][place] for row in rows], float(true[name][index]),
                "inside")
        for name in rows[0]
        for place, index in enumerate(JUDGED)
    ]  # fmt: skip


# ---- ratings ----

MU, SIGMA, SD_MU, SD_CRITERION = 1.2, 1.3, 0.4, 0.4
CUTS = np.array([-0.3, 0.2, 0.7, 1.2, 1.7])  # six ratings: three grades of confidence with "no" and with "yes"
RATED = np.array([60, 40])  # trials of a participant: without signal, with


def rated(participants: int, seed: int, number: int) -> dict[str, tuple[float, float] | None]:
    """Returns the intervals of area, d_a and zROC slope of one study with confidence ratings."""
    generator = rng.numpy_generator(seed, "coverage of ratings", participants, number)
    person, cell = shown(participants, RATED)
    deviates = generator.standard_normal((2, participants))[:, person]
    mean = np.where(cell == 1, MU + SD_MU * deviates[0], 0.0)
    evidence = mean + np.where(cell == 1, SIGMA, 1.0) * generator.standard_normal(len(cell))
    place = np.searchsorted(CUTS, evidence + SD_CRITERION * deviates[1])
    rating = np.where(place < 3, place - 3, place - 2)
    export = export_of("yes-no", (0.0, 8.0), person, cell, rating > 0, rating=rating)
    row = by_rating(export, REPLICATES, number)[0]
    return {
        name: None if row[name] is None else (row[name]["low"], row[name]["high"])
        for name in ("area", "d_a", "zroc_slope")
    }


def rating_truth() -> dict[str, float]:
    """Returns what the pooled ratings of the population obey: two normal distributions, wider than anybody's own."""
    noise, signal = np.sqrt(1 + SD_CRITERION**2), np.sqrt(SIGMA**2 + SD_MU**2 + SD_CRITERION**2)
    false, hit = (np.concatenate([[0.0], ndtr((mean - CUTS) / sd)[::-1], [1.0]]) for mean, sd in
                  ((0.0, noise), (MU, signal)))  # fmt: skip
    return {
        "area": float(np.trapezoid(hit, false)),
        "d_a": float(MU / np.sqrt((noise**2 + signal**2) / 2)),
        "zroc_slope": float(noise / signal),
    }


def rated_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of what ratings give."""
    true = rating_truth()
    words = {"area": "area under the ROC curve", "d_a": "d_a", "zroc_slope": "zROC slope"}
    return [
        covered(words[name], [row[name] for row in rows if row[name] is not None], value, "inside")
        for name, value in true.items()
    ]


CELLS = (
    *(
        Cell(name=f"sensitivity-{design.task}-p{design.participants}", words=design.words, times=400,
             one=partial(one, design), shares=partial(shares, design))
        for design in (Sensing(task=task, participants=people) for task in SHIFT for people in (8, 20))
    ),
    *(
        Cell(name=f"confidence-p{people}", times=400, one=partial(rated, people), shares=rated_shares,
             words=f"confidence ratings, {people} participants × {RATED.sum()} trials who differ in criterion and d′")
        for people in (8, 20)
    ),
)  # fmt: skip
