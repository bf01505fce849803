"""d′, criterion, side bias and ROC of every source model × ε, with intervals of people.

Pooled counts; intervals from resampling participants, with t(P − 1), never narrower than the binomial ones (few answers
make the bootstrap too sure; where people are alike the wider of two intervals is conservative). An interval is found on
a scale where the estimate is close to normal, then put into the units that are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import signal_detection as sdt
from analysis.intervals import LEVEL
from analysis.likelihood import Floats
from analysis.trials import Cells, Export, Task

RATING_DRAWS = 500  # a fit of ratings is slow, and 500 draws tell a standard error to 3 %


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """A quantity of B data sets, [B, L], on the scale of its interval; its binomial variance; how to show it."""

    value: Floats
    variance: Floats
    show: Callable[[Floats], Floats] = np.asarray


Measures = dict[str, Measure]


def by_cell(export: Export, replicates: int, seed: int, level: float = LEVEL) -> list[dict[str, Any]]:
    """Returns a row a source model × ε with the quantities of the task, each an estimate with its interval."""
    cells, counts = export.cells, _counts(export)
    measure = _MEASURES[export.task]
    pooled = measure(counts.sum(axis=0)[None])
    names = tuple(pooled)
    values, draws = sdt.clustered(
        lambda each: np.stack([found.value for found in measure(each).values()], axis=1), counts,
        replicates=replicates, seed=seed,
    )  # fmt: skip
    variances = np.stack([pooled[name].variance[0] for name in names])
    found = sdt.clustered_interval(values, draws, len(counts), variances, level)
    shown = {
        name: [pooled[name].show(bound[index]) for bound in (found.estimate, found.low, found.high)]
        for index, name in enumerate(names)
    }
    return [_row(cells, int(cell), shown) for cell in np.flatnonzero(cells.model >= 0)]


def _row(cells: Cells, cell: int, shown: dict[str, list[Floats]]) -> dict[str, Any]:
    yes, trials = cells.yes[:, cell].sum(), cells.trials[:, cell].sum()
    row: dict[str, Any] = {
        "source_model": cells.models[cells.model[cell]], "eps": float(cells.eps[cell]), "trials": int(trials),
        "at_ceiling": bool(yes == trials),
    }  # fmt: skip
    for name, bounds in shown.items():
        estimate, low, high = (float(np.ravel(bound)[cell]) for bound in bounds)
        row[name] = {"estimate": estimate, "low": low, "high": high}
    return row


def _counts(export: Export) -> Floats:
    """Counts of each participant, [P, L, 4] in 2afc: "left" and trials by side, left first; else [P, L, 2]."""
    cells, answers = export.cells, export.answers
    if export.task != "2afc" or not (answers.side != 0).all():
        return np.stack([cells.yes, cells.trials], axis=-1)
    shape = (*cells.trials.shape, 4)
    flat = (answers.participant.astype(np.int64) * shape[1] + answers.cell) * 4
    size = int(np.prod(shape))
    found = np.zeros(size)
    for offset, side in ((0, -1), (2, 1)):
        own = answers.side == side
        found += np.bincount(flat[own] + offset, answers.picked_left[own].astype(float), minlength=size)
        found += np.bincount(flat[own] + offset + 1, minlength=size)
    return found.reshape(shape)


def _yes_no(pooled: Floats) -> Measures:
    yes, trials = pooled[..., 0], pooled[..., 1]
    found = sdt.sensitivity(yes, trials, yes[:, :1], trials[:, :1])
    return {
        "d_prime": Measure(value=found.d_prime, variance=found.d_prime_variance),
        "criterion": Measure(value=found.criterion, variance=found.criterion_variance),
        "log_beta": Measure(value=found.log_beta, variance=found.log_beta_variance),
    }


def _two_alternatives(pooled: Floats) -> Measures:
    if pooled.shape[-1] == 2:  # sides are unknown
        correct = sdt.two_alternatives(pooled[..., 0], pooled[..., 1])
        return {"d_prime": Measure(value=correct.d_prime, variance=correct.d_prime_variance)}
    found = sdt.by_side(*(pooled[..., index] for index in range(4)))
    return {
        "d_prime": Measure(value=found.d_prime, variance=found.d_prime_variance),
        "bias": Measure(value=found.bias, variance=found.bias_variance),
    }


def _same_different(pooled: Floats) -> Measures:
    """Intervals are found on δ = z(H) − z(F), since d′ is steep near chance."""
    yes, trials = pooled[..., 0], pooled[..., 1]
    shared = (yes, trials, np.broadcast_to(yes[:, :1], yes.shape), np.broadcast_to(trials[:, :1], yes.shape))
    rules = {"d_prime": sdt.differencing(*shared), "d_prime_independent": sdt.independent_observations(*shared)}
    return {
        name: Measure(value=found.discrimination, variance=found.discrimination_variance, show=found.d_prime_of)
        for name, found in rules.items()
    }


_MEASURES: dict[Task, Callable[[Floats], Measures]] = {
    "yes-no": _yes_no, "2afc": _two_alternatives, "same-different": _same_different,
}  # fmt: skip


# ---- ratings ----


def by_rating(export: Export, replicates: int, seed: int, level: float = LEVEL) -> list[dict[str, Any]]:
    """Returns a row a source model × ε: ROC points, area, and d_a and zROC slope of the normal model.

    d_a and slope are ``None`` where the ratings do not tell them (nearly everything sure, or a fit at its limits).
    """
    cells, counts = export.cells, rating_counts(export)
    people = counts.sum(axis=0)
    rows = []
    for cell in np.flatnonzero(cells.model >= 0):
        own = np.stack([counts[:, 0], counts[:, cell]], axis=1)
        noise, signal = people[0], people[cell]
        false, hit = sdt.roc_points(noise, signal)
        rows.append(
            {
                "source_model": cells.models[cells.model[cell]], "eps": float(cells.eps[cell]),
                "trials": int(signal.sum()), "false_alarm_rate": false.tolist(), "hit_rate": hit.tolist(),
                **_rated(own, replicates, seed, level),
            }
        )  # fmt: skip
    return rows


def rating_counts(export: Export) -> Floats:
    """Returns answers by rating, [P, L, K], from the surest "no" to the surest "yes"."""
    cells, answers = export.cells, export.answers
    sure = int(np.abs(answers.rating).max())
    rated = answers.rating != 0
    rating = answers.rating[rated].astype(np.int64)
    place = np.where(rating < 0, rating + sure, rating + sure - 1)
    shape = (*cells.trials.shape, 2 * sure)
    flat = (answers.participant[rated].astype(np.int64) * shape[1] + answers.cell[rated]) * shape[2] + place
    return np.bincount(flat, minlength=int(np.prod(shape))).astype(float).reshape(shape)


def _rated(counts: Floats, replicates: int, seed: int, level: float) -> dict[str, Any]:
    """Area, d_a and slope from counts [P, 2, K]: noise, signal."""
    estimate, draws = sdt.clustered(_rating_measures, counts, replicates=min(replicates, RATING_DRAWS), seed=seed)
    noise, signal = counts.sum(axis=0)[:, None]
    fitted = sdt.fit_ratings(noise, signal)
    told = bool(fitted.fit.converged[0] and fitted.inside[0])
    variances = (sdt.area_variance(noise, signal), fitted.d_a_variance, fitted.zroc_slope_variance)
    found: dict[str, Any] = {}
    for index, (name, variance) in enumerate(zip(("area", "d_a", "zroc_slope"), variances, strict=True)):
        known = draws[np.isfinite(draws[:, index]), index]
        if (name != "area" and not told) or len(known) < 2:
            found[name] = None
            continue
        interval = sdt.clustered_interval(estimate[index], known, len(counts), variance[0], level)
        bounds = (interval.low, interval.high)
        low, high = np.clip(bounds, 0, 1) if name == "area" else bounds
        found[name] = {"estimate": float(interval.estimate), "low": float(low), "high": float(high)}
    return found


def _rating_measures(pooled: Floats) -> Floats:
    noise, signal = pooled[:, 0], pooled[:, 1]
    fitted = sdt.fit_ratings(noise, signal)
    return np.stack([sdt.area_under_curve(noise, signal), fitted.d_a, fitted.zroc_slope], axis=1)
