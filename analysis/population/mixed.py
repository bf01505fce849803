"""The mixed-model view of a yes-no study: thresholds of the typical observer, and how people and pictures differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t as student

from analysis import estimates
from analysis.intervals import t_quantile
from analysis.likelihood import Floats
from analysis.mixed_models import (
    DetectionModel,
    Trials,
    conditional,
    fit_detection,
    grouped,
    marginal,
    marginal_log2_eps,
    products,
)
from analysis.trials import Export

MOST_ROWS, MOST_PRODUCTS = 200_000, 12 * 10**9  # beyond, the fit takes more than about half a minute of one processor
FEWEST_PICTURES = 5
POINTS = 41
FORMULA = "P(yes) = λ/2 + (1 − λ) Φ(−k + (ε/ε₁[source model])^b[source model] + (1 + d | participant) + (1 | picture))"


def mixed_model(export: Export) -> tuple[DetectionModel | None, str]:
    """Returns the model, or ``None`` and why it was not fitted."""
    if (reason := _refusal(export)) is not None:
        return None, reason
    cells, answers = export.cells, export.answers
    data = grouped(answers.participant, answers.picture, answers.cell, answers.yes, cells.eps, cells.model)
    if (reason := _too_large(data)) is not None:
        return None, reason
    fitted = fit_detection(data)
    if fitted.fit.separated:
        return None, "the answers leave a parameter without a finite estimate (complete separation, say)"
    if not fitted.fit.converged:
        return None, "the search for its parameters did not converge, so that no estimate can be trusted"
    return fitted, ""


def _refusal(export: Export) -> str | None:
    cells = export.cells
    if export.task != "yes-no":
        return "the mixed model is one of yes-no answers"
    if len(export.answers.pictures) < FEWEST_PICTURES:
        return f"fewer than {FEWEST_PICTURES} pictures were shown, so how pictures differ cannot be told"
    for index, name in enumerate(cells.models):
        if (reason := estimates.refusal(cells, index)) is not None:
            return f"{name}: {estimates.REASONS[reason]}"
    return None


def _too_large(data: Trials) -> str | None:
    if len(data.yes) > MOST_ROWS:
        return (
            f"{len(data.yes):,} combinations of participant, picture and cell are more than {MOST_ROWS:,}, which would "
            "take minutes; see the views by participant and of the pooled answers"
        )
    participants, pictures = (len(np.unique(column)) for column in (data.participant, data.picture))
    if products(participants, pictures) > MOST_PRODUCTS:
        return (
            f"{participants:,} participants × {pictures:,} pictures would take minutes (the time grows with the third "
            "power of the smaller side); see the views by participant and of the pooled answers"
        )
    return None


def mixed_results(fitted: DetectionModel, export: Export) -> dict[str, Any]:
    """Returns the estimates (JSON types): criterion, thresholds, spreads, curves, flags.

    Intervals are t with P − 1 degrees of freedom: with few participants normal ones are too short.
    """
    models = export.cells.models
    sd_criterion, sd_slope = fitted.participant_sd
    both = sd_criterion * sd_slope
    averaged = marginal_log2_eps(fitted)
    return {
        "formula": FORMULA,
        "link": "probit", "estimator": "Laplace", "rows": fitted.fit.rows, "participants": fitted.participants,
        "pictures": fitted.pictures, "log_likelihood": fitted.fit.log_likelihood,
        "converged": fitted.fit.converged, "singular": fitted.fit.singular,
        "largest_gradient": fitted.fit.largest_gradient, "lapse": fitted.lapse,
        "criterion": _interval(fitted.criterion, float(fitted.fit.standard_errors[0]), fitted),
        "participant_sd": {"criterion": sd_criterion, "slope": sd_slope},
        "participant_correlation": float(fitted.participant_covariance[0, 1] / both) if both else None,
        "picture_sd": fitted.picture_sd,
        "thresholds": {name: _thresholds(fitted, averaged, index, export) for index, name in enumerate(models)},
        "contrasts": [_contrast(fitted, models, a, b) for a in range(len(models)) for b in range(a + 1, len(models))],
        "curves": {name: _curves(fitted, index, export) for index, name in enumerate(models)},
    }  # fmt: skip


def _interval(value: float, error: float, fitted: DetectionModel) -> dict[str, float]:
    half = t_quantile(fitted.participants) * error
    return {"estimate": value, "low": value - half, "high": value + half}


def _thresholds(fitted: DetectionModel, averaged: tuple[Floats, Floats], index: int, export: Export) -> dict[str, Any]:
    """ε at d′ = 1 of the typical observer (conditional) and of the averaged answers (marginal)."""
    levels = np.log2(export.cells.eps[export.cells.model == index])
    views = {"conditional": (fitted.log2_eps_dprime1, fitted.covariance), "marginal": averaged}
    return {
        "exponent": float(fitted.exponent[index]),
        **{
            name: _tested(_interval(float(value[index]), float(np.sqrt(covariance[index, index])), fitted), levels)
            for name, (value, covariance) in views.items()
        },
    }


def _tested(found: dict[str, float], levels: Floats) -> dict[str, float | None] | None:
    """In grey levels; ``None`` beyond the tested range, as a whole or a bound."""
    if not levels.min() <= found["estimate"] <= levels.max():
        return None
    return {
        "estimate": 2 ** found["estimate"],
        "low": 2 ** found["low"] if found["low"] >= levels.min() else None,
        "high": 2 ** found["high"] if found["high"] <= levels.max() else None,
    }


def _contrast(fitted: DetectionModel, models: tuple[str, ...], first: int, second: int) -> dict[str, Any]:
    """The ratio of two thresholds of the typical observer; t with P − 1 degrees of freedom."""
    weights = np.zeros(len(models))
    weights[first], weights[second] = 1.0, -1.0
    value = float(weights @ fitted.log2_eps_dprime1)
    error = float(np.sqrt(weights @ fitted.covariance @ weights))
    df = max(fitted.participants - 1, 1)
    ratio = {name: 2**bound for name, bound in _interval(value, error, fitted).items()}
    return {
        "contrast": f"{models[first]}/{models[second]}", "ratio": ratio, "t": value / error, "df": df,
        "p": float(2 * student.sf(abs(value) / error, df)),
    }  # fmt: skip


def _curves(fitted: DetectionModel, index: int, export: Export) -> dict[str, list[float]]:
    levels = np.log2(export.cells.eps[export.cells.model == index])
    eps = 2 ** np.linspace(levels.min(), levels.max(), POINTS)
    return {
        "eps": eps.tolist(),
        "conditional": conditional(fitted, index, eps).tolist(),
        "marginal": marginal(fitted, index, eps).tolist(),
    }
