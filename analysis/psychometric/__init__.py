"""Psychometric functions: P(yes | x) = γ + (1 − γ − λ) S(x; m, w), fitted to many data sets at once.

m is the level where S = 0.5, w the distance between S = 0.05 and S = 0.95 (Schütt et al. 2016). In the report
x = log2 ε, so that w is in octaves; ε = 0 is x = −∞, where S is exactly 0 and the row speaks of γ alone.
"""

from analysis.psychometric.fitting import PsychometricFit, fit_psychometric, probability, slope_at, threshold_at
from analysis.psychometric.model import LOGIT_BOX, PsychometricModel
from analysis.psychometric.priors import ASYMPTOTE, BETA, LevelPrior, beta_prior, level_prior
from analysis.psychometric.shared import SharedFit, fit_shared
from analysis.psychometric.sigmoids import (
    SIGMOIDS,
    WIDTH_TAIL,
    Family,
    Shape,
    Sigmoid,
    linear_levels,
    log_levels,
)

__all__ = [
    "ASYMPTOTE", "BETA", "LOGIT_BOX", "SIGMOIDS", "WIDTH_TAIL", "Family", "LevelPrior", "PsychometricFit",
    "PsychometricModel", "Shape", "SharedFit", "Sigmoid", "beta_prior", "fit_psychometric", "fit_shared",
    "level_prior", "linear_levels", "log_levels", "probability", "slope_at", "threshold_at",
]  # fmt: skip
