"""Robot participants' law of seeing and answering: settings and one pure decision function.

Equal-variance signal detection (Green & Swets 1966): a picture at ε from source model m gives evidence ~ Normal(d′, 1),
d′ = (ε / ε₁)^b; the answer is *yes* when the evidence exceeds a criterion k; on a share λ of trials the observer
lapses. Response times are ex-Gaussian and shorten with the distance of the evidence from k. See docs/contracts.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core import config, rng
from core.errors import ConfigError

SHORTEST_RT_MS = 200.0
Answer = Literal["yes", "no"]


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """k over participants: Normal(mean, sd), in standard deviations of the evidence."""

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
class Observers:
    """``observers.toml``: the law that all robots of a simulation obey."""

    seed: int
    criterion: Criterion
    lapse: float
    models: dict[str, Any]
    response_time: ResponseTime

    def __post_init__(self) -> None:
        if not 0 <= self.lapse <= 1:
            raise ConfigError(f"lapse: expected a share between 0 and 1, got {self.lapse}")
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
    """What sets one robot apart: its criterion, and its deviate of log2 ε₁ in standard deviations."""

    criterion: float
    deviate: float


@dataclass(frozen=True)
class Decision:
    """An answer and its response time in milliseconds."""

    response: Answer
    rt_ms: float


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
    return Traits(observers.criterion.mean + observers.criterion.sd * criterion, float(deviate))


def dprime(observers: Observers, robot: Traits, run: str | None, eps: int) -> float:
    """Returns d′ of a picture for one robot; 0 for a reference, whose ``run`` is ``None``."""
    if run is None or eps == 0:
        return 0.0
    law = observers.visibility(run)
    threshold = law.eps_dprime1 * 2.0 ** (law.sd_log2 * robot.deviate)
    return float((eps / threshold) ** law.exponent)


def decide(observers: Observers, robot: int, trial: int, run: str | None, eps: int) -> Decision:
    """Returns what the robot with this number answers at trial ``trial`` to a picture of ``run`` at ``eps``."""
    individual = traits(observers, robot)
    generator = rng.numpy_generator(observers.seed, "trial", robot, trial)
    evidence = dprime(observers, individual, run, eps) + generator.standard_normal()
    says_yes = bool(evidence > individual.criterion)
    if generator.random() < observers.lapse:
        says_yes = bool(generator.integers(2))
    rt_ms = _response_time(observers.response_time, abs(evidence - individual.criterion), generator)
    return Decision("yes" if says_yes else "no", rt_ms)


def _response_time(law: ResponseTime, distance: float, generator: np.random.Generator) -> float:
    mean = max(law.mu - law.distance_slope * distance, SHORTEST_RT_MS)
    drawn = generator.normal(mean, law.sigma) + generator.exponential(law.tau)
    return float(max(drawn, SHORTEST_RT_MS))


def _not_negative(key: str, value: float) -> None:
    if value < 0:
        raise ConfigError(f"{key}: expected a number of at least 0, got {value}")
