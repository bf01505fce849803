"""Published curves beside R's generalised linear models: thresholds, widths, standard errors, deviances, likelihoods.

``frequency_of_seeing``: all five curves of Hecht, Shlaer & Pirenne (1942), J. Gen. Physiol. 25:819, Table V (shares in
per cent of the trials that the paper names, written as counts). ``contrast_detection``: where a letter of four sizes
was, 4 alternatives, of Yssaad-Fesselier & Knoblauch (2006), Behav. Res. Methods 38:28 (psyphy's ecc2).
``naming_contrast``: Geirhos et al. (2021), four people, 16 alternatives. ``peers.R`` prints the numbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import gammaln, xlog1py, xlogy
from scipy.stats import t as student

from analysis.psychometric import PsychometricModel, Quantity, fit_psychometric, interval, probability
from analysis.psychometric.goodness import pearson

TABLES = Path(__file__).parent / "tables"
FAMILIES = {
    "probit": "normal", "logit": "logistic", "cloglog": "gumbel",
    "mafc.probit": "normal", "mafc.logit": "logistic", "mafc.weib": "gumbel",
    "mafc.cauchit": "student-t",
}  # fmt: skip
# curve, link: m, its standard error, w, standard error of ln w, deviance, log likelihood (R 4.2.2)
SEEN = {
    ("SH 1", "probit"): (2.1168205, 0.0222472, 0.5349701, 0.1238462, 2.7810147, -6.6805015),
    ("SH 1", "logit"): (2.11926372, 0.02257435, 0.54325472, 0.13813522, 4.09331461, -7.33665148),
    ("SH 1", "cloglog"): (2.14772982, 0.02171245, 0.54277692, 0.14100538, 2.06955300, -6.32477067),
    ("SH 2", "probit"): (2.02101430, 0.02220637, 0.57633257, 0.11529593, 0.55434695, -6.63611478),
    ("SH 2", "logit"): (2.0195582, 0.0223791, 0.5781686, 0.1296047, 1.3756455, -7.0467641),
    ("SH 2", "cloglog"): (2.05644637, 0.02325624, 0.66221639, 0.12288838, 5.83552593, -9.27670427),
    ("SS 1", "probit"): (1.91759442, 0.01892144, 0.55284080, 0.10271241, 2.36642669, -8.04639771),
    ("SS 1", "logit"): (1.9213584, 0.0189860, 0.5508880, 0.1160037, 2.9215010, -8.3239349),
    ("SS 1", "cloglog"): (1.95139560, 0.01828826, 0.56022172, 0.10726239, 1.35252640, -7.53944756),
    ("SS 2", "probit"): (1.96618198, 0.01802706, 0.47703924, 0.11249206, 2.33056709, -6.57502735),
    ("SS 2", "logit"): (1.96888517, 0.01799873, 0.47603995, 0.12697673, 3.40512036, -7.11230398),
    ("SS 2", "cloglog"): (1.9971269, 0.0174646, 0.4893825, 0.1104771, 2.7879703, -6.8037289),
    ("MHP 1", "probit"): (2.06986898, 0.02224518, 0.75169658, 0.09335288, 8.13954589, -12.93015045),
    ("MHP 1", "logit"): (2.07533789, 0.02227046, 0.74447914, 0.10704680, 6.50479600, -12.11277550),
    ("MHP 1", "cloglog"): (2.11157045, 0.02178801, 0.76384936, 0.10178620, 4.00440864, -10.86258183),
}
# size, link of psyphy 0.2-3 with 4 alternatives: the same
DETECTED = {
    ("12.4", "mafc.weib"): (-0.86862934, 0.01484917, 0.56298153, 0.10262783, 13.40574071, -17.69649566),
    ("12.4", "mafc.probit"): (-0.87989149, 0.01324236, 0.41257802, 0.10430831, 3.47343161, -12.73034111),
    ("12.4", "mafc.logit"): (-0.88031617, 0.01251918, 0.40066916, 0.11728382, 1.93831394, -11.96278227),
    ("12.4", "mafc.cauchit"): (-0.87789929, 0.00384284, 0.29951297, 0.31166598, 6.76555792, -14.37640426),
    ("20.6", "mafc.weib"): (-1.17352401, 0.01369276, 0.47285093, 0.10405841, 2.96468366, -11.46250410),
    ("20.6", "mafc.probit"): (-1.19148510, 0.01303212, 0.40679123, 0.10393401, 4.24955273, -12.10493864),
    ("20.6", "mafc.logit"): (-1.18848312, 0.01230709, 0.39685690, 0.11573579, 5.53408102, -12.74720278),
    ("20.6", "mafc.cauchit"): (-1.190155424, 0.004004313, 0.294141387, 0.309337498, 16.634220014, -18.297272280),
    ("41.3", "mafc.weib"): (-1.46894854, 0.01327726, 0.47721281, 0.11178658, 5.38874661, -13.02792291),
    ("41.3", "mafc.probit"): (-1.47921132, 0.01257219, 0.38430794, 0.10942968, 6.34273955, -13.50491938),
    ("41.3", "mafc.logit"): (-1.48016192, 0.01205659, 0.39261680, 0.11475601, 7.73434073, -14.20071997),
    ("41.3", "mafc.cauchit"): (-1.489394883, 0.005887776, 0.445687128, 0.235100620, 20.741603395, -20.704351302),
    ("83.0", "mafc.weib"): (-1.70869227, 0.01115309, 0.46678597, 0.09400306, 5.37705414, -12.38734908),
    ("83.0", "mafc.probit"): (-1.717979595, 0.009814794, 0.369405265, 0.088101286, 7.479875607, -13.438759817),
    ("83.0", "mafc.logit"): (-1.715527869, 0.009498131, 0.364057604, 0.096055462, 8.601649924, -13.999646976),
    ("83.0", "mafc.cauchit"): (-1.716098891, 0.008857481, 0.516592486, 0.152521153, 27.759643910, -23.578643969),
}
# probit.lambda(16, λ) of psyphy; statsmodels 0.15 has the same coefficients
NAMED = {
    0.0: (1.04020185, 0.01475745, 2.16961139, 0.02934094, 173.52198423, -112.32332037),
    0.16458: (0.82950440, 0.01250731, 1.05792646, 0.04999995, 8.58800926, -29.85633289),
}


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(TABLES / f"{name}.csv")


def fitted(model: PsychometricModel, levels, hits, trials):
    counts = (np.asarray(column, dtype=float)[None] for column in (hits, trials))
    return fit_psychometric(model, np.log10(np.asarray(levels, dtype=float)), *counts)


def standard_error(fit, quantity: Quantity) -> float:
    """Of m, or of ln w: half the quasi-t interval, less its quantile and its factor for overdispersion."""
    found = interval(fit, quantity, "quasi-t")
    low, high = (found.low, found.high) if quantity.name == "threshold" else np.log([found.low, found.high])
    degrees = len(fit.levels) - fit.free_parameters
    spread = max(1.0, float(pearson(probability(fit, fit.levels)[0], fit.hits[0], fit.trials[0])) / degrees)
    return float((high - low) / 2 / student.ppf(0.975, degrees) / np.sqrt(spread))


def summary(fit) -> tuple[float, ...]:
    p, k, n = probability(fit, fit.levels)[0], fit.hits[0], fit.trials[0]
    likelihood = (xlogy(k, p) + xlog1py(n - k, -p) + gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)).sum()
    errors = (standard_error(fit, Quantity()), standard_error(fit, Quantity(name="width")))
    return fit.threshold[0], errors[0], fit.width[0], errors[1], fit.deviance[0], likelihood


@pytest.mark.parametrize(("curve", "link"), SEEN)
def test_all_five_frequency_of_seeing_curves_are_fitted_as_by_r(curve, link):
    seen = table("frequency_of_seeing")
    rows = seen[(seen["observer"] + " " + seen["run"].astype(str)) == curve]
    model = PsychometricModel(family=FAMILIES[link], guess=0.0, lapse=0.0)
    found = summary(fitted(model, rows["quanta"], rows["seen"], rows["trials"]))
    assert found == pytest.approx(SEEN[curve, link], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("size", "link"), DETECTED)
def test_contrast_detection_among_four_alternatives_is_fitted_as_by_psyphy(size, link):
    detection = table("contrast_detection")
    rows = detection[detection["size"] == float(size)]
    model = PsychometricModel(family=FAMILIES[link], guess=1 / 4, lapse=0.0)
    found = summary(fitted(model, rows["contrast"], rows["right"], rows["trials"]))
    assert found == pytest.approx(DETECTED[size, link], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("lapse", NAMED)
def test_naming_among_sixteen_with_a_known_lapse_rate_is_fitted_as_by_psyphy(lapse):
    rows = table("naming_contrast")
    model = PsychometricModel(family="normal", guess=1 / 16, lapse=lapse)
    found = summary(fitted(model, rows["contrast"], rows["right"], rows["trials"]))
    assert found == pytest.approx(NAMED[lapse], rel=1e-4, abs=1e-5)


def test_coefficients_and_standard_errors_of_statsmodels_with_a_link_of_its_own():
    """statsmodels 0.15, Binomial with a link of 16 alternatives and λ .16458: b, their errors, deviance."""
    rows = table("naming_contrast")
    model = PsychometricModel(family="normal", guess=1 / 16, lapse=0.16458)
    fit = fitted(model, rows["contrast"], rows["right"], rows["trials"])
    slope = 2 * 1.6448536 / fit.width[0]
    assert (-slope * fit.threshold[0], slope) == pytest.approx((-2.57941, 3.10958), abs=1e-4)
    assert slope * standard_error(fit, Quantity(name="width")) == pytest.approx(0.15548, abs=1e-4)
    assert fit.deviance[0] == pytest.approx(8.588, abs=1e-3)
