"""Machines where people begin to see: robust accuracy at people's threshold, and people's ε50 over the machine's.

People's thresholds come from the draws of ``analysis.undetected``; a machine's curve is drawn with the pictures, the
same ones, and stands still where participants or pairs of participant and picture are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from analysis import crossed, estimates, machine_curves, undetected
from analysis.crossed import Counts
from analysis.intervals import CHUNK, normal_quantile, wilson
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from analysis.undetected import Draws
from core import rng
from core.evaluation_comparisons import holm

THRESHOLDS = ("eps_dprime1", "eps50")
OF_TASK = {"yes-no": THRESHOLDS, "2afc": ("eps50",), "same-different": ("eps50",)}  # d′ of pairs is another one


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What was fitted to the draws, as observed first: each array [1 + 3B, …].

    Attributes:
        thresholds: log2 ε of people, by name, [1 + 3B, M].
        curves: of the machines; ``accuracy``: of each curve, [1 + 3B, K].
        log2_eps50: of each curve's psychometric function, [1 + 3B].
    """

    thresholds: dict[str, Floats]
    curves: tuple[MachineCurve, ...]
    accuracy: tuple[Floats, ...]
    log2_eps50: tuple[Floats, ...]


def fit(study: Study, found: Draws, curves: tuple[MachineCurve, ...]) -> Fitted:
    """Returns thresholds and machine curves in all draws."""
    generator = rng.numpy_generator(study.seed, "machine counts")
    by_picture = [machine_curves.resampled(curve, found.names, found.pictures, generator) for curve in curves]
    eps50 = [_machine_eps50(curve, own) for curve, own in zip(curves, by_picture, strict=True)]
    return Fitted(
        thresholds=_thresholds(study, found.counts),
        curves=curves,
        accuracy=tuple(_all_draws(curve.accuracy, own) for curve, own in zip(curves, by_picture, strict=True)),
        log2_eps50=tuple(_all_draws(own[0], own[1:]) for own in eps50),
    )


def _machine_eps50(curve: MachineCurve, drawn: Floats) -> Floats:
    accuracy = np.concatenate([curve.accuracy[None], drawn])
    return machine_curves.fit(curve, accuracy).log2_eps50 if len(curve.eps) > 2 else np.full(len(accuracy), np.nan)


def _all_draws(observed: Floats, drawn: Floats) -> Floats:
    """As observed but in the draws of pictures, the second of three parts."""
    still = np.broadcast_to(observed, drawn.shape)
    return np.concatenate([observed[None], still, drawn, still])


def _thresholds(study: Study, counts: Counts) -> dict[str, Floats]:
    cells, task = study.export.cells, study.export.task
    used = (cells.model >= 0) | (task != "2afc")  # in 2afc two references have no right answer
    parts: dict[str, list[Floats]] = {name: [] for name in THRESHOLDS}
    for start in range(0, len(counts.yes), CHUNK):
        yes, trials = (values[start : start + CHUNK] * used for values in (counts.yes, counts.trials))
        point, missing = estimates.point_estimates(cells, yes, trials, task), np.full(len(yes), np.nan)
        curves = [missing if curve is None else curve.threshold for curve in point.psychometric]
        parts["eps50"].append(np.stack(curves, axis=1))
        parts["eps_dprime1"].append(point.power_law.log2_eps_dprime1)
    return {name: np.concatenate(values) for name, values in parts.items()}


def accuracies(study: Study, fitted: Fitted) -> list[dict[str, Any]]:
    """Returns the robust accuracy of every machine curve at every threshold of people, or why it cannot be said."""
    return [
        _at_threshold(study, fitted, index, name)
        for index in range(len(fitted.curves))
        for name in OF_TASK[study.export.task]
    ]


def _at_threshold(study: Study, fitted: Fitted, index: int, name: str) -> dict[str, Any]:
    curve, model = fitted.curves[index], _model(study, fitted.curves[index])
    log2_eps = float(fitted.thresholds[name][0, model])
    row: dict[str, Any] = {"model": curve.model, "attack": curve.attack, "threshold": name}
    reason = _refused(study, model, log2_eps)
    if reason is None and 2**log2_eps > curve.eps[-1]:
        reason = "the threshold lies above the largest ε at which the machine was attacked"
    if reason is not None:
        return {**row, "eps": None, "accuracy": None, "not_estimable": {"reason": "no_threshold", "message": reason}}
    values, alpha = _accuracy(study, fitted, index, name), study.plan.alpha
    interval = crossed.interval(values, undetected.units(study, model), alpha, (0.0, 1.0))
    return {**row, "eps": 2**log2_eps, "accuracy": _no_closer_than_wilson(interval, float(curve.pictures[-1]), alpha)}


def _no_closer_than_wilson(interval: dict[str, Any], pictures: float, alpha: float) -> dict[str, Any]:
    """Draws cannot vary where every picture falls, or none."""
    if interval["low"] is None:
        return interval
    right = np.array(interval["estimate"] * pictures)
    low, high = wilson(right, np.array(pictures), normal_quantile(1 - alpha))
    return {**interval, "low": min(interval["low"], float(low)), "high": max(interval["high"], float(high))}


def _model(study: Study, curve: MachineCurve) -> int:
    return study.export.cells.models.index(curve.model)


def _accuracy(study: Study, fitted: Fitted, index: int, name: str) -> Floats:
    """The accuracy of a curve at people's threshold in every draw, [1 + 3B]."""
    curve, cells = fitted.curves[index], study.export.cells
    model = _model(study, curve)
    levels = cells.eps[cells.model == model]
    highest = np.log2(min(levels.max() * 2, curve.eps[-1]))
    bounded = np.clip(fitted.thresholds[name][:, model], np.log2(levels.min()) - 1, highest)
    return machine_curves.accuracy_at(curve, fitted.accuracy[index], 2.0**bounded)


def contrasts(study: Study, fitted: Fitted, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the differences of the accuracies ``rows`` between source models under the same attack, paired.

    Each at the model's own threshold; Holm's correction over all of them.
    """
    known = {(row["model"], row["attack"], row["threshold"]) for row in rows if row["accuracy"] is not None}
    found = []
    for first, second in combinations(range(len(fitted.curves)), 2):
        one, two = fitted.curves[first], fitted.curves[second]
        for name in OF_TASK[study.export.task]:
            if one.attack == two.attack and {(curve.model, one.attack, name) for curve in (one, two)} <= known:
                found += _contrast(study, fitted, (first, second), name)
    corrected = holm([row["p"] for row in found])
    return [{**row, "p_holm": p} for row, p in zip(found, corrected, strict=True)]


def _contrast(study: Study, fitted: Fitted, pair: tuple[int, int], name: str) -> list[dict[str, Any]]:
    first, second = (fitted.curves[index] for index in pair)
    one, two = (_accuracy(study, fitted, index, name) for index in pair)
    own = undetected.units(study, _model(study, first), _model(study, second))
    test = undetected.tested(study, one - two, own)
    words = {"first": first.model, "second": second.model, "attack": first.attack, "threshold": name}
    return [] if test is None else [words | test]


def ratios(study: Study, fitted: Fitted) -> list[dict[str, Any]]:
    """Returns people's ε50 over the machine's under each attack, or why it cannot be said."""
    return [_ratio(study, fitted, index) for index in range(len(fitted.curves))]


def _ratio(study: Study, fitted: Fitted, index: int) -> dict[str, Any]:
    curve, model = fitted.curves[index], _model(study, fitted.curves[index])
    human, machine = fitted.thresholds["eps50"][:, model], fitted.log2_eps50[index]
    row: dict[str, Any] = {"model": curve.model, "attack": curve.attack}
    reason = _refused(study, model, float(human[0])) or _machine_refused(curve, float(machine[0]))
    if reason is not None:
        return {**row, "ratio": None, "not_estimable": {"reason": "no_threshold", "message": reason}}
    octaves = crossed.interval(human - machine, undetected.units(study, model), study.plan.alpha)
    bounds = {key: None if value is None else float(2**value) for key, value in octaves.items()}
    eps = {"eps50_human": float(2 ** human[0]), "eps50_machine": float(2 ** machine[0])}
    return {**row, **eps, "ratio": bounds, "octaves": octaves}


def _refused(study: Study, model: int, log2_eps: float) -> str | None:
    """Why a source model has no threshold of people, in words."""
    task = study.export.task
    cells = estimates.counted(study.export.cells, task)
    reason = estimates.refusal(cells, model, task)
    levels = np.log2(cells.eps[cells.model == model])
    if reason is None and (not np.isfinite(log2_eps) or log2_eps > levels.max()):
        reason = "above_range"
    if reason is None and log2_eps < levels.min():
        reason = "below_range"
    return None if reason is None else f"people's threshold: {estimates.REASONS[reason]}"


def _machine_refused(curve: MachineCurve, log2_eps: float) -> str | None:
    if len(curve.eps) < 3:
        return "the machine was attacked at one ε alone"
    if not np.isfinite(log2_eps) or log2_eps > np.log2(curve.eps[-1]):
        return "the machine's accuracy does not fall half-way within the ε that were tested"
    if log2_eps < np.log2(curve.eps[1]):
        return "the machine's accuracy has fallen half-way below the smallest ε that was tested"
    return None
