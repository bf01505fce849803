"""Joint fits of several curves with common asymptotes beside a search by scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from scipy.special import ndtr, xlog1py, xlogy

from analysis.psychometric import PsychometricModel, fit_psychometric, fit_shared
from core import rng

LEVELS = np.array([-np.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 5.0])
WHICH = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
TRUE_M, TRUE_W, GUESS, LAPSE = np.array([1.6, 2.7]), np.array([1.8, 2.6]), 0.08, 0.07
STANDARD_WIDTH = 3.289707
PRIOR = (2.0, 1.0)


def probability(m, w, guess, lapse):
    s = np.where(np.isfinite(LEVELS), ndtr((LEVELS - m[WHICH]) / w[WHICH] * STANDARD_WIDTH), 0.0)
    return guess + (1 - guess - lapse) * s


def answers(seed, trials):
    generator = rng.numpy_generator(seed, "shared fits")
    n = np.where(np.isfinite(LEVELS), trials, 4 * trials).astype(int)
    return generator.binomial(n, probability(TRUE_M, TRUE_W, GUESS, LAPSE)).astype(float)[None], n[None].astype(float)


def scipys(hits, trials):
    """The joint mode of two m, two ln w, γ and λ, from several starts."""

    def minus_log_posterior(theta):
        guess, lapse = theta[4:]
        p = np.clip(probability(theta[:2], np.exp(theta[2:4]), guess, lapse), 1e-12, 1 - 1e-12)
        prior = 9 * np.log1p(-guess) + 9 * np.log1p(-lapse)
        prior -= (((theta[2:4] - np.log(PRIOR[0])) / PRIOR[1]) ** 2 / 2).sum()
        return -(xlogy(hits[0], p) + xlog1py(trials[0] - hits[0], -p)).sum() - prior

    found = [
        optimize.minimize(
            minus_log_posterior,
            [*TRUE_M, *np.log(TRUE_W * scale), 0.05, lapse],
            method="L-BFGS-B",
            bounds=[(-5, 9), (-4, 10), (-3, 4), (-3, 4), (1e-7, 0.4999), (1e-7, 0.4999)],
            options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 2000},
        )
        for scale in (0.6, 1.0, 1.6)
        for lapse in (0.002, 0.08)
    ]
    best = min(found, key=lambda each: each.fun)
    return best.x, best.fun


@pytest.mark.parametrize(("seed", "trials"), [(1, 30), (2, 30), (3, 200), (4, 12)])
def test_the_joint_mode_is_that_of_a_search_by_scipy(seed, trials):
    hits, n = answers(seed, trials)
    shared = fit_shared(PsychometricModel(family="normal", width_prior=PRIOR), LEVELS, WHICH, hits, n)
    theta, minus = scipys(hits, n)
    assert shared.fit.objective[0] == pytest.approx(-minus, abs=2e-4)
    np.testing.assert_allclose(shared.threshold[0], theta[:2], atol=5e-3)
    np.testing.assert_allclose(np.log(shared.width[0]), theta[2:4], atol=1e-2)
    assert (shared.guess[0], shared.lapse[0]) == pytest.approx(tuple(theta[4:]), abs=2e-3)


def test_a_shared_lapse_rate_is_known_more_closely_than_that_of_one_curve():
    """Over 200 data sets its mean square error is below that of either curve alone, and its mean near the truth."""
    generator = rng.numpy_generator(5, "shared fits")
    n = np.where(np.isfinite(LEVELS), 40, 160)
    hits = generator.binomial(n, probability(TRUE_M, TRUE_W, GUESS, LAPSE), size=(200, len(LEVELS))).astype(float)
    model, trials = PsychometricModel(family="normal", width_prior=PRIOR), np.tile(n.astype(float), (200, 1))
    shared = fit_shared(model, LEVELS, WHICH, hits, trials).lapse
    for curve in range(2):
        rows = ~np.isfinite(LEVELS) | (curve == WHICH)
        alone = fit_psychometric(model, LEVELS[rows], hits[:, rows], trials[:, rows]).lapse
        assert ((shared - LAPSE) ** 2).mean() < 0.85 * ((alone - LAPSE) ** 2).mean()
    assert shared.mean() == pytest.approx(LAPSE, abs=0.02)
