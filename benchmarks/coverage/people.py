"""Studies of many participants: the clustered default intervals, contrasts, and the tests that the report prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ndtr

from analysis import intervals
from analysis.contrasts import comparing
from analysis.estimates import PointEstimates, point_estimates
from analysis.observers import Criterion, ModelLaw, Observers, ResponseTime, cell_probability
from analysis.population.two_stage import participant_thresholds
from analysis.power.simulated_studies import Design, Spread, simulated_study
from analysis.signal_detection import different_rate
from analysis.study import Study
from analysis.threshold_draws import ThresholdDraws, threshold_draws
from analysis.trials import Cells, Task
from benchmarks.coverage.acceptance import Gate, Share, covered, erred
from core import rng

EPS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
EPS_DPRIME1, EXPONENT, LAPSE = 5.0, 1.3, 0.02
SD_MODEL = 0.25  # octaves; the difference of two models has √2 of it
MARGIN = 0.5  # octaves
REPLICATES = 200
FEW = 10  # participants
WORDS = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}


@dataclass(frozen=True, kw_only=True)
class People:
    """A design: ``trials`` a level and participant; thresholds ± ``sd`` octaves shared by the models.

    ``shift``: octaves by which the last of the source models differs from the others.
    """

    task: Task = "yes-no"
    participants: int
    trials: int
    sd: float
    models: int = 3
    shift: float = 0.0

    @property
    def words(self) -> str:
        """The design in words."""
        apart = f", the last model {self.shift:g} octave apart" if self.shift else ", all alike"
        return (
            f"{self.task}, {self.participants} participants × {self.trials} trials a level, sd of log₂ ε₁ {self.sd:g} "
            f"octaves, {self.models} source models{apart}"
        )

    @property
    def timid(self) -> bool:
        """Whether contrasts are documented as conservative: a draw of few people holds few answers of a flat curve.

        Of 8 participants a draw holds 5 different ones in the mean, and thresholds of 2AFC, which has half of the range
        for its rise, jump more between draws than between studies: 3 of 240 tests erred.
        """
        return self.task == "2afc" and self.participants < FEW

    @property
    def names(self) -> tuple[str, ...]:
        """The source models."""
        return tuple("abcdef"[: self.models])


def law(people: People, sd: float) -> Observers:
    """Returns the observers; ``sd`` is that of log2 ε₁ in octaves."""
    apart = [0.0] * (people.models - 1) + [people.shift]
    return Observers(
        seed=0, criterion=Criterion(mean=2.0 if people.task == "same-different" else 0.7, sd=0.2), lapse=LAPSE,
        models={
            name: ModelLaw(eps_dprime1=EPS_DPRIME1 * 2**octaves, exponent=EXPONENT, sd_log2=sd)
            for name, octaves in zip(people.names, apart, strict=True)
        },
        response_time=ResponseTime(mu=450, sigma=60, tau=180, distance_slope=80),
    )  # fmt: skip


def study(people: People, seed: int, number: int) -> Study:
    """Returns one simulated study."""
    design = Design(
        task=people.task, participants=people.participants, models=people.names, eps=EPS, trials=people.trials,
        noise=0 if people.task == "2afc" else 2 * people.trials, pictures=60,
    )  # fmt: skip
    generator = rng.numpy_generator(seed, "coverage", people.words, number)
    return simulated_study(
        design, law(people, people.sd), Spread(model=SD_MODEL), generator, replicates=REPLICATES, seed=number
    )


def population(people: People) -> PointEstimates:
    """Returns what the pooled estimators say of the whole population with unlimited trials."""
    cells = study(people, 0, 0).export.cells
    own = law(people, float(np.hypot(people.sd, SD_MODEL)))
    p = cell_probability(own, cells) if people.task == "yes-no" else _of_pairs(own, cells, people.task)
    trials = np.maximum(cells.trials.sum(axis=0), 1) * 1e6
    return point_estimates(cells, (p * trials)[None], trials[None], people.task)


def thresholds_of(found: PointEstimates) -> dict[str, list[float]]:
    """Returns log2 ε of each model."""
    middles = [float(fit.threshold[0]) for fit in found.psychometric if fit is not None]
    return {"eps_dprime1": found.power_law.log2_eps_dprime1[0].tolist(), "eps50": middles}


def _of_pairs(observers: Observers, cells: Cells, task: Task) -> np.ndarray:
    nodes, weights = hermegauss(61)
    weights = weights / weights.sum()
    criterion = observers.criterion.mean + observers.criterion.sd * nodes
    p = np.empty(len(cells.eps))
    for index in range(len(p)):
        own = observers.models[cells.models[max(int(cells.model[index]), 0)]]
        d = (cells.eps[index] / (own.eps_dprime1 * 2 ** (own.sd_log2 * nodes))) ** own.exponent
        seen = ndtr(d / np.sqrt(2)) if task == "2afc" else different_rate(d[:, None], criterion) @ weights
        p[index] = seen @ weights
    return np.asarray(observers.lapse / 2 + (1 - observers.lapse) * p)


def one(people: People, seed: int, number: int) -> dict[str, Any]:
    """Returns what one study says: intervals in octaves, p-values."""
    found = study(people, seed, number)
    cells, task = found.export.cells, found.export.task
    quantities = threshold_draws(cells, task, replicates=REPLICATES, seed=number)
    row: dict[str, Any] = {thresholds.quantity: _first(thresholds, people) for thresholds in quantities}
    settings = comparing.Settings(margin=MARGIN, seed=number)
    contrasts = comparing.compare(quantities[0], comparing.all_pairs(people.names), settings)
    known = [contrast.found for contrast in contrasts if contrast.found is not None]
    if len(known) == len(contrasts):
        row["p"], row["p_holm"], row["p_max_t"] = (
            [getattr(each, name) for each in known] for name in ("p", "p_holm", "p_max_t")
        )
        row["contrast"] = [(each.low, each.high) for each in known]
        row["log2_ratio"] = [(each.log2_ratio, each.standard_error, each.df) for each in known]
    stages = participant_thresholds(cells, task).difference(*people.names[:2])
    row["two_stage"] = None if stages is None else (stages.low, stages.high)
    row["two_stage_p"] = None if stages is None else stages.p
    return row


def _first(thresholds: ThresholdDraws, people: People) -> tuple[float, float] | None:
    """The default interval of the first source model, log2 ε; ``None`` where there is no threshold."""
    if thresholds.reasons[0] is not None:
        return None
    low, high = intervals.t_interval(thresholds.point[:1], thresholds.draws[:, :1], people.participants)
    return float(low[0]), float(high[0])


def shares(people: People, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage and the errors of many studies; those without an estimate are left out, and n says so."""
    truth = thresholds_of(population(people))
    main = "eps_dprime1" if people.task == "yes-no" else "eps50"
    found = [
        covered(f"{words} of pooled answers, clustered", _known(rows, name), truth[name][0], "inside")
        for name, words in WORDS.items()
        if name in rows[0]
    ]
    judged = [row for row in rows if "p" in row]
    ratio = truth[main][0] - truth[main][-1]
    last = people.models - 2  # the pair of the first and the last model
    contrast = [row["contrast"][last] for row in judged]
    found.append(covered(f"ratio of {WORDS[main]}, first to last model, clustered", contrast, ratio,
                         "not below" if people.timid else "inside"))  # fmt: skip
    if people.shift == 0:
        found += _errors(people, rows, judged)
    found.append(_equivalence(judged, last, ratio, people))
    two_stage = _known(rows, "two_stage")
    found.append(covered(f"difference of {WORDS[main]}, two stages", two_stage, truth_of_pair(people), "inside"))
    return found


def truth_of_pair(people: People) -> float:
    """Returns the difference of the first two models' mean log2 ε₁."""
    return -people.shift if people.models == 2 else 0.0


def _errors(people: People, rows: Sequence[dict[str, Any]], judged: Sequence[dict[str, Any]]) -> list[Share]:
    alpha = 0.05
    family: Gate = "not above"
    alone: Gate = "not above" if people.timid else "inside"
    tests = [erred("test of a difference of thresholds", [row["p"][0] < alpha for row in judged], alone)]
    if len(judged[0]["p"]) > 1:
        tests += [
            erred("any of the family after Holm", [min(row["p_holm"]) < alpha for row in judged], family),
            erred("any of the family by max-|t|", [min(row["p_max_t"]) < alpha for row in judged], family),
        ]
    two_stage = [p < alpha for p in _known(rows, "two_stage_p")]
    return [*tests, erred("t test of two-stage differences", two_stage, "inside")]


def _equivalence(judged: Sequence[dict[str, Any]], pair: int, ratio: float, people: People) -> Share:
    """Two one-sided tests where the truth lies at the margin: there by design, or moved there (no difference)."""
    estimate, error, df = np.array([row["log2_ratio"][pair] for row in judged]).T
    margin = abs(ratio) if people.shift else MARGIN
    moved = estimate if people.shift else estimate + MARGIN
    rejected = comparing.equivalence_p(moved, error, df, margin) < 0.05
    words = "equivalence (two one-sided tests) at the margin"
    return erred(words if people.shift else f"{words}, differences moved there", rejected.tolist(), "not above")


def _known(rows: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [row[key] for row in rows if row.get(key) is not None]
