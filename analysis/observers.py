"""The law that robot participants obey, and what it implies for the quantities that the report estimates.

``observers.toml`` (docs/contracts.md): evidence ~ Normal(d′, 1), d′ = (ε / ε₁)^b, yes when it exceeds k, a random
answer on a share λ of trials; k and log2 ε₁ differ between participants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr

from analysis.likelihood import Floats
from analysis.signal_detection import d_prime_at
from analysis.trials import Cells
from core import config
from core.errors import ConfigError

NODES = 61


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """k over participants: Normal(mean, sd), in standard deviations of the evidence."""

    mean: float
    sd: float


@dataclass(frozen=True, kw_only=True)
class ModelLaw:
    """Visibility of one source model: ε₁ in grey levels (median over participants), exponent b, spread in octaves."""

    eps_dprime1: float
    exponent: float
    sd_log2: float

    def __post_init__(self) -> None:
        if self.eps_dprime1 <= 0 or self.exponent <= 0 or self.sd_log2 < 0:
            raise ConfigError("expected eps_dprime1 > 0, exponent > 0 and sd_log2 >= 0")


@dataclass(frozen=True, kw_only=True)
class ResponseTime:
    """Ex-Gaussian response times in milliseconds; the report does not use them."""

    mu: float
    sigma: float
    tau: float
    distance_slope: float


@dataclass(frozen=True, kw_only=True)
class Observers:
    """``observers.toml``; the report checks the law of yes-no and uses none of what has a default here."""

    seed: int
    criterion: Criterion
    lapse: float
    models: dict[str, ModelLaw]
    response_time: ResponseTime
    difference_criterion: dict[str, Any] = field(default_factory=dict)
    confidence_step: float = 0.5
    reload: float = 0.0
    screen: dict[str, Any] = field(default_factory=dict)
    colour_vision_answers: tuple[str, ...] = ()


def read_observers(path: Path) -> Observers:
    """Returns the observers in a TOML file.

    Raises:
        ConfigError: no such file, an unknown or missing key, or a value out of range.
    """
    table = config.read_toml(path)
    models: Mapping[str, Any] = table.get("models", {})
    if not isinstance(models, dict):
        raise ConfigError(f"{path.name}: models: expected one table per source model, got {models!r}")
    laws = {name: config.build(ModelLaw, law, f"{path.name}: models.{name}") for name, law in models.items()}
    observers = config.build(Observers, {**table, "models": {}}, path.name)
    return replace(observers, models=laws)


def population_probability(observers: Observers, model: str | None, eps: Floats) -> Floats:
    """Returns P(yes) at each ε [L], averaged over the population of observers by Gauss-Hermite quadrature.

    ``model`` may be ``None`` where all ε are 0.
    """
    nodes, weights = hermegauss(NODES)
    law = observers.models[model] if model is not None else ModelLaw(eps_dprime1=1.0, exponent=1.0, sd_log2=0.0)
    threshold = np.log2(law.eps_dprime1) + law.sd_log2 * nodes
    evidence = d_prime_at(eps[:, None], threshold, np.full(NODES, law.exponent))
    scale = np.sqrt(1 + observers.criterion.sd**2)  # Normal evidence minus Normal criterion
    detected = ndtr((evidence - observers.criterion.mean) / scale) @ (weights / weights.sum())
    return np.asarray(observers.lapse / 2 + (1 - observers.lapse) * detected)


def cell_probability(observers: Observers, cells: Cells) -> Floats:
    """Returns the population's P(yes) in every cell of a study, [L]."""
    p = population_probability(observers, None, np.zeros(len(cells.eps)))
    for index, name in enumerate(cells.models):
        own = cells.model == index
        p[own] = population_probability(observers, name, cells.eps[own])
    return p


def simulate_cells(observers: Observers, cells: Cells, generator: np.random.Generator) -> Floats:
    """Returns answers "yes" [P, L] of observers drawn from the population, with the trials of ``cells``."""
    people = len(cells.participants)
    criterion = generator.normal(observers.criterion.mean, observers.criterion.sd, size=(people, 1))
    deviate = generator.standard_normal((people, 1))
    evidence = np.zeros((people, len(cells.eps)))
    for index, name in enumerate(cells.models):
        law, own = observers.models[name], cells.model == index
        evidence[:, own] = d_prime_at(
            cells.eps[own], np.log2(law.eps_dprime1) + law.sd_log2 * deviate, np.asarray(law.exponent)
        )
    p = observers.lapse / 2 + (1 - observers.lapse) * ndtr(evidence - criterion)
    return generator.binomial(cells.trials.astype(int), p).astype(float)
