"""Mixed models of answers: people and pictures both differ, and both are samples.

Probit or logit, crossed random effects, Laplace's approximation. The pictures' block is eliminated (the participants'
where these are many more), so that cost grows with answers and the third power of the smaller side. A curve of the
typical observer looking at the typical picture (conditional) is steeper than the average over them (marginal): every
curve says which it is.
"""

from analysis.mixed_models.detection import (
    DetectionModel,
    Trials,
    conditional,
    fit_detection,
    grouped,
    marginal,
    marginal_log2_eps,
    products,
    with_covariance,
)
from analysis.mixed_models.fitting import MixedFit, Random, Spread, fit

__all__ = [
    "DetectionModel",
    "MixedFit",
    "Random",
    "Spread",
    "Trials",
    "conditional",
    "fit",
    "fit_detection",
    "grouped",
    "marginal",
    "marginal_log2_eps",
    "products",
    "with_covariance",
]
