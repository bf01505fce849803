"""Psychometric functions: P(yes | x) = γ + (1 − γ − λ) S(x; m, w), fitted to many data sets at once.

m is the level where S = 0.5, w the distance between S = 0.05 and S = 0.95 (Schütt et al. 2016). In the report
x = log2 ε, so that w is in octaves; ε = 0 is x = −∞, where S is exactly 0 and the row speaks of γ alone.
"""

from analysis.psychometric.comparison import FamilyFit, compare_families
from analysis.psychometric.curve_intervals import CurveInterval, interval, posterior_interval, single
from analysis.psychometric.fitting import PsychometricFit, fit_psychometric, probability, slope_at, threshold_at
from analysis.psychometric.goodness import GoodnessOfFit, goodness_of_fit
from analysis.psychometric.model import LOGIT_BOX, PsychometricModel
from analysis.psychometric.model_free import ModelFree, isotonic, model_free_thresholds, spearman_karber
from analysis.psychometric.outcomes import FATAL, Outcome, outcomes_of_counts, outcomes_of_fit, separation
from analysis.psychometric.posteriors import Marginals, Posterior, Resolution, posterior, posterior_batch, posterior_of
from analysis.psychometric.priors import ASYMPTOTE, BETA, LevelPrior, beta_prior, level_prior
from analysis.psychometric.profiles import Quantity, profile_interval
from analysis.psychometric.shared import SharedFit, fit_shared
from analysis.psychometric.sigmoids import SIGMOIDS, WIDTH_TAIL, Family, Shape, Sigmoid, linear_levels, log_levels

__all__ = [
    "ASYMPTOTE", "BETA", "FATAL", "LOGIT_BOX", "SIGMOIDS", "WIDTH_TAIL", "CurveInterval",
    "Family", "FamilyFit", "GoodnessOfFit", "LevelPrior", "Marginals", "ModelFree", "Outcome",
    "Posterior", "PsychometricFit", "PsychometricModel", "Quantity", "Resolution", "Shape",
    "SharedFit", "Sigmoid", "beta_prior", "compare_families", "fit_psychometric", "fit_shared",
    "goodness_of_fit", "interval", "isotonic", "level_prior", "linear_levels", "log_levels",
    "model_free_thresholds", "outcomes_of_counts", "outcomes_of_fit", "posterior",
    "posterior_batch", "posterior_interval", "posterior_of", "probability", "profile_interval", "separation",
    "single", "slope_at", "spearman_karber", "threshold_at",
]  # fmt: skip
