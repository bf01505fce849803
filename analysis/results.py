"""results.json: every number of the report at full precision, and what it rests on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.stats import chi2

from analysis.estimates import PSYCHOMETRIC, REASONS, StudyEstimates, Threshold, counted, participants_of
from analysis.intervals import Interval
from analysis.likelihood import Floats
from analysis.machine import machine_results
from analysis.observers import Observers
from analysis.recovery import add_recovery
from analysis.trials import Cells, Export, run_of
from core.runs import Evaluation

SCHEMA_VERSION = 1
UNDESCRIBED = ("too_few_participants", "one_answer", "not_monotone", "no_noise_trials")  # where no curve is drawn
METHODS = {
    "detection_rate": "pooled answers; Wilson interval with the quantile of t(P − 1) and the trials divided by the "
    "design effect of participants",
    "d_prime": "log-linear rates against the common noise trials; estimate ± t(P − 1) × participant-"
    "bootstrap standard error, or the normal binomial interval where that is wider",
    "eps_dprime1": "power law of d' fitted jointly over source models with shared criterion and lapse rate, maximum "
    "a posteriori; log2 estimate ± t(P − 1) × participant-bootstrap standard error",
    "eps50": "psychometric function (Weibull in ε, S = 0.5), guess and lapse rate free with Beta(1, 10) priors, "
    "maximum a posteriori; log2 estimate ± t(P − 1) × participant-bootstrap standard error",
    "curves": "pointwise ± t(P − 1) × participant-bootstrap standard error, of a rate on its logit",
    "accuracy": "Wilson interval over pictures",
}


def build_results(
    export: Export, study: StudyEstimates, evaluations: dict[str, Evaluation], observers: Observers | None,
    *, replicates: int, seed: int, training: dict[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Returns the tree of results.json; it holds JSON types only.

    Raises:
        ConfigError: the observers lack the law of a source model.
        RunError: an evaluation cannot be used.
    """
    cells = counted(export.cells, export.task)
    models = {name: _model(cells, study, index, evaluations, training or {}) for index, name in enumerate(cells.models)}
    results: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "settings": _settings(replicates, seed, study.level),
        "data": _data(export),
        "exclusions": [dataclasses.asdict(step) for step in export.exclusions],
        "design_checks": _design_checks(cells),
        "observers": _shared(cells, study),
        "source_models": models,
        "evaluations_without_human_data": sorted(set(evaluations) - {run_of(name) for name in cells.models}),
    }
    if observers is not None and export.task == "yes-no":
        add_recovery(results, cells, observers)
    return results


def _settings(replicates: int, seed: int, level: float) -> dict[str, Any]:
    return {
        "level": level, "bootstrap": replicates, "seed": seed, "resampled_unit": "participant", "methods": METHODS,
        "psychometric_family": PSYCHOMETRIC.family, "threshold_at": 0.5,
        "width_prior_octaves": PSYCHOMETRIC.width_prior,
        "exponent_prior": "ln b ~ Normal(ln 1.5, 1)", "asymptote_prior": "Beta(1, 10)",
    }  # fmt: skip


def _data(export: Export) -> dict[str, Any]:
    cells = export.cells
    low, median, high = export.reaction_time_ms
    return {
        "task": export.task,
        "choices": cells.choices if export.task == "2afc" else None,
        "foreign": not export.selected_on,
        "eps_unit": export.eps_unit,
        "eps_name": export.level_name,
        "participants": len(cells.participants),
        "sessions": export.sessions,
        "robots": export.robots,
        "trials": int(cells.trials.sum()),
        "pictures": export.pictures,
        "stimuli": export.stimuli,
        "eps": sorted({float(eps) for eps in cells.eps}),
        "source_models": list(cells.models),
        "reaction_time_ms": {"quartile_1": low, "median": median, "quartile_3": high},
        "largest_eps_difference": export.largest_eps_difference,
        "protocol_hash": export.protocol_hash,
    }


def _design_checks(cells: Cells) -> dict[str, Any]:
    total, own = cells.trials.sum(axis=0), cells.trials.sum(axis=1)
    signal = total[1:]
    top = cells.eps[1:] == cells.eps.max()
    return {
        "levels": len(set(cells.eps[1:].tolist())),
        "trials_per_cell": {"min": int(signal.min()), "max": int(signal.max())},
        "trials_per_participant": {"min": int(own.min()), "max": int(own.max())},
        "noise_trials": int(total[0]),
        "noise_share": float(total[0] / total.sum()),
        "participants_without_noise_trials": int((cells.trials[:, 0] == 0).sum()),
        "detection_rate_at_largest_eps": float(cells.yes.sum(axis=0)[1:][top].sum() / signal[top].sum()),
    }


def _shared(cells: Cells, study: StudyEstimates) -> dict[str, Any]:
    law = study.point.power_law
    rows = int((cells.trials.sum(axis=0) > 0).sum())
    known = study.knows_sensitivity(cells)
    false_alarms = _count(cells, study, 0) if cells.trials[:, 0].sum() > 0 else None
    return {
        "false_alarms": false_alarms,
        "criterion": _interval(study.shared.get("criterion")) if known else None,
        "lapse_rate": float(law.lapse[0]) if known else None,
        "goodness_of_fit": _goodness(float(law.deviance[0]), rows - law.free_parameters),
    }


def _count(cells: Cells, study: StudyEstimates, column: int) -> dict[str, Any]:
    rate, low, high = (float(values[column]) for values in study.rate)
    yes, trials = int(cells.yes[:, column].sum()), int(cells.trials[:, column].sum())
    return {"trials": trials, "yes": yes, "rate": rate, "low": low, "high": high}


def _model(
    cells: Cells, study: StudyEstimates, index: int, evaluations: dict[str, Evaluation], training: dict[str, Any]
) -> dict[str, Any]:
    columns = cells.columns(index)[1:]
    evaluation = evaluations.get(run_of(cells.models[index]))
    return {
        "n_participants": participants_of(cells, index),
        "n_trials": int(cells.trials[:, columns].sum()),
        "by_eps": [_point(cells, study, int(column)) for column in columns],
        "false_alarms": _shared(cells, study)["false_alarms"],
        "criterion": _shared(cells, study)["criterion"],
        "threshold": {"eps_dprime1": _threshold(study.eps_dprime1[index]), "eps50": _threshold(study.eps50[index])},
        "power_law": _power_law(study, index),
        "psychometric": _psychometric(cells, study, index),
        "curve": _curve(study, index, known=study.knows_sensitivity(cells)),
        "machine": None if evaluation is None else machine_results(evaluation, training.get(evaluation.run)),
    }


def _point(cells: Cells, study: StudyEstimates, column: int) -> dict[str, Any]:
    count = _count(cells, study, column)
    known = study.knows_sensitivity(cells)
    return {
        "eps": float(cells.eps[column]),
        "trials": count["trials"],
        "hits": count["yes"],
        "hit_rate": _triple(study.rate, column),
        "d_prime": _triple(study.d_prime, column - 1) if known else None,
        "criterion": _triple(study.criterion, column - 1) if known else None,
    }


def _triple(values: tuple[Floats, Floats, Floats], index: int) -> dict[str, float]:
    return {key: float(value[index]) for key, value in zip(("estimate", "low", "high"), values, strict=True)}


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else dataclasses.asdict(interval)


def _threshold(threshold: Threshold) -> dict[str, Any]:
    interval = threshold.interval or Interval(estimate=np.nan, low=None, high=None)
    refused = None if threshold.reason is None else {"reason": threshold.reason, "message": REASONS[threshold.reason]}
    return {
        "estimate": None if refused else interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "low_is_open": refused is None and interval.low is None,
        "high_is_open": refused is None and interval.high is None,
        "not_estimable": refused,
    }


def _psychometric(cells: Cells, study: StudyEstimates, index: int) -> dict[str, Any] | None:
    fit = study.point.psychometric[index]
    if fit is None:
        return None
    rows = int((cells.trials[:, cells.columns(index)].sum(axis=0) > 0).sum())
    return {
        "log2_threshold": float(fit.threshold[0]),
        "width_octaves": float(fit.width[0]),
        "guess_rate": float(fit.guess[0]),
        "lapse_rate": float(fit.lapse[0]),
        "goodness_of_fit": _goodness(float(fit.deviance[0]), rows - fit.free_parameters),
    }


def _power_law(study: StudyEstimates, index: int) -> dict[str, Any] | None:
    if study.eps_dprime1[index].reason is not None:
        return None
    return {"exponent": float(study.point.power_law.exponent[0, index])}


def _goodness(deviance: float, df: int) -> dict[str, Any]:
    p = float(chi2.sf(deviance, df)) if df > 0 else None
    return {"deviance": deviance, "df": df, "p_chi2": p}


def _curve(study: StudyEstimates, index: int, *, known: bool) -> dict[str, Any]:
    band = study.bands[index]
    described = study.eps50[index].reason not in UNDESCRIBED
    triples = {
        "detection_rate": band.probability if described else None,
        "d_prime": band.d_prime if known and described else None,
    }
    curves = {
        name: None
        if triple is None
        else dict(zip(("estimate", "low", "high"), map(np.ndarray.tolist, triple), strict=True))
        for name, triple in triples.items()
    }
    return {"eps": band.eps.tolist(), **curves}
