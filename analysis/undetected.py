"""The undetected attack rate: numbers of the section "joint" that people and machines give together.

U(ε) of source model m is P(the picture fools m and the observer does not notice), over the answers to its pictures, so
that whatever makes a picture both fool and go unseen is in it. Participants and pictures are resampled
(``analysis.crossed``), all source models in the same draws: differences between source models are paired.

The largest of several estimates is too large on average. Its interval, that of the ε where it lies and those of
differences of two maxima are therefore put together from intervals and tests of single ε, and hold at least as often
as they say: the largest of the upper bounds at α/2 lies below the largest rate no oftener than that of its own ε, and
the largest of the lower bounds, with α/2 shared among the ε, above it no oftener than α/2 (after Chernozhukov, Lee &
Rosen 2013, Econometrica 81, 667–737, with Bonferroni's quantile).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import crossed, machine_curves
from analysis.crossed import Counts, Error, Units
from analysis.intervals import wilson
from analysis.likelihood import Floats
from analysis.machine_curves import MachineCurve
from analysis.study import Study
from analysis.trials import run_of
from core.evaluation_comparisons import holm

FEWEST = 3  # participants, and pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """What was counted: as observed, then in B draws of participants, B of pictures and B of pairs.

    Attributes:
        counts: [1 + 3B, L].
        undetected: U, [1 + 3B, L]; NaN where nothing was drawn.
        names: pictures that were resampled, [I]; ``pictures``: how often in the draws of pictures, [B, I].
    """

    counts: Counts
    undetected: Floats
    names: tuple[str, ...]
    pictures: NDArray[np.uint8]


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
    """Returns the counts as observed and in ``study.replicates`` draws of each factor."""
    export = study.export
    names = tuple(sorted({name for curve in machine_curves_of(study) for name in curve.names}))
    sums = crossed.cross(export.cells, export.answers, known_outcomes(study), names)
    drawn = crossed.draw(sums, study.replicates, study.seed, progress=study.progress)
    return Draws(
        counts=drawn.counts, undetected=_ratio(drawn.counts.undetected, drawn.counts.judged), names=sums.pictures,
        pictures=drawn.pictures,
    )  # fmt: skip


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def units(study: Study, *models: int) -> Units:
    """Returns how many participants answered to, and how many pictures were shown of, the least shown source model."""
    answers, cells = study.export.answers, study.export.cells
    owner = cells.model[answers.cell]
    shown = [np.flatnonzero(owner == model) for model in models]
    return Units(
        participants=min(len(np.unique(answers.participant[own])) for own in shown),
        pictures=min(len(np.unique(answers.picture[own])) for own in shown),
    )


def rates(study: Study, found: Draws, model: int) -> list[dict[str, Any]]:
    """Returns a row an ε of one source model: U with its interval, its parts, and their product (independence)."""
    cells, counted, rows = study.export.cells, found.counts, []
    levels = _judged(study, found, model)
    bounds = _bounds(study, found, model, study.plan.alpha / 2)
    for cell, low, high in zip(levels, *bounds, strict=True):
        judged, missed = counted.judged[0, cell], counted.undetected[0, cell]
        unseen = 1 - counted.yes[0, cell] / counted.trials[0, cell]
        fooled = counted.fooled[0, cell] / judged
        rows.append(
            {
                "eps": float(cells.eps[cell]), "answers": int(judged), "undetected": int(missed),
                "rate": {"estimate": float(missed / judged), "low": float(low), "high": float(high)},
                "fooled": float(fooled), "unseen": float(unseen), "if_independent": float(fooled * unseen),
            }
        )  # fmt: skip
    return rows


def _bounds(study: Study, found: Draws, model: int, tail: float) -> tuple[Floats, Floats]:
    """Bounds [K] of U at the ε of a source model, each with ``tail`` beyond it.

    Wilson's, of as many answers as would have the standard error of U if they were independent (the effective number of
    Rao & Scott 1992, Biometrics 48, 577–585), and no more than there are: draws cannot vary where nothing was missed.
    """
    levels = _judged(study, found, model)
    spread, n = crossed.error(found.undetected[:, levels], units(study, model)), found.counts.judged[0, levels]
    rate, variance = found.undetected[0, levels], np.nan_to_num(spread.standard, nan=np.inf) ** 2
    effective = np.divide(rate * (1 - rate), variance, out=n.copy(), where=variance > 0)
    return wilson(rate * np.minimum(effective, n), np.minimum(effective, n), spread.quantile(tail))


def _judged(study: Study, found: Draws, model: int) -> NDArray[np.int64]:
    return np.flatnonzero((study.export.cells.model == model) & (found.counts.judged[0] > 0))


def levels_judged(study: Study, found: Draws, model: int) -> Floats:
    """Returns the ε of a source model at which U is known."""
    levels: Floats = study.export.cells.eps[_judged(study, found, model)]
    return levels


def maximum(study: Study, found: Draws, model: int) -> dict[str, Any]:
    """Returns the largest U and the ε where it lies, with an interval and with the ε that it may lie at."""
    levels = _judged(study, found, model)
    tail, values = study.plan.alpha / 2, found.undetected[:, levels]
    return {
        "maximum": {
            "estimate": float(values[0].max()),
            "low": float(_bounds(study, found, model, tail / len(levels))[0].max()),
            "high": float(_bounds(study, found, model, tail)[1].max()),
        },
        "maximum_at": float(study.export.cells.eps[levels[values[0].argmax()]]),
        "maximum_may_be_at": study.export.cells.eps[levels[_may_be_largest(study, model, values)]].tolist(),
    }  # fmt: skip


def _may_be_largest(study: Study, model: int, values: Floats) -> NDArray[np.bool_]:
    """Of which ε no other has a rate that is larger by more than chance, [K]; Bonferroni over the others."""
    alpha = study.plan.alpha / max(values.shape[1] - 1, 1)
    kept = []
    for index in range(values.shape[1]):
        larger = values - values[:, [index]]
        spread = crossed.error(larger, units(study, model))
        kept.append(bool((_statistic(larger[0], spread) <= spread.quantile(alpha)).all()))
    return np.array(kept)


def _statistic(estimate: Floats, spread: Error) -> Floats:
    """Estimates over their standard errors, [...]; 0 where the draws do not vary or are too few."""
    return np.divide(estimate, spread.standard, out=np.zeros_like(estimate), where=spread.standard > 0)


def area(study: Study, found: Draws, model: int) -> dict[str, Any]:
    """Returns the area of U over log2 ε (trapezia, in octaves) between the tested ε, with its interval.

    Where no draw varies, the bounds are those of U at all ε together, α shared among them.
    """
    x = np.log2(levels_judged(study, found, model))
    values, own = areas(study, found, model), units(study, model)
    if crossed.error(values, own).standard != 0:
        return crossed.interval(values, own, study.plan.alpha, (0.0, float(x[-1] - x[0])))
    low, high = _bounds(study, found, model, study.plan.alpha / 2 / len(x))
    return {"estimate": float(values[0]), "low": float(np.trapezoid(low, x)), "high": float(np.trapezoid(high, x))}


def areas(study: Study, found: Draws, model: int) -> Floats:
    """Returns the area in every draw, [1 + 3B]."""
    levels = _judged(study, found, model)
    return np.asarray(np.trapezoid(found.undetected[:, levels], np.log2(study.export.cells.eps[levels]), axis=1))


def contrasts(study: Study, found: Draws, quantity: str) -> list[dict[str, Any]]:
    """Returns the differences of ``area`` or ``maximum`` between all pairs of source models, paired, after Holm.

    Pairs whose ε differ are left out, since an area over other ε is another quantity, and so are those whose difference
    is the same in every draw, of which nothing is known.
    """
    models = [index for index in range(len(study.export.cells.models)) if len(levels_judged(study, found, index)) > 1]
    difference = {"area": _area_difference, "maximum": _maximum_difference}[quantity]
    rows = []
    for first, second in combinations(models, 2):
        if np.array_equal(levels_judged(study, found, first), levels_judged(study, found, second)):
            row = difference(study, found, first, second)
            rows += [] if row is None else [_named(study, quantity, first, second) | row]
    corrected = holm([row["p"] for row in rows])
    return [{**row, "p_holm": p} for row, p in zip(rows, corrected, strict=True)]


def _named(study: Study, quantity: str, first: int, second: int) -> dict[str, Any]:
    models = study.export.cells.models
    return {"first": models[first], "second": models[second], "quantity": quantity}


def _area_difference(study: Study, found: Draws, first: int, second: int) -> dict[str, Any] | None:
    return tested(study, areas(study, found, first) - areas(study, found, second), units(study, first, second))


def tested(study: Study, values: Floats, own: Units) -> dict[str, Any] | None:
    """Returns the interval of a difference [1 + 3B] and its t test; ``None`` where the draws do not vary."""
    spread = crossed.error(values, own)
    if not spread.standard > 0 or not np.isfinite(values[0]):
        return None
    t = float(values[0] / spread.standard)
    difference = crossed.interval(values, own, study.plan.alpha)
    return {"difference": difference, "t": t, "df": float(spread.df), "p": float(spread.p(np.array(t)))}


def _maximum_difference(study: Study, found: Draws, first: int, second: int) -> dict[str, Any] | None:
    """The largest rate of one source model less that of another: max over its ε of the least difference to the other's.

    Bounds are those of all differences between one ε each: the truth is max min and min max of the true ones.
    """
    one, two = (found.undetected[:, _judged(study, found, index)] for index in (first, second))
    values = one[:, :, None] - two[:, None, :]
    spread = crossed.error(values, units(study, first, second))
    if not (spread.standard > 0).any():
        return None
    least = Error(standard=np.nan_to_num(spread.standard, nan=np.inf), df=spread.df.min())
    half = least.quantile(study.plan.alpha / 2 / one.shape[1]) * least.standard
    statistic = _statistic(values[0], least)
    t = max(statistic.max(axis=0).min(), 0.0) + min(statistic.min(axis=1).max(), 0.0)
    difference = {
        "estimate": float(one[0].max() - two[0].max()),
        "low": max(float((values[0] - half).max(axis=0).min()), -1.0),
        "high": min(float((values[0] + half).min(axis=1).max()), 1.0),
    }
    p = min(one.shape[1] * float(least.p(np.array(t))), 1.0)
    return {"difference": difference, "t": float(t), "df": float(least.df), "p": p}
