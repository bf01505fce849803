"""Whether the law that robots obeyed was recovered: what the estimators should say, beside what they said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import t as student

from analysis.estimates import PointEstimates, point_estimates
from analysis.intervals import TAIL, Interval, t_quantile
from analysis.likelihood import Floats
from analysis.observers import Observers, cell_probability
from analysis.trials import Cells, run_of
from core.errors import ConfigError

INFINITE = 1e6  # trials for each one in the study: what an estimator says with unlimited data

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """The population's value of every estimated quantity: P(yes) of each cell [L], and the estimators applied to it."""

    probability: Floats
    point: PointEstimates


def population_truth(cells: Cells, observers: Observers) -> Truth:
    """Returns what the report's estimators say of the whole population of observers with unlimited trials.

    The rates are averaged over the population by quadrature; the design is that of ``cells``. Observers differ, so the
    population's ε(d′ = 1) is not quite ε₁ of the median observer.

    Raises:
        ConfigError: the observers lack the law of a source model.
    """
    p = cell_probability(_named(observers, cells), cells)
    trials = np.maximum(cells.trials.sum(axis=0), 1) * INFINITE
    return Truth(probability=p, point=point_estimates(cells, (p * trials)[None], trials[None]))


def add_recovery(results: Row, cells: Cells, observers: Observers) -> None:
    """Adds ``recovery`` to the tree of results.json: at the top, to the observers, and to each source model."""
    truth = population_truth(cells, observers)
    laws = _named(observers, cells).models
    shared = results["observers"]
    noise = shared["false_alarms"] and {**shared["false_alarms"], "estimate": shared["false_alarms"]["rate"]}
    shared["recovery"] = {
        "criterion": compare(shared["criterion"], float(truth.point.power_law.criterion[0])),
        "false_alarm_rate": compare(noise, float(truth.probability[0])),
    }
    for index, name in enumerate(cells.models):
        model = results["source_models"][name]
        model["recovery"] = _model(model, cells, index, truth, laws[name].eps_dprime1)
    results["recovery"] = joint_verdict(results, len(cells.participants))


def joint_verdict(results: Row, participants: int) -> Row:
    """Returns whether all thresholds and the criterion agree with the law at once, at 95 % by Bonferroni.

    Of many intervals some miss; ``consistent`` is the verdict over all. ``largest_deviation`` is the largest
    |estimate − truth| in standard errors, ``limit`` what it may be. Quantities without two bounds are left out.
    """
    found = [results["observers"]["recovery"]["criterion"]]
    for model in results["source_models"].values():
        found += [_log2(model["recovery"][kind]) for kind in ("eps_dprime1", "eps50") if model["recovery"][kind]]
    counted = [row for row in found if row["low"] is not None and row["high"] is not None]
    df = max(participants - 1, 1)
    quantile = t_quantile(participants, results["settings"]["level"])
    half = [(row["high"] - row["low"]) / 2 for row in counted]
    deviations = [
        abs(row["estimate"] - row["true"]) / width * quantile for row, width in zip(counted, half, strict=True)
    ]
    limit = float(student.ppf(1 - TAIL / max(len(counted), 1), df))
    return {
        "quantities": len(counted),
        "covered": sum(row["covered"] for row in counted),
        "largest_deviation": max(deviations, default=None),
        "limit": limit,
        "consistent": max(deviations) <= limit if deviations else None,
    }


def compare(found: Row | None, true: float) -> Row:
    """Returns an estimate beside the truth; ``covered`` is ``None`` where there is no estimate."""
    if found is None or found["estimate"] is None:
        return {"true": true, "estimate": None, "low": None, "high": None, "covered": None}
    interval = Interval(estimate=found["estimate"], low=found["low"], high=found["high"])
    return {"true": true, **dataclasses.asdict(interval), "covered": interval.covers(true)}


def _named(observers: Observers, cells: Cells) -> Observers:
    missing = [name for name in cells.models if run_of(name) not in observers.models]
    if missing:
        raise ConfigError(
            f"observers: expected a law for each source model of the export, found none for {', '.join(missing)}; "
            f"add [models.{run_of(missing[0])}] (has: {', '.join(observers.models) or 'none'})"
        )
    return dataclasses.replace(observers, models={name: observers.models[run_of(name)] for name in cells.models})


def _model(model: Row, cells: Cells, index: int, truth: Truth, median: float) -> Row:
    fit = truth.point.psychometric[index]
    threshold = model["threshold"]
    population = float(2 ** truth.point.power_law.log2_eps_dprime1[0, index])
    return {
        "eps_dprime1": {
            **compare(threshold["eps_dprime1"], population),
            "true_median_observer": median,
            "covered_median_observer": compare(threshold["eps_dprime1"], median)["covered"],
        },
        "eps50": None if fit is None else compare(threshold["eps50"], float(2 ** fit.threshold[0])),
        "by_eps": [
            _point(point, truth, int(column))
            for point, column in zip(model["by_eps"], cells.columns(index)[1:], strict=True)
        ],
    }


def _point(point: Row, truth: Truth, column: int) -> Row:
    return {
        "eps": point["eps"],
        "hit_rate": compare(point["hit_rate"], float(truth.probability[column])),
        "d_prime": compare(point["d_prime"], float(truth.point.d_prime[0, column - 1])),
    }


def _log2(row: Row) -> Row:
    values = {key: row[key] for key in ("true", "estimate", "low", "high")}
    return row | {key: None if value is None else float(np.log2(value)) for key, value in values.items()}
