from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from analysis.signal_detection import d_prime_at, fit_power_law, log_linear_rate, sensitivity

EPS = np.array([0.0, *(1, 2, 4, 8, 16, 32) * 2])
MODEL = np.repeat([-1, 0, 1], [1, 6, 6])
LAW = {"eps": np.array([6.0, 2.5]), "b": np.array([1.4, 0.9]), "k": 0.6, "lapse": 0.03}


def law_probability() -> np.ndarray:
    d_prime = np.where(EPS > 0, d_prime_at(EPS, np.log2(LAW["eps"])[MODEL], LAW["b"][MODEL]), 0.0)
    return LAW["lapse"] / 2 + (1 - LAW["lapse"]) * ndtr(d_prime - LAW["k"])


def test_the_law_is_recovered_exactly_from_its_own_rates():
    trials = np.full((1, len(EPS)), 1e7)
    found = fit_power_law(EPS, MODEL, law_probability() * trials, trials)
    np.testing.assert_allclose(2 ** found.log2_eps_dprime1[0], LAW["eps"], rtol=1e-3)
    np.testing.assert_allclose(found.exponent[0], LAW["b"], rtol=1e-3)
    assert found.criterion[0] == pytest.approx(LAW["k"], abs=1e-3)
    assert found.lapse[0] == pytest.approx(LAW["lapse"], abs=1e-3)


def test_the_law_is_recovered_from_samples_without_bias():
    trials = np.full((200, len(EPS)), 500.0)
    yes = np.random.default_rng(2).binomial(500, law_probability(), size=trials.shape).astype(float)
    found = fit_power_law(EPS, MODEL, yes, trials)
    error = found.log2_eps_dprime1 - np.log2(LAW["eps"])
    assert (np.abs(error.mean(axis=0)) < 4 * error.std(axis=0) / np.sqrt(200) + 0.01).all()
    assert found.fit.converged.mean() > 0.99


def test_a_change_of_criterion_leaves_eps_at_d_prime_1_where_it_was():
    trials = np.full((1, len(EPS)), 1e7)
    d_prime = np.where(EPS > 0, d_prime_at(EPS, np.log2(LAW["eps"])[MODEL], LAW["b"][MODEL]), 0.0)
    thresholds = [
        fit_power_law(EPS, MODEL, ndtr(d_prime - k) * trials, trials).log2_eps_dprime1[0] for k in (-0.2, 0.5, 1.2)
    ]
    np.testing.assert_allclose(thresholds[0], thresholds[2], atol=2e-3)
    np.testing.assert_allclose(thresholds[1], thresholds[2], atol=2e-3)


def test_d_prime_and_criterion_of_a_worked_case():
    found = sensitivity(np.array(19.5), np.array(24.0), np.array(4.5), np.array(24.0))  # rates 0.8 and 0.2
    assert float(found.d_prime) == pytest.approx(2 * 0.8416212, abs=1e-6)
    assert float(found.criterion) == pytest.approx(0.0, abs=1e-12)


@settings(derandomize=True, max_examples=60)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_d_prime_changes_sign_with_the_roles_and_c_with_the_answers(signal, noise, data):
    hits, false = data.draw(st.integers(0, signal)), data.draw(st.integers(0, noise))
    one = sensitivity(*(np.array(float(x)) for x in (hits, signal, false, noise)))
    swapped = sensitivity(*(np.array(float(x)) for x in (false, noise, hits, signal)))
    reversed_ = sensitivity(*(np.array(float(x)) for x in (signal - hits, signal, noise - false, noise)))
    assert float(swapped.d_prime) == pytest.approx(-float(one.d_prime))
    assert float(reversed_.criterion) == pytest.approx(-float(one.criterion))
    assert float(one.d_prime_variance) > 0


def test_rates_are_never_zero_or_one():
    assert log_linear_rate(np.array([0.0, 20.0]), np.array([20.0, 20.0])).tolist() == [0.5 / 21, 20.5 / 21]


def test_the_binomial_variance_of_d_prime_agrees_with_simulation():
    generator = np.random.default_rng(8)
    hits, false = generator.binomial(200, 0.75, 20000), generator.binomial(300, 0.3, 20000)
    found = sensitivity(hits.astype(float), np.array(200.0), false.astype(float), np.array(300.0))
    assert found.d_prime.var() == pytest.approx(found.d_prime_variance.mean(), rel=0.05)
    assert found.criterion.var() == pytest.approx(found.criterion_variance.mean(), rel=0.05)
