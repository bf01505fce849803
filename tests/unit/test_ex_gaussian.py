"""The ex-Gaussian fit: recovery, an independent density, its gradient, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.stats import exponnorm

from analysis import ex_gaussian
from core import rng


@given(st.floats(-500, 3000), st.floats(200, 600), st.floats(20, 120), st.floats(30, 400))
def test_the_density_is_scipys(x, mu, sigma, tau):
    ours = ex_gaussian.log_density(np.array([x]), mu, sigma, tau)[0]
    theirs = exponnorm.logpdf(x, tau / sigma, loc=mu, scale=sigma)
    if np.isfinite(theirs) and theirs > -600:
        assert ours == pytest.approx(theirs, abs=1e-6, rel=1e-6)


@given(st.floats(-1, 0.5), st.floats(-1.5, 0.5), st.floats(-1.5, 0.5))
def test_the_gradient_is_that_of_the_loss(mu, log_sigma, log_tau):
    x = np.linspace(-1.5, 3, 30)
    theta = np.array([mu, log_sigma, log_tau])
    found = ex_gaussian._loss(theta, x)[1]
    assert found == pytest.approx(approx_fprime(theta, lambda each: ex_gaussian._loss(each, x)[0], 1e-7), abs=2e-4)


def test_the_parameters_are_recovered_within_two_standard_errors():
    """200 samples of 400 times; the mean of the estimates against its own standard error, a small bias allowed."""
    generator = rng.numpy_generator(3, "ex-gaussian")
    true = np.array([450.0, 60.0, 180.0])
    found = []
    for _ in range(200):
        times = generator.normal(true[0], true[1], 400) + generator.exponential(true[2], 400)
        fitted = ex_gaussian.fit(times)
        assert fitted.converged
        found.append((fitted.mu, fitted.sigma, fitted.tau))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(200)
    assert np.all(np.abs(mean - true) < 2 * error + 0.01 * true)


def test_the_fit_moves_and_stretches_with_its_times():
    generator = rng.numpy_generator(4, "ex-gaussian")
    times = generator.normal(300, 40, 100) + generator.exponential(120, 100)
    one, other = ex_gaussian.fit(times), ex_gaussian.fit(times / 1000 + 2)
    assert (other.mu, other.sigma, other.tau) == pytest.approx((one.mu / 1000 + 2, one.sigma / 1000, one.tau / 1000))
    assert other.log_likelihood == pytest.approx(one.log_likelihood + 100 * np.log(1000))


def test_no_maximum_nearby_is_higher():
    generator = rng.numpy_generator(5, "ex-gaussian")
    times = generator.normal(300, 40, 80) + generator.exponential(120, 80)
    best = ex_gaussian.fit(times)
    assert best.log_likelihood == pytest.approx(
        ex_gaussian.log_density(times, best.mu, best.sigma, best.tau).sum(), abs=1e-6
    )
    for factor in (0.98, 1.02):
        assert ex_gaussian.log_density(times, best.mu * factor, best.sigma, best.tau).sum() < best.log_likelihood
        assert ex_gaussian.log_density(times, best.mu, best.sigma * factor, best.tau).sum() < best.log_likelihood
        assert ex_gaussian.log_density(times, best.mu, best.sigma, best.tau * factor).sum() < best.log_likelihood


def test_too_few_times_and_times_without_spread_have_no_fit():
    assert ex_gaussian.fit(np.arange(float(ex_gaussian.FEWEST - 1))) is None
    assert ex_gaussian.fit(np.full(100, 500.0)) is None
