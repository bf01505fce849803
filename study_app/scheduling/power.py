"""Power by simulation: how often a study of this design would find a stated difference between two source models.

Observers obey the law of ``study_app.observers``: evidence ~ Normal(d′, 1), d′ = (ε / ε₁)^b, compared with a criterion
(yes-no), with the other picture's evidence (2afc), or both (same-different: the difference exceeds a criterion). Each
participant has a threshold and a criterion of their own and, for each of the two models, a deviate of the threshold.

Test: each participant's score of a model is the mean, over its perturbed trials, of the answer (1: detected) less the
mean answer at that ε over both models and all participants; the paired difference of the two scores is put to a t test
over participants, two-sided. Where the levels are met equally often it is the difference of two Spearman-Kärber
thresholds. It needs no fit, and it uses less of the data than ``analysis.report`` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from core import rng
from core.errors import StudyError
from study_app.detection import Task
from study_app.researchers.dashboard import Interval, wilson

CELLS_AT_ONCE = 2_000_000  # simulated trials held in memory
Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is assumed of observers; standard deviations are over participants.

    Attributes:
        eps_dprime1: ε₁ in the middle between the two models, grey levels.
        exponent: b.
        sd_log2: of log2 ε₁, shared by the models.
        sd_log2_model: of log2 ε₁, for each model by itself.
        criterion: of yes-no, in standard deviations of the evidence.
        difference_criterion: of same-different.
        sd_criterion: of either.
        lapse: share of trials with a random answer.
    """

    eps_dprime1: float
    exponent: float = 1.3
    sd_log2: float = 0.3
    sd_log2_model: float = 0.15
    criterion: float = 0.7
    difference_criterion: float = 2.0
    sd_criterion: float = 0.3
    lapse: float = 0.02


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The difference that is to be found: ε₁ of the two models as ``ratio``, or their d′ at every ε."""

    ratio: float = 1.0
    dprime: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.ratio) or self.ratio <= 0:
            raise StudyError(f"--ratio: expected a number above 0 (1: no difference), got {self.ratio:g}")
        if not math.isfinite(self.dprime):
            raise StudyError(f"--dprime: expected a number (0: no difference), got {self.dprime:g}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the power is simulated: two-sided ``alpha``, number of ``simulations``, ``seed``."""

    alpha: float = 0.05
    simulations: int = 2000
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise StudyError(f"--alpha: expected a number between 0 and 1, got {self.alpha:g}")
        if self.simulations < 1:
            raise StudyError(f"--simulations: expected at least 1, got {self.simulations}")


def power(
    task: Task,
    levels: tuple[int, ...],
    counts: Counts,
    assumed: Assumed,
    effect: Effect,
    settings: Settings,
    progress: Callable[[int], object] | None = None,
) -> Interval:
    """Returns the share of simulated studies that find the difference, with its 95 % Wilson interval.

    Args:
        task: of the study.
        levels: grey levels above 0, in the order of the last axis of ``counts``.
        counts: perturbed trials of each participant, of each of the two models, at each level [N, 2, L].
        assumed: of the observers.
        effect: the true difference.
        settings: test and simulation.
        progress: is told how many studies were simulated since the last time.

    Raises:
        StudyError: fewer than two participants have trials of both models.
    """
    counts = counts[(counts.sum(axis=2) > 0).all(axis=1)]
    if len(counts) < 2:
        raise StudyError(
            f"power: expected at least two participants with trials of both source models, got {len(counts)}; "
            "ask for more participants or more trials"
        )
    critical = t_critical(len(counts) - 1, settings.alpha)
    found = 0
    for number, studies in enumerate(_chunks(settings.simulations, int(counts.sum()))):
        generator = rng.numpy_generator(settings.seed, "power", number)
        detected = _play(task, levels, counts, assumed, effect, studies, generator)
        found += int((np.abs(_t_values(detected, counts)) > critical).sum())
        if progress is not None:
            progress(studies)
    interval = wilson(found, settings.simulations)
    assert interval is not None
    return interval


def _chunks(simulations: int, trials: int) -> Iterator[int]:
    size = max(1, CELLS_AT_ONCE // trials)
    for start in range(0, simulations, size):
        yield min(size, simulations - start)


def _play(
    task: Task,
    levels: tuple[int, ...],
    counts: Counts,
    assumed: Assumed,
    effect: Effect,
    studies: int,
    generator: np.random.Generator,
) -> Numbers:
    """Returns which trials are detected [studies, trials], by participant, then model, then level."""
    people, models, level = (
        np.repeat(index, counts.ravel()) for index in (i.ravel() for i in np.indices(counts.shape))
    )
    deviates = generator.standard_normal((studies, len(counts), 4))
    log2_threshold = math.log2(assumed.eps_dprime1) + assumed.sd_log2 * deviates[:, people, 0]
    log2_threshold += assumed.sd_log2_model * np.where(models == 0, deviates[:, people, 1], deviates[:, people, 2])
    log2_threshold += np.where(models == 0, 0.5, -0.5) * math.log2(effect.ratio)
    dprime = 2.0 ** (assumed.exponent * (np.log2(np.array(levels))[level] - log2_threshold))
    dprime = np.maximum(dprime + np.where(models == 0, -0.5, 0.5) * effect.dprime, 0.0)
    detected = _detected(task, dprime, assumed, deviates[:, people, 3], generator)
    lapsed = generator.random(detected.shape) < assumed.lapse
    return np.where(lapsed, generator.random(detected.shape) < 0.5, detected).astype(np.float64)


def _detected(
    task: Task, dprime: Numbers, assumed: Assumed, deviate: Numbers, generator: np.random.Generator
) -> NDArray[np.bool_]:
    noise = generator.standard_normal(dprime.shape)
    difference = dprime + math.sqrt(2) * noise
    detected: NDArray[np.bool_]
    match task:
        case "yes-no":
            detected = dprime + noise > assumed.criterion + assumed.sd_criterion * deviate
        case "2afc":
            detected = difference > 0
        case "same-different":
            detected = np.abs(difference) > assumed.difference_criterion + assumed.sd_criterion * deviate
        case _:
            assert_never(task)
    return detected


def _t_values(detected: Numbers, counts: Counts) -> Numbers:
    """Returns the t value of each study, 0 where all differences are the same."""
    level = np.repeat(np.indices(counts.shape)[2].ravel(), counts.ravel())
    at_level = np.eye(counts.shape[2])[level]
    means = detected @ at_level / np.maximum(at_level.sum(axis=0), 1)
    starts = np.concatenate(([0], counts.sum(axis=2).ravel().cumsum()[:-1]))
    scores = np.add.reduceat(detected - means[:, level], starts, axis=1) / counts.sum(axis=2).ravel()
    differences = scores[:, 1::2] - scores[:, 0::2]
    error = differences.std(axis=1, ddof=1) / math.sqrt(len(counts))
    values: Numbers = np.divide(differences.mean(axis=1), error, out=np.zeros(len(error)), where=error > 0)
    return values


def t_critical(freedom: int, alpha: float) -> float:
    """Returns the value that Student's |t| exceeds with probability ``alpha``."""
    low, high = 0.0, 1.0
    while _inside(high, freedom) < 1 - alpha:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < 1 - alpha else (low, middle)
    return high


def _inside(t: float, freedom: int) -> float:
    """Returns P(|T| < t) by the finite series for whole degrees of freedom (Abramowitz & Stegun 26.7.3, 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for number in range(freedom // 2):
        total += term
        step = 2 * number + 1
        term *= math.cos(angle) ** 2 * ((step + 1) / (step + 2) if odd else step / (step + 1))
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
