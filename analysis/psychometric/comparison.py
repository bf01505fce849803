"""Does the answer depend on the shape of S? The same data fitted with every family."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from analysis.likelihood import log_likelihood
from analysis.psychometric.fitting import fit_psychometric, probability
from analysis.psychometric.model import PsychometricModel
from analysis.psychometric.profiles import profile_interval
from analysis.psychometric.sigmoids import SIGMOIDS, Floats, Shape


@dataclass(frozen=True, kw_only=True)
class FamilyFit:
    """One family's fit of one data set; ``weight`` is Akaike's, over the families compared."""

    family: Shape
    threshold: float
    threshold_low: float
    threshold_high: float
    width: float
    deviance: float
    aic: float
    weight: float


def compare_families(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats) -> list[FamilyFit]:
    """Returns the fit of every shape to one set of counts [L], with all else as in ``model``."""
    rows = []
    for family in SIGMOIDS:
        fit = fit_psychometric(dataclasses.replace(model, family=family), levels, hits[None], trials[None])
        low, high = profile_interval(fit)
        value = float(log_likelihood(probability(fit, levels), hits[None], trials[None])[0])
        rows.append((family, fit, float(low[0]), float(high[0]), 2 * fit.free_parameters - 2 * value))
    best = min(row[4] for row in rows)
    total = sum(np.exp((best - row[4]) / 2) for row in rows)
    return [
        FamilyFit(
            family=family,
            threshold=float(fit.threshold[0]),
            threshold_low=low,
            threshold_high=high,
            width=float(fit.width[0]),
            deviance=float(fit.deviance[0]),
            aic=aic,
            weight=float(np.exp((best - aic) / 2) / total),
        )
        for family, fit, low, high, aic in rows
    ]
