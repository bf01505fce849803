"""Simulated answers to single pictures: how often each fools unseen, and the pictures that are listed for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr

from analysis import picture_view
from analysis.likelihood import Floats
from analysis.signal_detection import d_prime_at
from benchmarks.coverage.acceptance import Share, covered
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.joint_studies import ALPHA, EPS
from core import rng

PICTURES, MODEL = 60, "a"
SD_PEOPLE, SD_PICTURE, SD_CRITERION, SD_FOOLED = 0.35, 0.6, 0.3, 1.0  # octaves, but of the criterion
MIDDLE, FOOLED, EXPONENT, CRITERION, LAPSE = 8.0, 4.0, 1.3, 0.7, 0.02
NODES, WEIGHTS = hermegauss(61)


def one(people: int, rounds: int, seed: int, number: int) -> dict[str, tuple[float, float] | None]:
    """Returns intervals less the truth: of the first picture, and of one of those that are listed.

    Every participant sees every picture ``rounds`` times, each time at another ε of the ladder.
    """
    generator = rng.numpy_generator(seed, "coverage of single pictures", people, rounds, number)
    deviate = SD_PICTURE * generator.standard_normal(PICTURES)
    fools = np.log2(EPS) >= (np.log2(FOOLED) + SD_FOOLED * generator.standard_normal((PICTURES, 1)))
    shown = np.argsort(generator.random((people, PICTURES, len(EPS))), axis=2)[:, :, :rounds]
    threshold = SD_PEOPLE * generator.standard_normal((people, 1, 1)) + deviate[:, None]
    criterion = CRITERION + SD_CRITERION * generator.standard_normal((people, 1, 1))
    yes = generator.random(shown.shape) < np.take_along_axis(_noticed(threshold, criterion, 1.0), shown, axis=2)
    ranked = picture_view.pictures(_rows(shown, yes, fools), 1 - ALPHA)
    top, truth = picture_view.listed(ranked, ALPHA), true_rates(deviate, fools)
    first = next(row for row in ranked if row["source_id"] == "00")
    return {"any": _less(first, truth), "listed": _less(top[number % len(top)], truth) if top else None}


def _noticed(octaves: Floats, criterion: Floats | float, spread: float) -> Floats:
    """P(yes) at every ε, [P, I, K], with thresholds so many octaves from the middle one; ``spread`` of the evidence."""
    d = d_prime_at(np.array(EPS), np.log2(MIDDLE) + octaves, np.array(EXPONENT))
    return np.asarray(LAPSE / 2 + (1 - LAPSE) * ndtr((d - criterion) / spread))


def true_rates(deviate: Floats, fools: np.ndarray) -> Floats:
    """Returns how often each picture fools unseen, over all participants and ε, [I]; by quadrature."""
    each = _noticed(SD_PEOPLE * NODES[:, None, None] + deviate[:, None], CRITERION, float(np.hypot(1, SD_CRITERION)))
    unseen = 1 - np.tensordot(WEIGHTS / WEIGHTS.sum(), each, axes=1)
    return np.asarray((fools * unseen).mean(axis=1))


def _rows(shown: np.ndarray, yes: np.ndarray, fools: np.ndarray) -> list[dict[str, Any]]:
    """The answers as ``picture_view.stimuli`` has them."""
    return [
        {
            "source_id": f"{picture:02d}", "model": MODEL, "fooled": bool(fools[picture, level]),
            "answers": int((own := shown[:, picture] == level).sum()), "seen": int(yes[:, picture][own].sum()),
        }
        for picture in range(PICTURES)
        for level in range(len(EPS))
    ]  # fmt: skip


def _less(row: dict[str, Any], truth: Floats) -> tuple[float, float]:
    true = float(truth[int(row["source_id"])])
    return row["rate"]["low"] - true, row["rate"]["high"] - true


def shares(rows: Sequence[dict[str, tuple[float, float] | None]]) -> list[Share]:
    """Returns the coverage of single pictures' intervals, and of the listed ones."""
    words = {"any": "share of answers that a picture fools unseen, Wilson", "listed": "the same of pictures listed"}
    known = {name: [found for row in rows if (found := row[name]) is not None] for name in words}
    return [covered(words[name], known[name], 0.0, "not below") for name in words]


CELLS = tuple(
    Cell(name=f"pictures-p{people}-x{rounds}", times=1000, one=partial(one, people, rounds), shares=shares,
         words=f"single pictures, {people} participants, each picture {'once' if rounds == 1 else f'{rounds} times'}")
    for people, rounds in ((8, 1), (24, 1), (24, 3))
)  # fmt: skip
