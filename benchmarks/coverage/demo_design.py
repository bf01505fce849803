"""The demo's design: few trials a cell, three source models, and every interval that the detection section prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.estimates import StudyEstimates, Threshold, estimate
from analysis.intervals import Interval
from analysis.observers import Criterion, ModelLaw, Observers, ResponseTime, simulate_cells
from analysis.recovery import Truth, population_truth
from analysis.trials import Cells
from benchmarks.coverage.acceptance import Gate, Share
from core import rng

EPS = (1, 2, 4, 8, 16, 32)
LAWS = {"pgd-at": (5.0, 1.2), "sip-at": (3.0, 1.5), "standard": (9.0, 1.3)}
REPLICATES = 200
CONSERVATIVE = ("detection rate", "d′ of cells below ceiling")  # the larger of two standard errors, design effect ≥ 1


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A study: how many people answer 20 + 20 trials, and how much they differ in log2 ε₁ and in k."""

    participants: int
    sd_log2: float
    sd_criterion: float

    @property
    def words(self) -> str:
        """The scenario in words."""
        return f"{self.participants} participants × 40 trials, sd(log2 ε₁) {self.sd_log2}, sd(k) {self.sd_criterion}"


SCENARIOS = (
    Scenario(participants=48, sd_log2=0.15, sd_criterion=0.15),
    Scenario(participants=48, sd_log2=0.5, sd_criterion=0.4),
    Scenario(participants=12, sd_log2=0.15, sd_criterion=0.15),
)


def empty_study(participants: int) -> Cells:
    """Returns the design of the demo: each participant sees 20 unperturbed and 20 perturbed pictures over 18 cells."""
    models = np.repeat([-1, 0, 1, 2], [1, 6, 6, 6])
    trials = np.zeros((participants, 19))
    trials[:, 0] = 20
    for person in range(participants):
        shown = (20 * person + np.arange(20)) % 18
        np.add.at(trials[person], 1 + shown, 1)
    return Cells(
        models=tuple(LAWS),
        participants=tuple(f"p{person:03d}" for person in range(participants)),
        eps=np.array([0.0, *EPS * 3]),
        model=models,
        yes=np.zeros_like(trials),
        trials=trials,
    )


def law(scenario: Scenario) -> Observers:
    """Returns the observers of a scenario."""
    return Observers(
        seed=0,
        criterion=Criterion(mean=0.7, sd=scenario.sd_criterion),
        lapse=0.02,
        models={
            name: ModelLaw(eps_dprime1=eps, exponent=b, sd_log2=scenario.sd_log2) for name, (eps, b) in LAWS.items()
        },
        response_time=ResponseTime(mu=450.0, sigma=60.0, tau=180.0, distance_slope=80.0),
    )


def covered(cells: Cells, study: StudyEstimates, truth: Truth) -> dict[str, list[bool]]:
    """Returns, for each kind of interval in a study, whether each interval covers the truth."""
    power_law = truth.point.power_law
    found = {
        "ε at d′ = 1": _thresholds(study.eps_dprime1, power_law.log2_eps_dprime1[0]),
        "ε50": _thresholds(
            study.eps50, [float(fit.threshold[0]) for fit in truth.point.psychometric if fit is not None]
        ),
        "criterion k": [study.shared["criterion"].covers(float(power_law.criterion[0]))],
        "detection rate": list((study.rate[1] <= truth.probability) & (truth.probability <= study.rate[2])),
    }
    best = (cells.trials.sum(axis=0) - 0.5)[1:] / cells.trials.sum(axis=0)[1:]
    inside = truth.probability[1:] < best - 0.03  # where the count can still tell d′
    hit = (study.d_prime[1] <= truth.point.d_prime[0]) & (truth.point.d_prime[0] <= study.d_prime[2])
    return found | {"d′ of cells below ceiling": list(hit[inside])}


def _thresholds(thresholds: Sequence[Threshold], log2_truth: Any) -> list[bool]:
    pairs = zip(thresholds, log2_truth, strict=True)
    return [t.interval.covers(float(2**true)) for t, true in pairs if isinstance(t.interval, Interval)]


def one(scenario: Scenario, seed: int, number: int) -> dict[str, list[bool]]:
    """Returns whether each interval of one simulated study covers, by kind."""
    cells, observers = empty_study(scenario.participants), law(scenario)
    yes = simulate_cells(observers, cells, rng.numpy_generator(seed, "coverage", scenario.words, number))
    played = Cells(
        models=cells.models, participants=cells.participants, eps=cells.eps, model=cells.model, yes=yes,
        trials=cells.trials,
    )  # fmt: skip
    study = estimate(played, replicates=REPLICATES, seed=number, progress=False)
    return covered(played, study, population_truth(cells, observers))


def shares(rows: Sequence[dict[str, list[bool]]]) -> list[Share]:
    """Returns the coverage of each kind: of every study one interval, in turn, so that they are independent."""
    found = []
    for kind in rows[0]:
        hits = [bool(row[kind][number % len(row[kind])]) for number, row in enumerate(rows) if row[kind]]
        gate: Gate = "not below" if kind in CONSERVATIVE else "inside"
        found.append(
            Share(quantity=kind, kind="coverage", value=sum(hits) / len(hits), n=len(hits), nominal=0.95, gate=gate)
        )
    return found
