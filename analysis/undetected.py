"""What people and machines say of the same perturbations: numbers of the section "joint".

Undetected attack rate of source model m at ε: U(ε) = P(the picture fools m and the observer does not notice), over the
answers to its pictures, so that whatever makes a picture both fool and go unseen is in it. Participants and pictures
are resampled together (``analysis.crossed``), machine and people on the same pictures, all source models in the same
draws: differences between source models are paired. Intervals: estimate ± t × standard deviation of the draws, with
min(participants, pictures) − 1 degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import t as student

from analysis import crossed, estimates, machine_curves
from analysis.crossed import Counts
from analysis.intervals import TAIL, wilson
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from analysis.trials import run_of
from core import rng
from core.evaluation_comparisons import holm

THRESHOLDS = ("eps_dprime1", "eps50")
OF_TASK = {"yes-no": THRESHOLDS, "2afc": ("eps50",), "same-different": ("eps50",)}  # d′ of pairs is another one
FEWEST = 3  # participants, and pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """Everything that is estimated, first as observed, then in B draws: each array [1 + B, …].

    Attributes:
        undetected: U, [1 + B, L]; NaN where nothing was drawn. ``fooled``: share of answers to pictures that fool.
        thresholds: log2 ε of people, by name, [1 + B, M].
        accuracy: of each machine curve, [1 + B, K]; ``log2_eps50``: of its psychometric function, [1 + B].
    """

    counts: Counts
    undetected: Floats
    fooled: Floats
    thresholds: dict[str, Floats]
    curves: tuple[MachineCurve, ...]
    accuracy: tuple[Floats, ...]
    log2_eps50: tuple[Floats, ...]


def forced_choice(choices: int) -> str:
    """Returns why nothing goes undetected, as far as can be told, in a task with ``choices`` alternatives."""
    return f"in a forced choice a change that is not seen is named by chance one time in {choices}"


def machine_curves_of(study: Study) -> tuple[MachineCurve, ...]:
    """Returns the curves of the evaluations that were given, in the order of the source models."""
    found: list[MachineCurve] = []
    for model in study.export.cells.models:
        run = run_of(model)
        if (evaluation := study.evaluations.get(run)) is not None:
            classes = study.training.get(run, {}).get("classes")
            found += machine_curves.curves(model, evaluation, study.outcomes.get(run), classes)
    return tuple(found)


def known_outcomes(study: Study) -> np.ndarray:
    """Returns whether each stimulus fools its source model, [S]: 1, 0, or −1.

    The manifest says it of the very file that was shown; where it does not, the outcomes of the evaluation do, of the
    same picture under the same attack at the same ε, if there is just one such attack.
    """
    answers, cells = study.export.answers, study.export.cells
    fooled = answers.fooled.copy()
    unknown = np.flatnonzero((fooled[answers.stimulus] < 0) & (cells.eps[answers.cell] > 0))
    if not len(unknown):
        return fooled
    curves = [curve for curve in machine_curves_of(study) if curve.right is not None]
    tables = {curve.model: _outcomes(curve) for curve in curves}
    if len(tables) < len(curves):
        return fooled
    for stimulus, row in dict(zip(answers.stimulus[unknown], unknown, strict=True)).items():
        cell = answers.cell[row]
        key = (answers.pictures[answers.picture[row]], float(cells.eps[cell]))
        fooled[stimulus] = tables.get(cells.models[cells.model[cell]], {}).get(key, -1)
    return fooled


def _outcomes(curve: MachineCurve) -> dict[tuple[str, float], int]:
    """Whether each picture fools at each ε."""
    assert curve.right is not None
    return {
        (name, float(eps)): int(right == 0)
        for name, row in zip(curve.names, curve.right, strict=True)
        for eps, right in zip(curve.eps, row, strict=True)
    }


def draw(study: Study) -> Draws:
    """Returns all estimates as observed and in ``study.replicates`` draws."""
    curves = machine_curves_of(study)
    names = tuple(sorted({name for curve in curves for name in curve.names}))
    export = study.export
    sums = crossed.cross(export.cells, export.answers, known_outcomes(study), names)
    generator = rng.numpy_generator(study.seed, "machine counts")
    parts = [_estimates(study, crossed.observed(sums), curves, [curve.accuracy[None] for curve in curves])]
    for counted, pictures in crossed.draws(sums, study.replicates, study.seed, progress=study.progress):
        accuracy = [machine_curves.resampled(curve, sums.pictures, pictures, generator) for curve in curves]
        parts.append(_estimates(study, counted, curves, accuracy))
    return _joined(parts)


def _estimates(study: Study, counted: Counts, curves: tuple[MachineCurve, ...], accuracy: list[Floats]) -> Draws:
    cells, task = study.export.cells, study.export.task
    used = (cells.model >= 0) | (task != "2afc")  # in 2afc two references have no right answer
    point = estimates.point_estimates(cells, counted.yes * used, counted.trials * used, task)
    missing = np.full(len(counted.trials), np.nan)
    return Draws(
        counts=counted,
        undetected=_ratio(counted.undetected, counted.judged),
        fooled=_ratio(counted.fooled, counted.judged),
        thresholds={
            "eps_dprime1": point.power_law.log2_eps_dprime1,
            "eps50": np.stack([missing if fit is None else fit.threshold for fit in point.psychometric], axis=1),
        },
        curves=curves,
        accuracy=tuple(accuracy),
        log2_eps50=tuple(
            machine_curves.fit(curve, own).log2_eps50 if len(curve.eps) > 2 else np.full(len(own), np.nan)
            for curve, own in zip(curves, accuracy, strict=True)
        ),
    )


def _joined(parts: list[Draws]) -> Draws:
    first = parts[0]
    return Draws(
        counts=first.counts,
        undetected=np.concatenate([part.undetected for part in parts]),
        fooled=np.concatenate([part.fooled for part in parts]),
        thresholds={name: np.concatenate([part.thresholds[name] for part in parts]) for name in THRESHOLDS},
        curves=first.curves,
        accuracy=tuple(np.concatenate(column) for column in zip(*(part.accuracy for part in parts), strict=True)),
        log2_eps50=tuple(np.concatenate(column) for column in zip(*(part.log2_eps50 for part in parts), strict=True)),
    )


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def units(study: Study, model: int) -> int:
    """Returns the smaller of how many participants answered to, and how many pictures were shown of, a source model."""
    answers, cells = study.export.answers, study.export.cells
    own = cells.model[answers.cell] == model
    return min(len(np.unique(answers.participant[own])), len(np.unique(answers.picture[own])))


def spread_interval(values: Floats, n: int, bounds: tuple[float | None, float | None] = (None, None)) -> dict[str, Any]:
    """Returns estimate (the first value), low and high, clipped to ``bounds``; ``None`` where a draw has no value."""
    estimate, drawn = float(values[0]), values[1:]
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(estimate) or len(known) < 0.9 * len(drawn):
        return {"estimate": estimate if np.isfinite(estimate) else None, "low": None, "high": None}
    half = float(student.ppf(1 - TAIL, max(n - 1, 1)) * known.std(ddof=1))
    low, high = estimate - half, estimate + half
    if bounds[0] is not None and bounds[1] is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return {"estimate": estimate, "low": low, "high": high}


def rates(study: Study, found: Draws, model: int) -> list[dict[str, Any]]:
    """Returns a row an ε of one source model: U with its interval, its parts, and their product (independence)."""
    cells, counted, rows = study.export.cells, found.counts, []
    for cell in np.flatnonzero(cells.model == model):
        judged, undetected = counted.judged[0, cell], counted.undetected[0, cell]
        if judged == 0:
            continue
        interval = spread_interval(found.undetected[:, cell], units(study, model), (0.0, 1.0))
        low, high = wilson(np.array(undetected), np.array(judged))  # draws cannot vary where nothing or all was missed
        unseen = 1 - counted.yes[0, cell] / counted.trials[0, cell]
        fooled = counted.fooled[0, cell] / judged
        rows.append(
            {
                "eps": float(cells.eps[cell]), "answers": int(judged), "undetected": int(undetected),
                "rate": {
                    "estimate": float(undetected / judged),
                    "low": min(float(low), 1.0 if interval["low"] is None else interval["low"]),
                    "high": max(float(high), 0.0 if interval["high"] is None else interval["high"]),
                },
                "fooled": float(fooled), "unseen": float(unseen), "if_independent": float(fooled * unseen),
            }
        )  # fmt: skip
    return rows


def summaries(study: Study, found: Draws, model: int) -> dict[str, Floats]:
    """Returns the largest U and its area over log2 ε (trapezia, in octaves) between the tested ε, [1 + B] each."""
    levels = _judged(study, found, model)
    values = found.undetected[:, levels]
    x = np.log2(study.export.cells.eps[levels])
    return {"maximum": values.max(axis=1), "area": np.trapezoid(values, x, axis=1)}


def _judged(study: Study, found: Draws, model: int) -> np.ndarray:
    return np.flatnonzero((study.export.cells.model == model) & (found.counts.judged[0] > 0))


def levels_judged(study: Study, found: Draws, model: int) -> Floats:
    """Returns the ε of a source model at which U is known."""
    levels: Floats = study.export.cells.eps[_judged(study, found, model)]
    return levels


def contrasts(study: Study, found: Draws, quantity: str) -> list[dict[str, Any]]:
    """Returns the differences of a summary of U between all pairs of source models, paired, with Holm's correction."""
    models = [index for index in range(len(study.export.cells.models)) if len(levels_judged(study, found, index)) > 1]
    values = {index: summaries(study, found, index)[quantity] for index in models}
    rows = []
    for first, second in combinations(models, 2):
        same = np.array_equal(levels_judged(study, found, first), levels_judged(study, found, second))
        if same:  # an area over other ε is another quantity
            rows.append(_contrast(study, quantity, first, second, values[first] - values[second]))
    corrected = holm([row["p"] for row in rows])
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _contrast(study: Study, quantity: str, first: int, second: int, difference: Floats) -> dict[str, Any]:
    n = min(units(study, first), units(study, second))
    interval = spread_interval(difference, n)
    sd = float(np.nanstd(difference[1:], ddof=1))
    t = interval["estimate"] / sd if sd > 0 else 0.0
    models = study.export.cells.models
    return {
        "first": models[first], "second": models[second], "quantity": quantity, "difference": interval,
        "t": float(t), "df": n - 1, "p": float(2 * student.sf(abs(t), n - 1)),
    }  # fmt: skip


def at_threshold(study: Study, found: Draws, index: int, name: str) -> dict[str, Any]:
    """Returns the robust accuracy of one machine curve at people's threshold, or why it cannot be said."""
    curve, cells = found.curves[index], study.export.cells
    model = cells.models.index(curve.model)
    log2_eps = found.thresholds[name][:, model]
    row: dict[str, Any] = {"model": curve.model, "attack": curve.attack, "threshold": name}
    reason = _refused(study, model, float(log2_eps[0]))
    if reason is None and 2 ** log2_eps[0] > curve.eps[-1]:
        reason = "the threshold lies above the largest ε at which the machine was attacked"
    if reason is not None:
        return {**row, "eps": None, "accuracy": None, "not_estimable": {"reason": "no_threshold", "message": reason}}
    levels = cells.eps[cells.model == model]
    bounded = np.clip(log2_eps, np.log2(levels.min()) - 1, np.log2(min(levels.max() * 2, curve.eps[-1])))
    accuracy = machine_curves.accuracy_at(curve, found.accuracy[index], 2.0**bounded)
    interval = spread_interval(accuracy, units(study, model), (0.0, 1.0))
    return {**row, "eps": float(2 ** log2_eps[0]), "accuracy": interval}


def ratio(study: Study, found: Draws, index: int) -> dict[str, Any]:
    """Returns people's ε50 over the machine's under one attack, or why it cannot be said."""
    curve, cells = found.curves[index], study.export.cells
    model = cells.models.index(curve.model)
    human, machine = found.thresholds["eps50"][:, model], found.log2_eps50[index]
    row: dict[str, Any] = {"model": curve.model, "attack": curve.attack}
    reason = _refused(study, model, float(human[0])) or _machine_refused(curve, float(machine[0]))
    if reason is not None:
        return {**row, "ratio": None, "not_estimable": {"reason": "no_threshold", "message": reason}}
    octaves = spread_interval(human - machine, units(study, model))
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
