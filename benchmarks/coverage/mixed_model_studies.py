"""Studies that obey the mixed model, or nearly: how often its intervals cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from analysis.intervals import NORMAL
from analysis.mixed_models import Trials, fit_detection
from benchmarks.coverage.acceptance import Share, covered
from benchmarks.coverage.people import EPS, EPS_DPRIME1, EXPONENT
from core import rng

PARTICIPANTS, PICTURES, TRIALS = 20, 40, 10
CRITERION, CRITERION_SD, SLOPE_SD, PICTURE_SD = 0.7, 0.3, 0.25, 0.3


def mixed(seed: int, number: int) -> dict[str, Any]:
    """Returns the mixed model's intervals of one study that obeys it: criterion k and log2 ε₁ of both models."""
    generator = rng.numpy_generator(seed, "coverage of the mixed model", number)
    person, picture, cell = _crossed(generator)
    eps = np.array([0.0, *EPS, *EPS])[cell]
    d = np.minimum((eps / EPS_DPRIME1) ** EXPONENT, 50.0)
    k = CRITERION + CRITERION_SD * generator.standard_normal(PARTICIPANTS)
    slope = 1 + SLOPE_SD * generator.standard_normal(PARTICIPANTS)
    effect = PICTURE_SD * generator.standard_normal(PICTURES)
    yes = generator.random(len(cell)) < ndtr(slope[person] * d - k[person] + effect[picture])
    model = np.array([-1] + [0] * len(EPS) + [1] * len(EPS))[cell]
    found = fit_detection(
        Trials(participant=person, picture=picture, eps=eps, model=model, yes=yes * 1.0, trials=np.ones(len(yes)))
    )
    errors = np.sqrt(np.diag(found.covariance))
    ratio = found.log2_eps_dprime1[0] - found.log2_eps_dprime1[1]
    ratio_error = np.sqrt(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    k_error = float(np.sqrt(found.fit.covariance[0, 0]))
    return {
        "log2": _wald(float(found.log2_eps_dprime1[0]), float(errors[0])),
        "ratio": _wald(float(ratio), float(ratio_error)),
        "criterion": _wald(found.criterion, k_error),
    }


def _crossed(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Participant, picture and cell of every trial; each participant meets the pictures in an order of their own."""
    own = np.repeat(np.arange(1 + 2 * len(EPS)), [2 * TRIALS] + [TRIALS] * 2 * len(EPS))
    order = [
        np.concatenate([generator.permutation(PICTURES) for _ in range(-(-len(own) // PICTURES))])[: len(own)]
        for _ in range(PARTICIPANTS)
    ]
    return np.repeat(np.arange(PARTICIPANTS), len(own)), np.concatenate(order), np.tile(own, PARTICIPANTS)


def _wald(estimate: float, error: float) -> tuple[float, float]:
    return estimate - NORMAL * error, estimate + NORMAL * error


def mixed_shares(rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of the mixed model."""
    return [
        covered("ε at d′ = 1 of the typical observer, mixed model", [row["log2"] for row in rows],
                float(np.log2(EPS_DPRIME1)), "inside"),
        covered("ratio of two models' ε at d′ = 1, mixed model", [row["ratio"] for row in rows], 0.0, "inside"),
        covered("criterion of the typical observer, mixed model", [row["criterion"] for row in rows], CRITERION,
                "inside"),
    ]  # fmt: skip
