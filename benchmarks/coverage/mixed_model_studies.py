"""Studies that obey the mixed model, or nearly: how often the intervals that the report prints cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from analysis.intervals import t_quantile
from analysis.mixed_models import Trials, fit_detection, marginal_log2_eps
from benchmarks.coverage.acceptance import Gate, Share, covered
from benchmarks.coverage.people import EPS, EPS_DPRIME1, EXPONENT
from core import rng

TRIALS = 10  # at each ε and source model
CRITERION, CRITERION_SD, SLOPE_SD, PICTURE_SD = 0.7, 0.3, 0.25, 0.3
SD_MODEL = 0.25  # octaves, where people differ more towards one source model than towards the other
SMALL = 20  # participants; with fewer the error of the answers outweighs that of people
HEAVY = 3  # degrees of freedom of people's effects where these have heavy tails
WORDS = {"": "", "own": ", people differ in their own way towards each model", "heavy": ", people with heavy tails"}
LOG2_TRUTH = float(np.log2(EPS_DPRIME1))


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """A design: two equal source models; ``wrong``: how the answers depart from the model that is fitted."""

    participants: int
    pictures: int
    lapse: float = 0.02
    wrong: Literal["", "own", "heavy"] = ""

    @property
    def name(self) -> str:
        """The cell's name."""
        wrong = f"-{self.wrong}" if self.wrong else ""
        return f"mixed-p{self.participants}-g{self.pictures}-lapse{self.lapse:g}{wrong}"

    @property
    def words(self) -> str:
        """The design in words."""
        return (
            f"mixed model: {self.participants} participants × {self.pictures} pictures, 2 source models × 6 ε × "
            f"{TRIALS} trials, λ {self.lapse:g}{WORDS[self.wrong]}"
        )


CROSSED = (
    Crossed(participants=20, pictures=40),
    Crossed(participants=20, pictures=10),
    Crossed(participants=8, pictures=40),
    Crossed(participants=8, pictures=10),
    Crossed(participants=20, pictures=40, lapse=0.05),
    Crossed(participants=20, pictures=40, wrong="own"),
    Crossed(participants=20, pictures=40, wrong="heavy"),
)


def answers(design: Crossed, generator: np.random.Generator) -> Trials:
    """Returns one study; each participant meets the pictures in an order of their own."""
    people, pictures = design.participants, design.pictures
    person, picture, cell = _crossed(design, generator)
    eps, model = np.array([0.0, *EPS, *EPS])[cell], np.array([-1] + [0] * len(EPS) + [1] * len(EPS))[cell]
    k, slope = _effects(design, generator)
    own = SD_MODEL * generator.standard_normal((people, 2)) * (design.wrong == "own")
    d = np.minimum((eps / (EPS_DPRIME1 * 2 ** own[person, np.maximum(model, 0)])) ** EXPONENT, 50.0)
    effect = PICTURE_SD * generator.standard_normal(pictures)
    p = ndtr(slope[person] * d - k[person] + effect[picture])
    yes = generator.random(len(cell)) < design.lapse / 2 + (1 - design.lapse) * p
    return Trials(participant=person, picture=picture, eps=eps, model=model, yes=yes * 1.0, trials=np.ones(len(yes)))


def _effects(design: Crossed, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Criterion and slope of each participant."""
    normal = generator.standard_normal((2, design.participants))
    if design.wrong == "heavy":
        normal = generator.standard_t(HEAVY, (2, design.participants)) / np.sqrt(HEAVY / (HEAVY - 2))
    return CRITERION + CRITERION_SD * normal[0], 1 + SLOPE_SD * normal[1]


def _crossed(design: Crossed, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Participant, picture and cell of every trial."""
    own = np.repeat(np.arange(1 + 2 * len(EPS)), [2 * TRIALS] + [TRIALS] * 2 * len(EPS))
    rounds = -(-len(own) // design.pictures)
    order = [
        np.concatenate([generator.permutation(design.pictures) for _ in range(rounds)])[: len(own)]
        for _ in range(design.participants)
    ]
    return np.repeat(np.arange(design.participants), len(own)), np.concatenate(order), np.tile(own, design.participants)


def one(design: Crossed, seed: int, number: int) -> dict[str, Any] | None:
    """Returns the intervals of one study as the report gives them; ``None`` where it says that the fit failed."""
    found = fit_detection(answers(design, rng.numpy_generator(seed, "coverage", design.name, number)))
    if not found.fit.converged:
        return None
    t = t_quantile(design.participants)
    averaged, spread = marginal_log2_eps(found)
    ratio = found.log2_eps_dprime1[0] - found.log2_eps_dprime1[1]
    variance = found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1]
    return {
        "conditional": _interval(found.log2_eps_dprime1[0], found.covariance[0, 0], t),
        "marginal": _interval(averaged[0], spread[0, 0], t),
        "ratio": _interval(ratio, variance, t),
        "criterion": _interval(found.criterion, found.fit.covariance[0, 0], t),
    }


def _interval(estimate: float, variance: float, t: float) -> tuple[float, float]:
    half = t * float(np.sqrt(variance))
    return float(estimate) - half, float(estimate) + half


def marginal_truth() -> float:
    """Returns log2 of the ε at which the d′ of the averaged answers is 1, by the law that made the answers."""

    def excess(d: float) -> float:
        noise = 1 + CRITERION_SD**2 + PICTURE_SD**2
        return float((d - CRITERION) / np.sqrt(noise + (SLOPE_SD * d) ** 2) + CRITERION / np.sqrt(noise) - 1)

    return LOG2_TRUTH + float(np.log2(brentq(excess, 0.0, 8.0))) / EXPONENT


def shares(design: Crossed, rows: Sequence[dict[str, Any] | None]) -> list[Share]:
    """Returns the coverage of every interval that the report prints; of wrong models it is reported only."""
    fitted = [row for row in rows if row is not None]
    conservative: Gate = "not below" if design.participants < SMALL else "inside"  # t is for people's part of the error
    gate: Gate = "reported" if design.wrong else conservative
    truths = {
        "conditional": ("ε at d′ = 1 of the typical observer, mixed model", LOG2_TRUTH),
        "ratio": ("ratio of two models' ε at d′ = 1, mixed model", 0.0),
        "criterion": ("criterion of the typical observer, mixed model", CRITERION),
    }
    if not design.wrong:
        truths["marginal"] = ("ε at d′ = 1 of the averaged answers, mixed model", marginal_truth())
    return [covered(words, [row[key] for row in fitted], truth, gate) for key, (words, truth) in truths.items()]
