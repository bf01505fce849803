"""Robot participants' law of seeing and answering: settings and one pure decision function.

Equal-variance signal detection (Green & Swets 1966; Macmillan & Creelman 2005): a picture at ε from source model m
gives evidence ~ Normal(d′, 1), d′ = (ε / ε₁)^b, a reference Normal(0, 1). In yes-no the observer says *yes* when the
evidence exceeds a criterion k; in 2afc it names the side with more evidence; in same-different it says *different* when
the two evidences differ by more than a criterion k_d (differencing rule). On a share λ of trials it lapses. Response
times are ex-Gaussian and shorten with the distance of what is compared from its criterion; confidence grows with that
distance. See docs/contracts.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, assert_never

import numpy as np

from core import config, rng
from core.errors import ConfigError
from study_app.detection import ANSWERS, Task

SHORTEST_RT_MS = 200.0


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A criterion over participants: Normal(mean, sd), in standard deviations of the evidence."""

    mean: float
    sd: float

    def __post_init__(self) -> None:
        _not_negative("criterion.sd", self.sd)


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """How visible one source model's perturbations are.

    Attributes:
        eps_dprime1: ε₁, the ε at which d′ = 1, grey levels (median over participants).
        exponent: b.
        sd_log2: standard deviation over participants of log2 ε₁.
    """

    eps_dprime1: float
    exponent: float
    sd_log2: float = 0.0

    def __post_init__(self) -> None:
        if self.eps_dprime1 <= 0 or self.exponent <= 0:
            raise ConfigError(f"expected eps_dprime1 and exponent above 0, got {self.eps_dprime1} and {self.exponent}")
        _not_negative("sd_log2", self.sd_log2)


@dataclass(frozen=True, kw_only=True)
class ResponseTime:
    """Ex-Gaussian, milliseconds; ``distance_slope`` is taken off ``mu`` per unit |evidence − k|."""

    mu: float
    sigma: float
    tau: float
    distance_slope: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mu", "sigma", "tau"):
            _not_negative(f"response_time.{name}", getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What a robot says of its screen at the device check, and of its bank card; CSS pixels."""

    width: float = 1280.0
    height: float = 800.0
    device_pixel_ratio: float = 1.0
    input: Literal["keyboard", "touch"] = "keyboard"
    card_css_px: float = 323.5


@dataclass(frozen=True, kw_only=True)
class Observers:
    """``observers.toml``: the law that all robots of a simulation obey.

    Attributes:
        seed: of everything that they do.
        criterion: k of yes-no.
        difference_criterion: k_d of same-different; it shares each participant's deviate with ``criterion``.
        lapse: λ, the share of trials with a random answer, whether or not one was asked for.
        confidence_step: distance from the criterion, in standard deviations, from one level of confidence to the next.
        reload: share of main trials in which the page is loaded again before the answer.
        models: a table of ``Visibility`` for each source model.
        response_time: of the answers, and without its ``distance_slope`` of the statements of confidence.
        screen: what is said before the task.
        colour_vision_answers: what is typed for each plate; a robot sees none, so that it is screened out without.
    """

    seed: int
    criterion: Criterion
    lapse: float
    models: dict[str, Any]
    response_time: ResponseTime
    difference_criterion: Criterion = field(default_factory=lambda: Criterion(mean=2.0, sd=0.15))
    confidence_step: float = 0.5
    reload: float = 0.0
    screen: Screen = field(default_factory=Screen)
    colour_vision_answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("lapse", "reload"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected a share between 0 and 1, got {getattr(self, name)}")
        if self.confidence_step <= 0:
            raise ConfigError(f"confidence_step: expected a number above 0, got {self.confidence_step}")
        for run in self.models:
            self.visibility(run)

    def visibility(self, run: str) -> Visibility:
        """Returns the law for one source model.

        Raises:
            ConfigError: the file has no table for it.
        """
        if run not in self.models:
            known = ", ".join(sorted(self.models))
            raise ConfigError(
                f"models: expected a table [models.{run}] for a source model of the stimulus set; has {known}"
            )
        return config.build(Visibility, self.models[run], f"models.{run}")


@dataclass(frozen=True)
class Traits:
    """What sets one robot apart: its criteria, and its deviate of log2 ε₁ in standard deviations."""

    criterion: float
    difference_criterion: float
    deviate: float


class Seen(NamedTuple):
    """A picture as a robot knows it: its source model (``None``: a reference) and ε in grey levels."""

    run: str | None
    eps: int


@dataclass(frozen=True)
class Decision:
    """An answer, its response time, and how sure it was: ``confidence`` is ``None`` where it is not asked."""

    response: str
    rt_ms: float
    confidence: int | None = None
    confidence_rt_ms: float | None = None


def load(path: Path) -> Observers:
    """Returns the observers in a TOML file.

    Raises:
        ConfigError: no such file, or it says something that we do not understand.
    """
    return config.load(Observers, path)


def traits(observers: Observers, robot: int) -> Traits:
    """Returns the traits of the robot with this number, drawn from (seed, robot)."""
    generator = rng.numpy_generator(observers.seed, "robot", robot)
    criterion, deviate = generator.standard_normal(2)
    return Traits(
        criterion=_drawn(observers.criterion, criterion),
        difference_criterion=_drawn(observers.difference_criterion, criterion),
        deviate=float(deviate),
    )


def _drawn(criterion: Criterion, deviate: float) -> float:
    return float(criterion.mean + criterion.sd * deviate)


def dprime(observers: Observers, robot: Traits, run: str | None, eps: int) -> float:
    """Returns d′ of a picture for one robot; 0 for a reference, whose ``run`` is ``None``."""
    if run is None or eps == 0:
        return 0.0
    law = observers.visibility(run)
    threshold = law.eps_dprime1 * 2.0 ** (law.sd_log2 * robot.deviate)
    return float((eps / threshold) ** law.exponent)


def decide(
    observers: Observers,
    robot: int,
    trial: int,
    pictures: Sequence[Seen],
    *,
    task: Task = "yes-no",
    instructed: str | None = None,
    levels: int = 0,
) -> Decision:
    """Returns what a robot answers in a trial, which depends on (seed, robot, trial) and on what is shown alone.

    Args:
        observers: the law.
        robot: its number.
        trial: the trial's name in the session.
        pictures: one, or the left and the right one.
        task: of the study.
        instructed: the answer that is asked for, which the robot gives unless it lapses.
        levels: of confidence; 0: it is not asked.
    """
    generator = rng.numpy_generator(observers.seed, "trial", robot, trial)
    individual = traits(observers, robot)
    evidences = [dprime(observers, individual, *picture) + generator.standard_normal() for picture in pictures]
    distance = _distance(task, evidences, individual)  # above 0: for the first of the task's answers
    response = instructed or ANSWERS[task][0 if distance > 0 else 1]
    distance = 0.0 if instructed else abs(distance)
    if generator.random() < observers.lapse:
        response = ANSWERS[task][0 if generator.integers(2) else 1]
    rt_ms = _response_time(observers.response_time, distance, generator)
    if levels == 0 or instructed:
        return Decision(response, rt_ms)
    confidence = min(levels, 1 + math.floor(distance / observers.confidence_step))
    later = rng.numpy_generator(observers.seed, "confidence", robot, trial)
    return Decision(response, rt_ms, confidence, _response_time(observers.response_time, 0.0, later))


def _distance(task: Task, evidences: Sequence[float], robot: Traits) -> float:
    """Returns how far what is compared is from its criterion, in its own standard deviations."""
    match task:
        case "yes-no":
            return evidences[0] - robot.criterion
        case "2afc":
            left, right = evidences
            return (left - right) / math.sqrt(2)
        case "same-different":
            left, right = evidences
            return (abs(left - right) - robot.difference_criterion) / math.sqrt(2)
        case _:
            assert_never(task)


def reloads(observers: Observers, robot: int, trial: int) -> bool:
    """Returns whether a robot loads the page again in a trial that it has seen and not answered."""
    return bool(rng.numpy_generator(observers.seed, "reload", robot, trial).random() < observers.reload)


def _response_time(law: ResponseTime, distance: float, generator: np.random.Generator) -> float:
    mean = max(law.mu - law.distance_slope * distance, SHORTEST_RT_MS)
    drawn = generator.normal(mean, law.sigma) + generator.exponential(law.tau)
    return float(max(drawn, SHORTEST_RT_MS))


def _not_negative(key: str, value: float) -> None:
    if value < 0:
        raise ConfigError(f"{key}: expected a number of at least 0, got {value}")
