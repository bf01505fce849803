"""Measures what the report's default intervals cover: simulated studies of observers whose law is known.

``python benchmarks/coverage.py [--studies 200] [--bootstrap 200]`` writes benchmarks/results/coverage.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from tqdm import tqdm

from analysis.estimates import StudyEstimates, Threshold, estimate
from analysis.intervals import Interval, wilson
from analysis.observers import Criterion, ModelLaw, Observers, ResponseTime, simulate_cells
from analysis.recovery import Truth, population_truth
from analysis.trials import Cells
from benchmarks.claims import RESULTS, Claim, versions, write
from core import rng
from core.errors import DONE, exit_code

EPS = (1, 2, 4, 8, 16, 32)
LAWS = {"pgd-at": (5.0, 1.2), "sip-at": (3.0, 1.5), "standard": (9.0, 1.3)}
AIM = 0.95


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


def run(scenario: Scenario, studies: int, replicates: int, seed: int) -> dict[str, list[bool]]:
    """Returns whether each interval of each simulated study covered, by kind."""
    cells, observers = empty_study(scenario.participants), law(scenario)
    truth = population_truth(cells, observers)
    total: dict[str, list[bool]] = {}
    for number in tqdm(range(studies), desc=scenario.words, unit="study"):
        yes = simulate_cells(observers, cells, rng.numpy_generator(seed, "coverage", scenario.words, number))
        played = Cells(
            models=cells.models, participants=cells.participants, eps=cells.eps, model=cells.model, yes=yes,
            trials=cells.trials,
        )  # fmt: skip
        study = estimate(played, replicates=replicates, seed=number, progress=False)
        for kind, values in covered(played, study, truth).items():
            total.setdefault(kind, []).extend(values)
    return total


def claim(kind: str, scenario: Scenario, hits: Sequence[bool], arguments: argparse.Namespace) -> Claim:
    """Returns a measured claim; it is met where the Wilson interval of the coverage reaches 95 %."""
    low, high = wilson(np.array(float(sum(hits))), np.array(float(len(hits))))
    return Claim(
        claim=f"share of default 95 % intervals of {kind} that cover the truth; {scenario.words}",
        value=sum(hits) / len(hits),
        unit="share",
        aim=AIM,
        met=bool(high >= AIM),
        spread=(float(low), float(high)),
        n=len(hits),
        seed=arguments.seed,
        command=f"python benchmarks/coverage.py --studies {arguments.studies} --bootstrap {arguments.bootstrap}",
        versions=versions("numpy", "scipy"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the simulation and writes the claims."""
    parser = argparse.ArgumentParser(prog="coverage", description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="simulated studies a scenario (default: 200)")
    parser.add_argument("--bootstrap", type=int, default=200, help="draws of participants a study (default: 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "coverage.json")
    arguments = parser.parse_args(argv)
    claims = [
        claim(kind, scenario, hits, arguments)
        for scenario in SCENARIOS
        for kind, hits in run(scenario, arguments.studies, arguments.bootstrap, arguments.seed).items()
    ]
    write(arguments.out, claims)
    for row in claims:
        low, high = row.spread or (row.value, row.value)
        print(f"{row.value:.3f} [{low:.3f}, {high:.3f}]  n {row.n}  {row.claim}")
    return DONE


if __name__ == "__main__":
    sys.exit(exit_code(main))
