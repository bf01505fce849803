"""Two stages: a threshold for every participant, then the distribution of thresholds over participants.

First stage: the report's default estimators, for each participant by itself (criterion and lapse rate of the power law
are shared by the source models within a participant). A threshold beyond the tested range is not a number: it enters
the second stage as "above the largest ε" or "below the smallest ε". Nobody is dropped without being counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis import estimates, signal_detection
from analysis.intervals import LEVEL, normal_quantile
from analysis.likelihood import Floats
from analysis.population.censored_normal import NormalFit, fit_normal
from analysis.psychometric import PsychometricFit, fit_psychometric, profile_interval
from analysis.psychometric.fitting import evaluation
from analysis.threshold_draws import QUANTITIES, Quantity, signal_levels
from analysis.trials import Cells, Task

FEWEST_TRIALS, FEWEST_LEVELS = 20, 3


@dataclass(frozen=True, kw_only=True)
class ParticipantThresholds:
    """Bounds on each participant's log2 ε, [P, M]; equal where it is known, −∞ and ∞ where nothing is.

    ``answered`` says who gave enough answers to a source model to be fitted; for the others the bounds are NaN.
    ``error`` is the standard error of a known threshold, [P, M], from the expected information and the priors.
    """

    quantity: Quantity
    models: tuple[str, ...]
    participants: tuple[str, ...]
    low: Floats
    high: Floats
    answered: np.ndarray
    error: Floats

    def of(self, model: str, level: float = LEVEL) -> NormalFit | None:
        """Returns the distribution over those who answered enough; ``None`` where it is not estimable."""
        column = self.models.index(model)
        own = self.answered[:, column]
        return fit_normal(self.low[own, column], self.high[own, column], level)

    def difference(self, first: str, second: str) -> NormalFit | None:
        """Returns the distribution of paired differences in octaves; its ``effect_size`` is d_z."""
        a, b = self.models.index(first), self.models.index(second)
        own = self.answered[:, a] & self.answered[:, b]
        return fit_normal(self.low[own, a] - self.high[own, b], self.high[own, a] - self.low[own, b])


def participant_thresholds(cells: Cells, task: Task) -> ParticipantThresholds:
    """Returns the first stage for the quantity that compares source models best in this task."""
    cells, quantity = estimates.counted(cells, task), QUANTITIES[task][0]
    estimate, error = _estimates(cells, task, quantity)
    low, high, answered = np.full_like(estimate, np.nan), np.full_like(estimate, np.nan), estimate > np.inf
    for index in range(len(cells.models)):
        answered[:, index] = _answered(cells, index)
        low[:, index], high[:, index] = _bounds(cells, index, task, estimate[:, index])
    low[~answered], high[~answered] = np.nan, np.nan
    return ParticipantThresholds(
        quantity=quantity, models=cells.models, participants=cells.participants, low=low, high=high, answered=answered,
        error=np.where(low == high, error, np.nan),
    )  # fmt: skip


def _estimates(cells: Cells, task: Task, quantity: Quantity) -> tuple[Floats, Floats]:
    if quantity == "eps_dprime1":
        law = signal_detection.fit_power_law(cells.eps, cells.model, cells.yes, cells.trials)
        return law.log2_eps_dprime1, signal_detection.threshold_errors(law, cells.eps, cells.model, cells.trials)
    each = [_middle(cells, index, task) for index in range(len(cells.models))]
    return np.stack([found for found, _ in each], axis=1), np.stack([error for _, error in each], axis=1)


def _middle(cells: Cells, index: int, task: Task) -> tuple[Floats, Floats]:
    """log2 ε₅₀ [P] with its standard error; NaN with fewer than two levels."""
    if len(np.unique(signal_levels(cells, index))) < 2:
        nothing = np.full(len(cells.yes), np.nan)
        return nothing, nothing
    fit = _curves(cells, index, task, np.arange(len(cells.yes)))
    return fit.threshold, middle_errors(fit)


def _curves(cells: Cells, index: int, task: Task, people: NDArray[np.int64]) -> PsychometricFit:
    own = np.ix_(people, cells.columns(index))
    levels = estimates.levels_of(cells, cells.columns(index))
    return fit_psychometric(estimates.model_of(task, cells.choices), levels, cells.yes[own], cells.trials[own])


def middle_errors(fit: PsychometricFit) -> Floats:
    """Returns standard errors [B] of the thresholds m of fitted curves, from expected information and priors."""
    information = evaluation(fit.model, fit.axis, fit.hits, fit.trials)(fit.fit.parameters, np.arange(len(fit.hits)))[2]
    errors: Floats = np.sqrt(np.linalg.pinv(information, hermitian=True)[:, 0, 0])
    return errors


def own_intervals(
    people: ParticipantThresholds, cells: Cells, task: Task, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Returns bounds [P, M] of the known thresholds, log2 ε: of single participants, from their answers alone.

    Of ε at d′ = 1 normal ones; of ε₅₀ by profile likelihood, since with a lapse rate of its own a single curve's normal
    interval is a little short. NaN where a threshold is not known; infinite where the answers set no bound.

    Args:
        people: their thresholds, of these cells.
        cells: counts of participants.
        task: yes-no, 2afc or same-different.
        level: of the intervals.
    """
    known = people.low == people.high
    middle, half = np.where(known, people.low, np.nan), normal_quantile(level) * people.error
    low, high = middle - half, middle + half
    if people.quantity == "eps50":
        counts = estimates.counted(cells, task)
        for index in range(len(people.models)):
            own = np.flatnonzero(known[:, index])
            if len(own):
                low[own, index], high[own, index] = profile_interval(_curves(counts, index, task, own), level=level)
    return low, high


def _answered(cells: Cells, index: int) -> np.ndarray:
    trials = cells.trials[:, cells.model == index]
    enough: np.ndarray = (trials.sum(axis=1) >= FEWEST_TRIALS) & ((trials > 0).sum(axis=1) >= FEWEST_LEVELS)
    return enough


def _bounds(cells: Cells, index: int, task: Task, estimate: Floats) -> tuple[Floats, Floats]:
    """Bounds [P]: the estimate inside the tested range; one-sided outside it or where every answer was the same."""
    own, levels = cells.model == index, signal_levels(cells, index)
    yes, trials = cells.yes[:, own].sum(axis=1), cells.trials[:, own].sum(axis=1)
    above = (estimate > levels.max()) | (yes == 0)
    below = ((estimate < levels.min()) | (yes == trials)) & ~above
    unknown = ~np.isfinite(estimate)
    if task != "2afc":
        noise_yes, noise = cells.yes[:, 0], cells.trials[:, 0]
        unknown |= (noise == 0) | (below & (noise_yes == noise))
    low = np.where(above, levels.max(), np.where(below, -np.inf, estimate))
    high = np.where(above, np.inf, np.where(below, levels.min(), estimate))
    return np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high)
