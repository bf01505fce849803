"""Posteriors, modes and maximum likelihood fits beside numbers of other programs, through the public interface.

Data and numbers: A is psignifit 4's demonstration data (2AFC), B Hecht, Shlaer & Pirenne's observer SH (yes-no), H
Geirhos et al.'s contrast data (16 alternatives). ``ORACLE`` holds posteriors by midpoint quadrature on grids of up to
120 × 120 × 50 × 30 cells with psignifit's priors; ``PSIGNIFIT`` the modes that psignifit 4.3 prints, which stop near
the mode (Nelder-Mead: 1e-3 of m, up to 3e-3 of w). The exact modes are computed here, by Nelder-Mead in double
precision from several starts.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import betaln, expit, ndtr, xlog1py, xlogy

from analysis.psychometric import (
    PsychometricModel,
    Quantity,
    fit_psychometric,
    interval,
    level_prior,
    posterior,
)

DEMONSTRATION = (
    ".0010:45 .0015:50 .0020:44 .0025:44 .0030:52 .0035:53 .0040:62 "
    ".0045:64 .0050:76 .0060:79 .0070:88 .0080:90 .0100:90"
)
DATA = {
    "A": (DEMONSTRATION, 90, False, 0.5),
    "B": ("46.9:0 73.1:3 113.8:12 177.4:26 276.1:35 421.7:35", 35, True, None),
    "H": ("1:40 3:96 5:226 10:381 15:470 30:509 50:529 100:548", 640, True, 1 / 16),
}  # fmt: skip
ORACLE = {
    ("A", "threshold"): (0.004620, 0.004282, 0.004959), ("A", "width"): (0.004681, 0.003522, 0.006025),
    ("A", "lapse"): (0.0061, 0.0002, 0.0221), ("A", "eta"): (0.039, 0.001, 0.120),
    ("B", "threshold"): (2.1226, 2.0530, 2.1898), ("B", "width"): (0.5211, 0.3427, 0.7415),
    ("B", "guess"): (0.0307, 0.0010, 0.1039), ("H", "threshold"): (0.8316, 0.7848, 0.8834),
    ("H", "width"): (1.0840, 0.9048, 1.3302), ("H", "lapse"): (0.1625, 0.1281, 0.1923),
}  # fmt: skip
PSIGNIFIT = {
    ("A", "normal"): (0.0046464, 0.0046632), ("A", "logistic"): (0.004633, 0.0048306),
    ("A", "gumbel"): (0.0048295, 0.0055949), ("A", "reverse-gumbel"): (0.0044961, 0.004388),
    ("B", "normal"): (2.1167, 0.53464), ("H", "normal"): (0.82964, 1.0568), ("H", "logistic"): (0.83275, 1.1407),
    ("H", "gumbel"): (0.85576, 1.0736),
}  # fmt: skip
STANDARD = {
    "normal": stats.norm, "logistic": stats.logistic, "gumbel": stats.gumbel_l, "reverse-gumbel": stats.gumbel_r,
}  # fmt: skip
CDF = {  # those of scipy.stats check their arguments, which takes longer than all the rest
    "normal": ndtr,
    "logistic": expit,
    "gumbel": lambda z: -np.expm1(-np.exp(np.minimum(z, 700))),
    "reverse-gumbel": lambda z: np.exp(-np.exp(np.minimum(-z, 700))),
}


def data(name):
    text, trials, log10, guess = DATA[name]
    pairs = np.array([[float(number) for number in pair.split(":")] for pair in text.split()])
    levels = np.log10(pairs[:, 0]) if log10 else pairs[:, 0]
    return levels, pairs[:, 1], np.full(len(pairs), float(trials)), guess


def psignifit_model(name, family="normal"):
    levels, _, _, guess = data(name)
    return PsychometricModel(family=family, guess=guess, levels=level_prior(levels), overdispersed=True)


@pytest.fixture(scope="module")
def posteriors():
    return {name: posterior(psignifit_model(name), *data(name)[:3]) for name in DATA}


@pytest.mark.parametrize(("name", "parameter"), ORACLE)
def test_mean_and_interval_are_within_2_percent_of_the_oracles_interval(posteriors, name, parameter):
    mean, low, high = ORACLE[name, parameter]
    found = (posteriors[name].mean(parameter), *posteriors[name].interval(parameter))
    rounding = 5e-5 if parameter in ("lapse", "guess") else 5e-4 if parameter == "eta" else 0.0
    np.testing.assert_allclose(found, (mean, low, high), rtol=0, atol=0.02 * (high - low) + rounding)


def beta_binomial(hits, trials, p, eta):
    """Log probabilities without their binomial coefficients, by scipy; binomial where η is next to 0."""
    if eta**2 < 1e-9:
        return xlogy(hits, p) + xlog1py(trials - hits, -p)
    v = 1 / eta**2 - 1
    return betaln(hits + p * v, trials - hits + (1 - p) * v) - betaln(p * v, (1 - p) * v)


def exact_mode(name, family):
    """The mode over (m, ln w, λ, η, γ) by scipy alone; where γ is fixed it stays."""
    levels, hits, trials, guess = data(name)
    law = STANDARD[family]
    spread, middle, cdf = law.ppf(0.95) - law.ppf(0.05), law.median(), CDF[family]
    low, high, gap = levels.min(), levels.max(), np.diff(levels).min()
    span = high - low

    def minus_log_posterior(theta):
        m, log_w, lapse, eta = theta[:4]
        chance = guess if guess is not None else abs(theta[4])
        w, lapse, eta = np.exp(log_w), abs(lapse), abs(eta)
        if not (low - span / 2 < m < high + span / 2 and gap < w < 3 * span and lapse < 0.5 and chance < 0.5 + 1e-9):
            return 1e9
        p = chance + (1 - chance - lapse) * cdf((levels - m) / w * spread + middle)
        p = np.clip(p, 1e-14, 1 - 1e-14)
        value = beta_binomial(hits, trials, p, eta).sum() + 9 * np.log1p(-lapse) + 9 * np.log1p(-min(eta, 0.99))
        value += 0 if guess is not None else 9 * np.log1p(-chance)
        outside = max(low - m, m - high, 0) / (span / 2)
        value += np.log((1 + np.cos(np.pi * outside)) / 2)
        beyond = max(2 * gap - w, 0) / gap, max(w - span, 0) / (2 * span)
        return -(value + sum(np.log((1 + np.cos(np.pi * each)) / 2) for each in beyond))

    options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 3000, "maxfev": 3000, "adaptive": True}
    best = None
    for lapse, eta in ((1e-4, 0.01), (0.15, 0.05)):
        start = [np.median(levels), np.log(span / 2), lapse, eta, *([] if guess is not None else [1e-3])]
        for _ in range(3):
            found = optimize.minimize(minus_log_posterior, start, method="Nelder-Mead", options=options)
            start = found.x
        best = found if best is None or found.fun < best.fun else best
    return best.x[0], np.exp(best.x[1]), abs(best.x[2]), abs(best.x[3])


@pytest.mark.parametrize(("name", "family"), list(PSIGNIFIT))
def test_the_mode_is_that_of_a_search_by_scipy_and_psignifits_within_its_tolerance(name, family):
    levels, hits, trials, _ = data(name)
    fit = fit_psychometric(psignifit_model(name, family), levels, hits[None], trials[None])
    exact = exact_mode(name, family)
    assert (fit.threshold[0], fit.width[0]) == pytest.approx(exact[:2], rel=1e-4)
    assert fit.lapse[0] == pytest.approx(exact[2], abs=1e-4)
    assert fit.eta[0] == pytest.approx(exact[3], abs=1e-3)
    assert fit.threshold[0] == pytest.approx(PSIGNIFIT[name, family][0], rel=1e-3)
    assert fit.width[0] == pytest.approx(PSIGNIFIT[name, family][1], rel=3.5e-3)


def test_overdispersion_that_psignifit_finds_is_found():
    """psignifit 4.3: m .85576, w 1.0736, λ .17412, η .052."""
    levels, hits, trials, _ = data("H")
    fit = fit_psychometric(psignifit_model("H", "gumbel"), levels, hits[None], trials[None])
    assert fit.threshold[0] == pytest.approx(0.85576, abs=2e-3)
    assert fit.width[0] == pytest.approx(1.0736, rel=5e-3)
    assert fit.lapse[0] == pytest.approx(0.17412, abs=2e-3)
    assert fit.eta[0] == pytest.approx(0.052, abs=2e-3)


@pytest.mark.parametrize(
    ("quanta", "trials", "threshold", "width", "error"),
    [
        (DATA["B"][0], 35, 2.11682, 0.53497, 0.02225),
    ],
)
def test_probit_regression_of_r_is_matched_with_its_standard_error(quanta, trials, threshold, width, error):
    """R's glm with a delta standard error of the threshold (Hecht, Shlaer & Pirenne, SH, first run)."""
    levels, hits, n, _ = data("B")
    model = PsychometricModel(family="normal", guess=0.0, lapse=0.0)
    fit = fit_psychometric(model, levels, hits[None], n[None])
    assert (fit.threshold[0], fit.width[0]) == pytest.approx((threshold, width), rel=1e-5)
    found = interval(fit, Quantity(), "profile")
    assert (found.high - found.low) / (2 * 1.95996) == pytest.approx(error, rel=0.05)


ORIENTATIONS = "-250 -200 -150 -100 -50 0 50 100"


@pytest.mark.parametrize(("family", "deviance"), [("normal", 31.6)])
def test_a_curve_without_lapses_fails_where_quickpsy_and_psignifit_say(family, deviance):
    """quickpsy's example, participant 1, condition 1: m −70.215, σ 78.48; deviance 31.6 on 6 degrees of freedom."""
    levels = np.array([float(x) for x in ORIENTATIONS.split()])
    hits = np.array([[2.0, 0, 1, 13, 32, 37, 36, 37]])
    model = PsychometricModel(family=family, guess=0.0, lapse=0.0)
    fit = fit_psychometric(model, levels, hits, np.full_like(hits, 40.0))
    assert fit.threshold[0] == pytest.approx(-70.215, abs=4e-3)
    assert fit.width[0] / 3.2897073 == pytest.approx(78.48, rel=1e-4)
    assert fit.deviance[0] == pytest.approx(deviance, abs=0.05)


@pytest.mark.skipif(importlib.util.find_spec("psignifit") is None, reason="psignifit comes with the extra bench")
def test_psignifit_itself_agrees_but_for_the_half_step_by_which_its_bounds_are_low():
    """Its cumulative mass is taken at the centres of cells, which moves every bound down by half a cell."""
    import psignifit

    levels, hits, trials, _ = data("A")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = psignifit.psignifit(np.column_stack([levels, hits, trials]), sigmoid="norm", experiment_type="2AFC")
    ours = posterior(psignifit_model("A"), levels, hits, trials)
    for name in ("threshold", "width"):
        low, high = theirs.confidence_intervals[name]["0.95"]
        half = np.diff(theirs.parameter_values[name]).mean() / 2
        np.testing.assert_allclose(ours.interval(name), (low + half, high + half), rtol=0, atol=0.015 * (high - low))
