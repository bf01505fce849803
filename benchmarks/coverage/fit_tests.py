"""Goodness of fit: whether p-values are uniform under the model, and how often a wrong shape is found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.psychometric import PsychometricFit, goodness_of_fit
from benchmarks.coverage.acceptance import Share, erred, uniform

SAMPLES = 99
ALPHA = 0.05
STATISTICS = {"p": "deviance", "pearson p": "Pearson’s X²"}


def p_values(
    fit: PsychometricFit, rows: Sequence[int], first: int, generator: np.random.Generator
) -> dict[str, list[float]]:
    """Returns the p-values of some data sets of a batch; those of the deviance and of X² spread over their steps.

    A p-value is a multiple of 1 / (SAMPLES + 1): a step is filled evenly, so that uniform means uniform.

    Args:
        fit: of the batch.
        rows: which data sets.
        first: number of the batch's first data set among all, which makes each seed another one.
        generator: of the filling.
    """
    found = [goodness_of_fit(fit, index, samples=SAMPLES, seed=first + index) for index in rows]
    filled = generator.random((2, len(found))) / (SAMPLES + 1)
    return {
        "p": (np.array([each.p_value for each in found]) - filled[0]).tolist(),
        "pearson p": (np.array([each.pearson_p for each in found]) - filled[1]).tolist(),
        "trend p": [each.trend_p for each in found],
    }


def shares(rows: Sequence[dict[str, Any]], *, known: bool) -> list[Share]:
    """Returns whether the tests keep their promise; of a curve whose S is another than the fit's, what they find out.

    Correlations of ranks of eight rows have few values, so that the test of a trend can only err too seldom.
    """
    every = {key: [value for row in rows for value in row[key]] for key in (*STATISTICS, "trend p")}
    small = {key: [value <= ALPHA for value in values] for key, values in every.items()}
    trend = erred("trend of the residuals", small["trend p"], "not above" if known else "reported")
    if not known:
        found = [erred(f"wrong S found out by {word}", small[key], "reported") for key, word in STATISTICS.items()]
        return [*found, trend]
    fits = [uniform(f"goodness of fit, {word}", every[key], "inside") for key, word in STATISTICS.items()]
    return [
        *fits,
        *(erred(f"test of fit, {word}", small[key], "inside") for key, word in STATISTICS.items()),
        trend,
    ]
