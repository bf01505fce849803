"""Does the answer depend on the shape of S? The same data fitted with every family.

All shapes have as many parameters, so that AIC and BIC rank them alike and differ from −2 ln L by a constant. Neither
says whether a difference is more than chance gives. For that the model's own shape is taken for true: samples are drawn
from its fit, both shapes are fitted to each, and the gain of the other is compared with its gain in the data (Cox 1962,
J. R. Statist. Soc. B 24, 406-424; by parametric bootstrap Williams 1970, Biometrics 26, 23-32).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from analysis.likelihood import log_likelihood
from analysis.psychometric.fitting import PsychometricFit, fit_psychometric, probability
from analysis.psychometric.goodness import exceeded, simulated
from analysis.psychometric.model import PsychometricModel
from analysis.psychometric.profiles import profile_interval
from analysis.psychometric.sigmoids import SIGMOIDS, Floats, Shape
from core import rng


@dataclass(frozen=True, kw_only=True)
class FamilyFit:
    """One family's fit of one data set.

    Attributes:
        family: the shape.
        threshold: on the axis of S; ``threshold_low`` and ``threshold_high`` its profile likelihood interval.
        width: from 5 % to 95 % of the rise.
        deviance: against one probability a row.
        aic: Akaike's criterion; ``bic`` Schwarz's, with the number of trials.
        weight: Akaike's, over the families compared.
        favoured_p: share of samples of the model's own shape that this one fits better by as much as it fits the data;
            small: more than chance would make of the model's shape. ``None`` for the model's own shape.
    """

    family: Shape
    threshold: float
    threshold_low: float
    threshold_high: float
    width: float
    deviance: float
    aic: float
    bic: float
    weight: float
    favoured_p: float | None


def compare_families(
    model: PsychometricModel,
    levels: Floats,
    hits: Floats,
    trials: Floats,
    *,
    seed: int,
    samples: int = 500,
    level: float = 0.95,
) -> list[FamilyFit]:
    """Returns the fit of every shape to one set of counts [L], with all else as in ``model``.

    Args:
        model: what is fitted; its family is the one whose samples the others are tried on.
        levels: x of each row, [L].
        hits: [L].
        trials: [L].
        seed: of the samples.
        samples: drawn from the model's own fit.
        level: of the intervals.
    """
    own = fit_psychometric(model, levels, hits[None], trials[None])
    drawn = simulated(own, 0, samples, rng.numpy_generator(seed, "comparison of families"))
    again = fit_psychometric(model, levels, drawn, np.broadcast_to(trials, drawn.shape))
    fits = {
        family: fit_psychometric(dataclasses.replace(model, family=family), levels, hits[None], trials[None])
        for family in SIGMOIDS
    }
    aic = {family: 2 * fit.free_parameters - 2 * float(_likelihood(fit)[0]) for family, fit in fits.items()}
    total = sum(np.exp((min(aic.values()) - value) / 2) for value in aic.values())
    return [
        _family_fit(
            family,
            fits[family],
            level,
            aic=aic[family],
            weight=float(np.exp((min(aic.values()) - aic[family]) / 2) / total),
            favoured_p=None if family == model.family else _favoured(fits[family], own, again),
        )
        for family in SIGMOIDS
    ]


def _family_fit(
    family: Shape, fit: PsychometricFit, level: float, *, aic: float, weight: float, favoured_p: float | None
) -> FamilyFit:
    low, high = profile_interval(fit, level=level)
    return FamilyFit(
        family=family,
        threshold=float(fit.threshold[0]),
        threshold_low=float(low[0]),
        threshold_high=float(high[0]),
        width=float(fit.width[0]),
        deviance=float(fit.deviance[0]),
        aic=aic,
        bic=aic + fit.free_parameters * float(np.log(fit.trials.sum()) - 2),
        weight=weight,
        favoured_p=favoured_p,
    )


def _favoured(other: PsychometricFit, own: PsychometricFit, again: PsychometricFit) -> float:
    """How often samples of the own shape, fitted ``again``, gain as much by the other shape as the data do."""
    tried = fit_psychometric(other.model, again.levels, again.hits, again.trials)
    gain = float(_likelihood(other)[0] - _likelihood(own)[0])
    return exceeded(gain, _likelihood(tried) - _likelihood(again))


def _likelihood(fit: PsychometricFit) -> Floats:
    return log_likelihood(probability(fit, fit.levels), fit.hits, fit.trials)
