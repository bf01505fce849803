"""Thresholds of all source models over the same draws of participants, so that what compares them stays paired.

``eps_dprime1`` is log2 ε at d′ = 1 by the power law (yes-no), ``eps50`` log2 ε in the middle of the psychometric
function (yes-no and same-different: guess rate estimated; 2afc: one half), by the report's default estimators.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis import estimates, intervals, psychometric, signal_detection
from analysis.estimates import PointEstimates
from analysis.likelihood import Floats
from analysis.study import Study
from analysis.trials import Cells, Task

Quantity = Literal["eps_dprime1", "eps50"]
QUANTITIES: dict[Task, tuple[Quantity, ...]] = {
    "yes-no": ("eps_dprime1", "eps50"), "2afc": ("eps50",), "same-different": ("eps50",),
}  # fmt: skip
WORDS: dict[Quantity, str] = {"eps_dprime1": "ε at d′ = 1", "eps50": "ε₅₀"}


@dataclass(frozen=True, kw_only=True)
class ThresholdDraws:
    """One quantity of M source models.

    Attributes:
        point: log2 ε, [M].
        draws: log2 ε of B draws of participants, [B, M].
        reasons: a key of ``estimates.REASONS`` where there is no threshold, else ``None``.
        saw: whether each participant saw perturbations of each source model, [P, M].
    """

    quantity: Quantity
    models: tuple[str, ...]
    point: Floats
    draws: Floats
    reasons: tuple[str | None, ...]
    saw: NDArray[np.bool_]


@lru_cache(maxsize=1)
def thresholds_of(study: Study) -> tuple[ThresholdDraws, ...]:
    """Returns the draws of a study; several sections ask for the same ones, so those of the last study are kept."""
    cells, task = study.export.cells, study.export.task
    if not cells.models:
        return ()
    found = estimates.estimates_of(study)
    return _told(estimates.counted(cells, task), task, _log2(found.point, task), [_log2(d, task) for d in found.draws])


def threshold_draws(
    cells: Cells, task: Task, *, replicates: int, seed: int, progress: bool = False
) -> tuple[ThresholdDraws, ...]:
    """Returns the quantities that a task allows, the one that compares source models best first.

    Args:
        cells: counts of participants.
        task: yes-no, 2afc or same-different.
        replicates: draws of participants.
        seed: of the draws, which are those of ``estimates.estimate`` with the same seed.
        progress: show a bar on stderr.
    """
    if not cells.models:
        return ()
    cells = estimates.counted(cells, task)
    people = len(cells.participants)
    chunks = intervals.participant_weights(people, replicates, seed, progress=progress)
    drawn = [_thresholds(cells, task, weights @ cells.yes, weights @ cells.trials) for weights in chunks]
    point = _thresholds(cells, task, cells.yes.sum(axis=0)[None], cells.trials.sum(axis=0)[None])
    return _told(cells, task, point, drawn)


def _told(
    cells: Cells, task: Task, point: dict[Quantity, Floats], drawn: list[dict[Quantity, Floats]]
) -> tuple[ThresholdDraws, ...]:
    return tuple(
        ThresholdDraws(
            quantity=quantity,
            models=cells.models,
            point=point[quantity][0],
            draws=np.concatenate([draw[quantity] for draw in drawn]),
            reasons=tuple(reason(cells, index, task, float(log2)) for index, log2 in enumerate(point[quantity][0])),
            saw=saw(cells),
        )
        for quantity in QUANTITIES[task]
    )


def saw(cells: Cells) -> NDArray[np.bool_]:
    """Returns whether each participant saw perturbations of each source model, [P, M]."""
    return np.stack(
        [cells.trials[:, cells.columns(index)[1:]].sum(axis=1) > 0 for index in range(len(cells.models))], axis=1
    )


def signal_levels(cells: Cells, index: int) -> Floats:
    """Returns log2 ε of the cells of a source model, those with ε > 0."""
    levels: Floats = np.log2(cells.eps[cells.model == index])
    return levels


def reason(cells: Cells, index: int, task: Task, log2_eps: float) -> str | None:
    """Returns why a source model has no threshold, a key of ``estimates.REASONS``; ``None`` where it has one."""
    found = estimates.refusal(cells, index, task)
    if found is not None:
        return found
    levels = signal_levels(cells, index)
    if not np.isfinite(log2_eps):
        return "no_signal_trials"
    if log2_eps > levels.max():
        return "above_range"
    return "below_range" if log2_eps < levels.min() else None


def _log2(found: PointEstimates, task: Task) -> dict[Quantity, Floats]:
    law = found.power_law.log2_eps_dprime1
    missing = np.full(len(law), np.nan)
    middles = [missing if fit is None else fit.threshold for fit in found.psychometric]
    values: dict[Quantity, Floats] = {"eps_dprime1": law, "eps50": np.stack(middles, axis=1)}
    return {quantity: values[quantity] for quantity in QUANTITIES[task]}


def _thresholds(cells: Cells, task: Task, yes: Floats, trials: Floats) -> dict[Quantity, Floats]:
    found: dict[Quantity, Floats] = {}
    if "eps_dprime1" in QUANTITIES[task]:
        law = signal_detection.fit_power_law(cells.eps, cells.model, yes, trials)
        found["eps_dprime1"] = law.log2_eps_dprime1
    middles = [eps50(cells, index, task, yes, trials) for index in range(len(cells.models))]
    found["eps50"] = np.stack(middles, axis=1)
    return found


def eps50(cells: Cells, index: int, task: Task, yes: Floats, trials: Floats) -> Floats:
    """Returns log2 ε₅₀ of a source model for B data sets with counts [B, L]; NaN with fewer than two levels."""
    levels = signal_levels(cells, index)
    if len(np.unique(levels)) < 2:
        return np.full(len(yes), np.nan)
    columns = cells.columns(index)
    levels = np.concatenate([[-np.inf], levels])
    model = estimates.model_of(task, cells.choices)
    return psychometric.fit_psychometric(model, levels, yes[:, columns], trials[:, columns]).threshold
