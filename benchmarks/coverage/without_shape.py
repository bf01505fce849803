"""One curve: thresholds that need no shape, and the test whether another shape fits better than chance would make it.

The truth of a threshold without a shape is what it gives of the true rates at the levels that were tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from analysis.psychometric import compare_families, fit_psychometric, model_free_thresholds, spearman_karber
from analysis.psychometric.model_free import crossing
from benchmarks.coverage.acceptance import Share, covered, erred
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.single_curves import GUESS, Curve, draw_answers
from core import rng

BATCH, BATCHES = 20, 20
SAMPLES = 199
WORDS = {"pava": "isotonic threshold (PAVA)", "spearman_karber": "Spearman-Kärber mean"}


def batch(curve: Curve, seed: int, number: int) -> list[dict[str, Any]]:
    """Returns what 20 data sets say."""
    generator = rng.numpy_generator(seed, "coverage without a shape", curve.words, number)
    answers = draw_answers(curve, BATCH, generator)
    return [_data_set(curve, hits, BATCH * number + each) for each, hits in enumerate(answers)]


def _data_set(curve: Curve, hits: np.ndarray, seed: int) -> dict[str, Any]:
    fit = fit_psychometric(curve.model, curve.levels, hits[None], curve.shown[None])
    found = model_free_thresholds(fit, seed=seed, samples=SAMPLES)
    shapes = compare_families(curve.model, curve.levels, hits, curve.shown, seed=seed, samples=SAMPLES)
    return {
        **{name: (getattr(found, f"{name}_low"), getattr(found, f"{name}_high")) for name in WORDS},
        "p": {each.family: each.favoured_p for each in shapes if each.favoured_p is not None},
    }


def shares(curve: Curve, rows: Sequence[list[dict[str, Any]]]) -> list[Share]:
    """Returns the coverage of both thresholds where they have an interval, and how often a shape is favoured."""
    every = [row for batch_rows in rows for row in batch_rows]
    signal, guess = np.isfinite(curve.levels), 0.5 if curve.task == "2afc" else GUESS
    rise = (curve.probability[signal] - guess) / (1 - guess - curve.lapse)
    x = curve.levels[signal]
    truth = {"pava": crossing(x, rise, 0.5), "spearman_karber": spearman_karber(x, rise)}
    found = []
    for name, words in WORDS.items():
        known = [row[name] for row in every if np.isfinite(row[name]).all()]
        found.append(covered(words, known, truth[name], "inside"))
    for family in every[0]["p"]:
        small = [row["p"][family] <= 0.05 for row in every]
        found.append(erred(f"test whether {family} is favoured over the true {curve.fitted}", small, "inside"))
    return found


CELLS = tuple(
    Cell(name=f"without-shape-{curve.name}", times=BATCHES, one=partial(batch, curve), shares=partial(shares, curve),
         words=f"without a shape: {curve.words}")
    for curve in (
        *(Curve(task="yes-no", trials=n) for n in (20, 40, 160)),
        *(Curve(task="2afc", trials=n) for n in (40, 160)),
        Curve(task="yes-no", trials=40, family="gumbel", fitted="gumbel"),
    )
)  # fmt: skip
