"""All that is estimated from the counts of one study, with its intervals, or the reason why it cannot be.

One participant bootstrap serves every quantity, so that differences between source models stay paired. Thresholds are
handled on the log2 scale. Default interval: estimate ± t(P − 1) × bootstrap standard error; for d′ and c the binomial
interval where that is wider (few answers in a cell make the bootstrap too sure). What these intervals cover was
measured: benchmarks/results/coverage.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import chi2

from analysis import intervals, psychometric, signal_detection
from analysis.intervals import Interval
from analysis.likelihood import Floats, deviance
from analysis.psychometric import PsychometricFit, PsychometricModel
from analysis.signal_detection import PowerLawFit
from analysis.study import Study
from analysis.trials import Cells, Task

PSYCHOMETRIC = PsychometricModel(family="gumbel", width_prior=(3.0, 1.0))
MIN_PARTICIPANTS = 3
MONOTONE_ALPHA = 0.001
CURVE_POINTS = 61

REASONS = {
    "too_few_participants": f"fewer than {MIN_PARTICIPANTS} participants answered, so nothing can be said about people",
    "no_noise_trials": "no unperturbed picture was shown, so willingness to say yes cannot be told from seeing",
    "no_signal_trials": "perturbed pictures were shown at fewer than two values of ε",
    "other_task": "the power law of d′ is fitted to yes-no answers alone",
    "one_answer": "every answer was the same",
    "not_monotone": "the detection rate falls with ε by more than chance allows, so no threshold describes it",
    "above_range": "above the tested range: not reached at the largest ε",
    "below_range": "below the tested range: passed at the smallest ε already",
}


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold in grey levels, or ``reason`` (a key of ``REASONS``) why there is none."""

    interval: Interval | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class PointEstimates:
    """What one set of counts (or B of them) says; ``cells`` columns are those of ``Cells`` without the first."""

    power_law: PowerLawFit
    psychometric: tuple[PsychometricFit | None, ...]
    d_prime: Floats
    criterion: Floats
    noise_criterion: Floats


@dataclass(frozen=True, kw_only=True)
class Bands:
    """Fitted curves of one source model on a grid of ε: each array [G]; ``None`` where they were not estimable."""

    eps: Floats
    probability: tuple[Floats, Floats, Floats] | None
    d_prime: tuple[Floats, Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class StudyEstimates:
    """The estimates of a study and their intervals.

    ``d_prime`` and ``criterion`` are triples (estimate, low, high) of arrays [L − 1]; ``rate`` one of arrays [L];
    ``shared`` holds the quantities that belong to the observers; ``level`` is that of the intervals. ``draws`` are the
    estimates from the draws of participants that all intervals rest on, in parts of some hundred draws each.
    """

    point: PointEstimates
    draws: tuple[PointEstimates, ...]
    rate: tuple[Floats, Floats, Floats]
    d_prime: tuple[Floats, Floats, Floats]
    criterion: tuple[Floats, Floats, Floats]
    eps50: tuple[Threshold, ...]
    eps_dprime1: tuple[Threshold, ...]
    shared: dict[str, Interval]
    bands: tuple[Bands, ...]
    task: Task
    level: float

    def knows_sensitivity(self, cells: Cells) -> bool:
        """Whether d′ and criterion can be told: yes-no, unperturbed pictures among them, and not one answer to all."""
        told = 0 < cells.yes.sum() < cells.trials.sum()
        return self.task == "yes-no" and bool(told and cells.trials[:, 0].sum() > 0)


def model_of(task: Task, choices: int = 2) -> PsychometricModel:
    """Returns the psychometric function that a task calls for: where chance is known, it is not estimated."""
    return replace(PSYCHOMETRIC, guess=1 / choices) if task == "2afc" else PSYCHOMETRIC


def point_estimates(cells: Cells, yes: Floats, trials: Floats, task: Task = "yes-no") -> PointEstimates:
    """Returns the estimates from B sets of pooled counts ``yes`` and ``trials``, [B, L]."""
    sdt = signal_detection.sensitivity(yes[:, 1:], trials[:, 1:], yes[:, :1], trials[:, :1])
    model = model_of(task, cells.choices)
    curves = tuple(_psychometric(model, cells, index, yes, trials) for index in range(len(cells.models)))
    return PointEstimates(
        power_law=signal_detection.fit_power_law(cells.eps, cells.model, yes, trials),
        psychometric=curves,
        d_prime=sdt.d_prime,
        criterion=sdt.criterion,
        noise_criterion=sdt.criterion[:, 0] + sdt.d_prime[:, 0] / 2,
    )


def levels_of(cells: Cells, columns: NDArray[np.int64]) -> Floats:
    """Returns log2 ε of cells; −∞ where ε = 0."""
    eps = cells.eps[columns]
    return np.where(eps > 0, np.log2(np.where(eps > 0, eps, 1.0)), -np.inf)


def _psychometric(
    model: PsychometricModel, cells: Cells, index: int, yes: Floats, trials: Floats
) -> PsychometricFit | None:
    columns = cells.columns(index)
    levels = levels_of(cells, columns)
    if len(levels) < 3:
        return None
    return psychometric.fit_psychometric(model, levels, yes[:, columns], trials[:, columns])


def counted(cells: Cells, task: Task) -> Cells:
    """Returns the counts that speak of a task: in 2afc two references have no right answer and are left out."""
    if task != "2afc":
        return cells
    signal = cells.model >= 0
    return replace(cells, yes=cells.yes * signal, trials=cells.trials * signal)


@lru_cache(maxsize=1)
def estimates_of(study: Study) -> StudyEstimates:
    """Returns the estimates of a study, those of the last study kept: all sections look at the same draws."""
    return estimate(
        study.export.cells, replicates=study.replicates, seed=study.seed, progress=study.progress,
        task=study.export.task, level=1 - study.plan.alpha,
    )  # fmt: skip


def estimate(
    cells: Cells,
    *,
    replicates: int,
    seed: int,
    progress: bool = True,
    task: Task = "yes-no",
    level: float = intervals.LEVEL,
) -> StudyEstimates:
    """Returns every estimate of a study with its interval.

    Args:
        cells: counts of participants.
        replicates: bootstrap draws of participants.
        seed: of those draws.
        progress: show a bar on stderr.
        task: what a "yes" of ``cells`` is; d′, criterion and the power law are those of yes-no answers.
        level: of the intervals.
    """
    cells = counted(cells, task)
    people = len(cells.participants)
    point = point_estimates(cells, cells.yes.sum(axis=0)[None], cells.trials.sum(axis=0)[None], task)
    draws = tuple(
        point_estimates(cells, weights @ cells.yes, weights @ cells.trials, task)
        for weights in intervals.participant_weights(people, replicates, seed, progress=progress)
    )
    d_prime, criterion = _sensitivity_intervals(cells, point, draws, level)
    law = np.concatenate([draw.power_law.log2_eps_dprime1 for draw in draws])
    models = range(len(cells.models))
    return StudyEstimates(
        point=point,
        draws=draws,
        rate=_rates(cells, level),
        d_prime=d_prime,
        criterion=criterion,
        eps50=tuple(_eps50(cells, index, point, draws, task, level) for index in models),
        eps_dprime1=tuple(
            _threshold(cells, index, float(point.power_law.log2_eps_dprime1[0, index]), law[:, index], task, level)
            if task == "yes-no"
            else Threshold(interval=None, reason="other_task")
            for index in models
        ),
        shared=_shared(cells, point, draws, level),
        bands=tuple(_bands(cells, index, point, draws, level) for index in models),
        task=task,
        level=level,
    )


def _rates(cells: Cells, level: float) -> tuple[Floats, Floats, Floats]:
    n = cells.trials.sum(axis=0)
    low, high = intervals.clustered_wilson(cells.yes, cells.trials, level)
    return cells.yes.sum(axis=0) / np.maximum(n, 1), low, high


def _sensitivity_intervals(
    cells: Cells, point: PointEstimates, draws: Sequence[PointEstimates], level: float
) -> tuple[tuple[Floats, Floats, Floats], tuple[Floats, Floats, Floats]]:
    yes, trials = cells.yes.sum(axis=0), cells.trials.sum(axis=0)
    sdt = signal_detection.sensitivity(yes[1:], trials[1:], yes[:1], trials[:1])
    d_prime = _clustered(cells, point.d_prime[0], [draw.d_prime for draw in draws], sdt.d_prime_variance, level)
    return d_prime, _clustered(
        cells, point.criterion[0], [draw.criterion for draw in draws], sdt.criterion_variance, level
    )


def _clustered(
    cells: Cells, value: Floats, draws: list[Floats], variance: Floats, level: float
) -> tuple[Floats, Floats, Floats]:
    found = signal_detection.clustered_interval(value, np.concatenate(draws), len(cells.participants), variance, level)
    return found.estimate, found.low, found.high


def _eps50(
    cells: Cells, index: int, point: PointEstimates, draws: Sequence[PointEstimates], task: Task, level: float
) -> Threshold:
    fit = point.psychometric[index]
    replicates = [curve.threshold for draw in draws if (curve := draw.psychometric[index]) is not None]
    if fit is None:
        return Threshold(interval=None, reason="no_signal_trials")
    return _threshold(cells, index, float(fit.threshold[0]), np.concatenate(replicates), task, level)


def _threshold(cells: Cells, index: int, log2_eps: float, replicates: Floats, task: Task, level: float) -> Threshold:
    levels = levels_of(cells, cells.columns(index))[1:]
    reason = refusal(cells, index, task)
    if reason is None and log2_eps > levels.max():
        reason = "above_range"
    if reason is None and log2_eps < levels.min():
        reason = "below_range"
    if reason is not None:
        return Threshold(interval=None, reason=reason)
    low, high = intervals.t_interval(np.array(log2_eps), replicates, participants_of(cells, index), level)
    return Threshold(
        interval=Interval(
            estimate=2**log2_eps,
            low=None if low < levels.min() else float(2**low),
            high=None if high > levels.max() else float(2**high),
        ),
        reason=None,
    )


def participants_of(cells: Cells, index: int) -> int:
    """Returns how many participants saw perturbations of a source model."""
    return int((cells.trials[:, cells.columns(index)[1:]].sum(axis=1) > 0).sum())


def refusal(cells: Cells, index: int, task: Task = "yes-no") -> str | None:
    """Returns why the thresholds of a source model cannot be estimated from these counts, a key of ``REASONS``."""
    columns = cells.columns(index)
    yes, trials = cells.yes[:, columns].sum(axis=0), cells.trials[:, columns].sum(axis=0)
    if participants_of(cells, index) < MIN_PARTICIPANTS:
        return "too_few_participants"
    if trials[0] == 0 and task != "2afc":
        return "no_noise_trials"
    if len(columns) < 3:
        return "no_signal_trials"
    if yes.sum() in (0, trials.sum()):
        same = "below_range" if task == "2afc" else "one_answer"
        return same if yes.sum() else "above_range"
    shown = trials > 0
    return None if _monotone(yes[shown], trials[shown]) else "not_monotone"


def _monotone(yes: Floats, trials: Floats) -> bool:
    """Whether the best non-decreasing rates fit; tested with as many degrees of freedom as rates (cautious)."""
    rising = isotonic_regression(yes / trials, weights=trials).x
    lost = deviance(rising[None], yes[None], trials[None])[0]
    return bool(lost <= chi2.ppf(1 - MONOTONE_ALPHA, len(yes) - 1))


def _shared(cells: Cells, point: PointEstimates, draws: Sequence[PointEstimates], level: float) -> dict[str, Interval]:
    people = len(cells.participants)
    if people < MIN_PARTICIPANTS or cells.trials[:, 0].sum() == 0:
        return {}
    spread = np.concatenate([draw.power_law.criterion for draw in draws])
    k = np.asarray(point.power_law.criterion[0])
    low, high = intervals.t_interval(k, spread, people, level)
    return {"criterion": Interval(estimate=float(k), low=float(low), high=float(high))}


def _bands(cells: Cells, index: int, point: PointEstimates, draws: Sequence[PointEstimates], level: float) -> Bands:
    levels = levels_of(cells, cells.columns(index))[1:]
    grid = np.linspace(levels.min(), levels.max(), CURVE_POINTS)
    fit = point.psychometric[index]
    probability = None
    if fit is not None:
        curves = [psychometric.probability(c, grid) for draw in draws if (c := draw.psychometric[index]) is not None]
        curve = psychometric.probability(fit, grid)[0]
        people = participants_of(cells, index)
        probability = (curve, *intervals.rate_interval(curve, np.concatenate(curves), people, level))
    laws = np.concatenate([_law(draw.power_law, index, grid) for draw in draws])
    law = _law(point.power_law, index, grid)[0]
    low, high = intervals.t_interval(law, laws, len(cells.participants), level)
    return Bands(eps=2**grid, probability=probability, d_prime=(law, np.maximum(low, 0.0), high))


def _law(fit: PowerLawFit, index: int, grid: Floats) -> Floats:
    return signal_detection.d_prime_at(2**grid, fit.log2_eps_dprime1[:, index, None], fit.exponent[:, index, None])
