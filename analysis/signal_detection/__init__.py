"""Signal detection: sensitivity and criterion apart, for yes-no, 2AFC, same-different and ratings.

Everything works on counts and broadcasts, so that a bootstrap is one call. Rates carry the log-linear correction
(Hautus 1995), variances are binomial (Gourevitch & Galanter 1967; elsewhere by the delta method). Answers of one
person hang together: intervals of people come from resampling participants (``clustered``).
"""

from analysis.signal_detection.clustered import ClusteredInterval, clustered, clustered_interval
from analysis.signal_detection.power_law import (
    EXPONENT_PRIOR,
    MAX_EVIDENCE,
    PowerLawFit,
    d_prime_at,
    fit_power_law,
    threshold_errors,
)
from analysis.signal_detection.ratings import (
    RatingFit,
    area_under_curve,
    area_variance,
    fit_ratings,
    roc_points,
)
from analysis.signal_detection.same_different import (
    SameDifferent,
    differencing,
    different_rate,
    independent_observations,
)
from analysis.signal_detection.two_alternatives import SideBias, TwoAlternatives, by_side, two_alternatives
from analysis.signal_detection.yes_no import Sensitivity, d_prime_covariance, log_linear_rate, sensitivity, z_score

__all__ = [
    "EXPONENT_PRIOR",
    "MAX_EVIDENCE",
    "ClusteredInterval",
    "PowerLawFit",
    "RatingFit",
    "SameDifferent",
    "Sensitivity",
    "SideBias",
    "TwoAlternatives",
    "area_under_curve",
    "area_variance",
    "by_side",
    "clustered",
    "clustered_interval",
    "d_prime_at",
    "d_prime_covariance",
    "differencing",
    "different_rate",
    "fit_power_law",
    "fit_ratings",
    "independent_observations",
    "log_linear_rate",
    "roc_points",
    "sensitivity",
    "threshold_errors",
    "two_alternatives",
    "z_score",
]
