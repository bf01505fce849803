"""2AFC, same-different and ratings: worked values of the literature, laws, and simulation against the variances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

from analysis import signal_detection as sdt
from core import rng

MANY = 1e7


def counts(*values: float) -> list[np.ndarray]:
    return [np.array(float(value)) for value in values]


def test_d_prime_of_cells_with_common_noise_trials_err_together():
    found = sdt.d_prime_covariance(np.array([30.0, 45.0]), np.array([50.0, 50.0]), *counts(10, 60))
    apart = sdt.sensitivity(np.array([30.0, 45.0]), np.array([50.0, 50.0]), *counts(10, 60))
    np.testing.assert_allclose(np.diag(found), apart.d_prime_variance)
    assert found[0, 1] == found[1, 0] == pytest.approx(float(sdt.z_score(*counts(10, 60))[1]))


def test_the_covariance_of_d_prime_agrees_with_simulation():
    generator = rng.numpy_generator(1, "shared noise trials")
    hits, false = generator.binomial(80, [0.5, 0.8], (20000, 2)).astype(float), generator.binomial(60, 0.25, 20000)
    found = sdt.sensitivity(hits, np.array(80.0), false[:, None].astype(float), np.array(60.0)).d_prime
    expected = sdt.d_prime_covariance(np.array([40.0, 64.0]), np.array([80.0, 80.0]), *counts(15, 60))
    np.testing.assert_allclose(np.cov(found.T), expected, rtol=0.12)


def test_log_beta_is_criterion_times_d_prime():
    found = sdt.sensitivity(*counts(31, 40, 9, 50))
    assert float(found.log_beta) == pytest.approx(float(found.criterion * found.d_prime))
    generator = rng.numpy_generator(1, "log beta")
    drawn = sdt.sensitivity(
        generator.binomial(400, 0.7, 20000).astype(float), np.array(400.0),
        generator.binomial(400, 0.2, 20000).astype(float), np.array(400.0),
    )  # fmt: skip
    assert drawn.log_beta.var() == pytest.approx(drawn.log_beta_variance.mean(), rel=0.05)


@pytest.mark.parametrize(("d_prime", "correct"), [(1.0, 0.760), (2.0, 0.921)])
def test_two_alternatives_give_the_share_correct_of_the_tables(d_prime, correct):
    assert float(sdt.two_alternatives(*counts(correct * MANY, MANY)).d_prime) == pytest.approx(d_prime, abs=5e-3)


def test_a_side_bias_lowers_the_share_correct_but_not_d_prime_by_side():
    d_prime, bias = 1.5, 0.6
    left = MANY * ndtr(d_prime / np.sqrt(2) - bias), MANY * ndtr(-d_prime / np.sqrt(2) - bias)
    found = sdt.by_side(*counts(left[0], MANY, left[1], MANY))
    assert float(found.d_prime) == pytest.approx(d_prime, abs=1e-3)
    assert float(found.bias) == pytest.approx(bias, abs=1e-3)
    pooled = sdt.two_alternatives(*counts(left[0] + MANY - left[1], 2 * MANY))
    assert float(pooled.d_prime) < d_prime - 0.1


@pytest.mark.parametrize("rule", [sdt.differencing, sdt.independent_observations])
def test_an_unbiased_same_different_observer_with_d_prime_1_is_right_as_often_as_the_tables_say(rule):
    if rule is sdt.independent_observations:
        share = 0.573  # Macmillan & Creelman 2005, table 9.1
        hits, false_alarms = share, 1 - share
    else:
        k = 1.7
        hits, false_alarms = (float(sdt.different_rate(np.array(d), np.array(k))) for d in (1.0, 0.0))
    found = rule(*counts(hits * MANY, MANY, false_alarms * MANY, MANY))
    assert float(found.d_prime) == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("rule", [sdt.differencing, sdt.independent_observations])
def test_the_variance_of_same_different_d_prime_agrees_with_simulation(rule):
    generator = rng.numpy_generator(1, "same-different")
    hits, false = generator.binomial(2000, 0.7, 4000).astype(float), generator.binomial(2000, 0.3, 4000).astype(float)
    found = rule(hits, np.array(2000.0), false, np.array(2000.0))
    assert found.d_prime.var() == pytest.approx(found.d_prime_variance.mean(), rel=0.08)


@pytest.mark.parametrize("rule", [sdt.differencing, sdt.independent_observations])
def test_same_different_at_chance_gives_d_prime_0_with_no_finite_variance(rule):
    found = rule(*counts(10, 50, 12, 50))
    assert float(found.d_prime) == 0.0
    assert np.isinf(found.d_prime_variance)
    assert float(found.d_prime_of(found.discrimination + 1.0)) > 0


def test_bounds_of_discrimination_carry_over_to_d_prime_in_order():
    found = sdt.differencing(*counts(30, 50, 12, 50))
    grid = found.d_prime_of(found.discrimination + np.array([-0.3, 0.0, 0.3]))
    assert grid[0] < grid[1] < grid[2]
    assert grid[1] == pytest.approx(float(found.d_prime))


NOISE, SIGNAL = np.array([[40.0, 30, 15, 10, 5]]), np.array([[10.0, 15, 20, 25, 30]])


def test_the_roc_curve_rises_from_0_to_1_and_its_trapezoids_are_the_area():
    false, hit = sdt.roc_points(NOISE, SIGNAL)
    assert false[0].tolist() == pytest.approx([0, 0.05, 0.15, 0.30, 0.60, 1])
    assert np.trapezoid(hit[0], false[0]) == pytest.approx(float(sdt.area_under_curve(NOISE, SIGNAL)[0]))


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    noise, signal = (np.repeat(np.arange(5), x[0].astype(int)) for x in (NOISE, SIGNAL))
    compared = np.sign(signal[:, None] - noise[None, :])
    assert float(sdt.area_under_curve(NOISE, SIGNAL)[0]) == pytest.approx(((compared + 1) / 2).mean())


def test_the_variance_of_the_area_agrees_with_simulation():
    generator = rng.numpy_generator(1, "area")
    noise, signal = (generator.multinomial(100, x[0] / 100, 20000).astype(float) for x in (NOISE, SIGNAL))
    drawn = sdt.area_under_curve(noise, signal)
    assert drawn.var() == pytest.approx(float(sdt.area_variance(NOISE, SIGNAL)[0]), rel=0.05)


def rated(mu: float, sigma: float, criteria=(-0.5, 0.3, 0.9, 1.6), trials=1e6) -> tuple[np.ndarray, np.ndarray]:
    edges = np.array([-np.inf, *criteria, np.inf])
    return tuple(trials * np.diff(norm.cdf(edges, m, s))[None] for m, s in ((0.0, 1.0), (mu, sigma)))


def test_the_unequal_variance_model_is_recovered_from_its_own_shares():
    found = sdt.fit_ratings(*rated(1.2, 1.4))
    assert (float(found.mu[0]), float(found.sigma[0])) == pytest.approx((1.2, 1.4), abs=1e-3)
    assert float(found.zroc_slope[0]) == pytest.approx(1 / 1.4, abs=1e-3)
    assert float(found.d_a[0]) == pytest.approx(1.2 / np.sqrt((1 + 1.4**2) / 2), abs=1e-3)
    np.testing.assert_allclose(found.criteria[0], (-0.5, 0.3, 0.9, 1.6), atol=1e-3)


def test_the_variances_of_the_rating_model_agree_with_simulation():
    noise, signal = rated(1.2, 1.4, trials=1.0)
    generator = rng.numpy_generator(1, "ratings")
    drawn = [generator.multinomial(400, shares[0], 1500).astype(float) for shares in (noise, signal)]
    found = sdt.fit_ratings(*drawn)
    assert found.fit.converged.all()
    for values, variances in (
        (found.d_a, found.d_a_variance), (found.mu, found.mu_variance), (found.zroc_slope, found.zroc_slope_variance)
    ):  # fmt: skip
        assert values.var() == pytest.approx(variances.mean(), rel=0.15)


def test_two_ratings_cannot_tell_the_spread_and_give_d_prime():
    found = sdt.fit_ratings(np.array([[70.0, 30.0]]), np.array([[20.0, 80.0]]))
    assert float(found.sigma[0]) == 1.0
    assert float(found.zroc_slope_variance[0]) == pytest.approx(0.0, abs=1e-12)
    assert float(found.d_a[0]) == pytest.approx(norm.ppf(0.8) - norm.ppf(0.3), abs=1e-6)


def test_ratings_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected two arrays \[B, K\] of one shape with K >= 2"):
        sdt.fit_ratings(NOISE, SIGNAL[:, :4])


def test_clustered_intervals_widen_with_what_participants_have_in_common():
    generator = rng.numpy_generator(1, "clusters")
    share = ndtr(generator.normal(0.5, [[0.0], [1.0]], size=(2, 30)))
    people = [np.stack([generator.binomial(40, p), np.full(30, 40)], axis=1).astype(float) for p in share]

    def rate(pooled):
        return pooled[:, 0] / pooled[:, 1]

    alike, different = (
        sdt.clustered_interval(*sdt.clustered(rate, counts, replicates=400, seed=1), participants=30)
        for counts in people
    )
    assert different.standard_error > 1.5 * alike.standard_error
    assert alike.low < alike.estimate < alike.high
    wide = sdt.clustered_interval(np.array(0.5), np.array([0.4, 0.6]), 30, variance=np.array(4.0))
    assert float(wide.standard_error) == 2.0
