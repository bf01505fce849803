"""All that is known of one source model's curve, as JSON types: fit, intervals, goodness, other shapes, no shape.

The curve is that of all participants' pooled answers. Threshold, width and slope each have two intervals. The default
speaks of people: participants are drawn again, t(P − 1) on the logarithm (that of ε₅₀ is the one in the summary). The
other, by profile likelihood, and goodness of fit speak of these answers, as if one person had given them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import estimates, intervals
from analysis.likelihood import Floats
from analysis.psychometric import (
    FATAL,
    Outcome,
    PsychometricFit,
    Quantity,
    compare_families,
    fit_psychometric,
    fit_shared,
    goodness_of_fit,
    interval,
    model_free_thresholds,
    outcomes_of_counts,
    outcomes_of_fit,
    posterior,
    probability,
    profile_interval,
    separation,
)
from analysis.psychometric.profiles import value_of
from analysis.study import Study
from analysis.trials import Answers, Cells

Row = dict[str, Any]
LARGEST_SAMPLE = 1000
GRID = 61
ORDER_BLOCKS = 8
DRAWN_PEOPLE = 40
QUANTITIES = {
    "eps50": Quantity(), "width_octaves": Quantity(name="width"), "slope_per_octave": Quantity(name="slope"),
}  # fmt: skip
PROFILES = {"eps50": "eps50_profile", "width_octaves": "width_profile", "slope_per_octave": "slope_profile"}


def curves_of(study: Study) -> dict[str, Row]:
    """Returns what is known of each source model's curve, by name; see ``curve_of``."""
    cells = estimates.counted(study.export.cells, study.export.task)
    return {name: curve_of(study, cells, index) for index, name in enumerate(cells.models)}


def curve_of(study: Study, cells: Cells, index: int) -> Row:
    """Returns what is known of the curve of source model ``index``; ``not_estimable`` where there is no threshold."""
    columns = cells.columns(index)
    levels = estimates.levels_of(cells, columns)
    yes, trials = cells.yes[:, columns], cells.trials[:, columns]
    model = estimates.model_of(study.export.task, cells.choices)
    pooled = yes.sum(axis=0), trials.sum(axis=0)
    found = outcomes_of_counts(levels, *pooled, guess=model.guess)
    level = 1 - study.plan.alpha
    row: Row = {"by_eps": _points(cells, columns, level)}
    if {Outcome.NO_TRIALS, Outcome.ONE_LEVEL, Outcome.NO_CATCH_TRIALS} & set(found):
        return row | _outcome_words(found)
    fit = fit_psychometric(model, levels, pooled[0][None], pooled[1][None])
    found = outcomes_of_fit(fit)
    row |= _outcome_words(found, separation(levels, *pooled))
    if FATAL & set(found):
        return row
    draws, people = _draws(study, index), estimates.participants_of(cells, index)
    samples = min(LARGEST_SAMPLE, study.replicates)
    families = compare_families(model, levels, *pooled, seed=study.seed, samples=samples, level=level)
    return row | {
        "participants": people,
        "parameters": _parameters(fit, draws, people, level),
        "goodness_of_fit": _goodness(fit, samples, study.seed),
        "residuals_by_order": _by_order(study.export.answers, columns, probability(fit, levels)[0]),
        "overdispersion": _overdispersion(fit, level),
        "families": [_open(dataclasses.asdict(each)) for each in families],
        "model_free": _model_free(fit, samples, study.seed, level),
        "curve": _band(fit, draws, people, level),
    }


def people_of(study: Study) -> Row | None:
    """Returns participants' own curves, each with one γ and one λ for all source models; ``None`` if too few levels.

    ``fit`` is of the first participants alone, as many as a figure can hold; ``saw`` [P, M] tells who saw what.
    """
    cells = estimates.counted(study.export.cells, study.export.task)
    signal = cells.model >= 0
    if not signal.any() or min(np.unique(cells.model[signal], return_counts=True)[1]) < 2:
        return None
    levels = estimates.levels_of(cells, np.arange(len(cells.eps)))
    yes, trials = cells.yes[:DRAWN_PEOPLE], cells.trials[:DRAWN_PEOPLE]
    model = estimates.model_of(study.export.task, cells.choices)
    fit = fit_shared(model, levels, np.maximum(cells.model, 0), yes, trials)
    saw = np.stack([trials[:, cells.model == index].sum(axis=1) > 0 for index in range(len(cells.models))], axis=1)
    return {"fit": fit, "saw": saw}


def _points(cells: Cells, columns: NDArray[np.int64], level: float) -> list[Row]:
    yes, trials = cells.yes[:, columns], cells.trials[:, columns]
    low, high = intervals.clustered_wilson(yes, trials, level)
    hits, total = yes.sum(axis=0), trials.sum(axis=0)
    return [
        {"eps": float(cells.eps[column]), "trials": int(total[i]), "hits": int(hits[i]),
         "rate": {"estimate": float(hits[i] / total[i]), "low": float(low[i]), "high": float(high[i])}}
        for i, column in enumerate(columns)
        if total[i] > 0
    ]  # fmt: skip


def _outcome_words(found: list[Outcome], between: tuple[float, float] | None = None) -> Row:
    row: Row = {"outcomes": [{"outcome": each.name.lower(), "message": each.value} for each in found]}
    if between is not None:
        row["separated_between"] = [2 ** between[0], 2 ** between[1]]
    grave = [each for each in found if each in FATAL or each is Outcome.NO_CATCH_TRIALS]
    if grave:
        row["not_estimable"] = {"reason": grave[0].name.lower(), "message": grave[0].value}
    return row


def _draws(study: Study, index: int) -> list[PsychometricFit]:
    """The curve fitted to draws of participants, in parts: those of the whole report."""
    return [fit for draw in estimates.estimates_of(study).draws if (fit := draw.psychometric[index]) is not None]


def _parameters(fit: PsychometricFit, draws: Sequence[PsychometricFit], people: int, level: float) -> Row:
    row: Row = {}
    for name, quantity in QUANTITIES.items():
        low, high = (float(bound[0]) for bound in profile_interval(fit, quantity, level))
        if quantity.name == "threshold":
            low, high = 2**low, 2**high
        row[name] = by_people(fit, draws, quantity, people, level)
        row[PROFILES[name]] = _interval(row[name]["estimate"], low, high)
    return row | {"guess": float(fit.guess[0]), "lapse": float(fit.lapse[0])}


def by_people(
    fit: PsychometricFit, draws: Sequence[PsychometricFit], quantity: Quantity, people: int, level: float
) -> Row:
    """Returns an estimate with t(P − 1) × bootstrap error around log₂ ε, ln w or ln slope, in grey levels, w or slope.

    Args:
        fit: of the pooled answers; its first data set counts.
        draws: the same curve fitted to draws of participants, in parts.
        quantity: which.
        people: P.
        level: of confidence.
    """
    own, *others = (value_of(fit.model, quantity, each.fit.parameters) for each in (fit, *draws))
    low, high = intervals.t_interval(own[0], np.concatenate(others), people, level)
    turned = np.exp2 if quantity.name == "threshold" else np.exp
    return _interval(*(float(turned(each)) for each in (own[0], low, high)))


def _interval(estimate: float, low: float, high: float) -> Row:
    return {"estimate": estimate, "low": _finite(low), "high": _finite(high)}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) and value > 0 else None


def _open(row: Row) -> Row:
    """A family's row with thresholds in grey levels."""
    for name in ("threshold", "threshold_low", "threshold_high"):
        row[name] = _finite(float(2.0 ** row[name]))
    return row


def _goodness(fit: PsychometricFit, samples: int, seed: int) -> Row:
    found = goodness_of_fit(fit, samples=samples, seed=seed)
    used = np.flatnonzero(fit.trials[0] > 0)
    row = {name: getattr(found, name) for name in ("deviance", "degrees", "p_value", "pearson", "pearson_p", "trend_p",
                                                  "samples")}  # fmt: skip
    eps = np.where(np.isfinite(fit.levels[used]), 2.0 ** fit.levels[used], 0.0)
    parts = zip(eps, found.predictions, found.residuals, strict=True)
    return row | {"residuals": [{"eps": float(e), "prediction": float(p), "residual": float(r)} for e, p, r in parts]}


def _by_order(answers: Answers, columns: NDArray[np.int64], predicted: Floats) -> list[Row]:
    """Answers in equal parts by their place in the session, with how far each lies from what the curve predicts."""
    place = np.full(int(answers.cell.max(initial=0)) + 1, -1)
    place[columns[columns < len(place)]] = np.flatnonzero(columns < len(place))
    row = place[answers.cell]
    own = row >= 0
    if not own.any():
        return []
    order, p, yes = answers.order[own], predicted[row[own]], answers.yes[own]
    cuts = np.quantile(order, np.arange(1, ORDER_BLOCKS) / ORDER_BLOCKS)
    block = np.searchsorted(cuts, order, side="right")
    found = []
    for number in np.unique(block):
        inside = block == number
        spread = float((p[inside] * (1 - p[inside])).sum())
        surplus = float(yes[inside].sum() - p[inside].sum())
        found.append({
            "first": int(order[inside].min()), "last": int(order[inside].max()), "answers": int(inside.sum()),
            "residual": surplus / np.sqrt(spread) if spread > 0 else 0.0,
        })  # fmt: skip
    return found


def _overdispersion(fit: PsychometricFit, level: float) -> Row:
    """η without an interval, since half a dozen levels say too little of it, and ε₅₀ with one that allows for it.

    The posterior's interval of ε₅₀ with η integrated out is too sure where η is 0.2 (docs/coverage.md).
    """
    model = dataclasses.replace(fit.model, overdispersed=True)
    eta = posterior(model, fit.levels, fit.hits[0], fit.trials[0]).mean("eta")
    allowing = interval(fit, method="quasi-t", level=level)
    return {"eta": eta, "eps50": _interval(*(2**end for end in (allowing.estimate, allowing.low, allowing.high)))}


def _model_free(fit: PsychometricFit, samples: int, seed: int, level: float) -> Row:
    found = model_free_thresholds(fit, seed=seed, samples=samples, level=level)
    return {
        name: None if not np.isfinite(value) else _interval(
            float(2**value), float(2 ** getattr(found, f"{name}_low")), float(2 ** getattr(found, f"{name}_high"))
        )
        for name, value in (("pava", found.pava), ("spearman_karber", found.spearman_karber))
    }  # fmt: skip


def _band(fit: PsychometricFit, draws: Sequence[PsychometricFit], people: int, level: float) -> Row:
    finite = fit.levels[np.isfinite(fit.levels)]
    grid = np.linspace(finite.min(), finite.max(), GRID)
    curve, low, high = band(fit, draws, grid, people, level)
    values = {"eps": 2**grid, "estimate": curve, "low": low, "high": high}
    return {name: [float(x) for x in value] for name, value in values.items()}


def band(
    fit: PsychometricFit, draws: Sequence[PsychometricFit], grid: Floats, people: int, level: float
) -> tuple[Floats, Floats, Floats]:
    """Returns the fitted curve at ``grid`` [G] with its band: estimate, low, high."""
    curve = probability(fit, grid)[0]
    replicates = np.concatenate([probability(draw, grid) for draw in draws])
    return curve, *intervals.rate_interval(curve, replicates, people, level)
