"""What curves say beyond their parameters: intervals, goodness of fit, shapes, asymptotes in common, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.psychometric import (
    SIGMOIDS,
    LevelPrior,
    Outcome,
    PsychometricModel,
    Quantity,
    compare_families,
    fit_psychometric,
    fit_shared,
    goodness_of_fit,
    interval,
    isotonic,
    linear_levels,
    log_levels,
    model_free_thresholds,
    outcomes_of_counts,
    outcomes_of_fit,
    posterior,
    probability,
    profile_interval,
    separation,
    slope_at,
    threshold_at,
)
from analysis.psychometric.goodness import excess
from analysis.psychometric.overdispersion import log_kernel

LEVELS = np.array([-np.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
YES, TRIALS = np.array([3.0, 4, 8, 12, 17, 20, 20]), np.full(7, 20.0)
NORMAL = PsychometricModel(family="normal")


def fitted(model=NORMAL, yes=YES, levels=LEVELS):
    return fit_psychometric(model, levels, yes[None], np.full((1, len(yes)), 20.0))


def test_weibull_on_x_is_gumbel_on_its_logarithm():
    raw = np.array([0.0, *2.0 ** np.arange(6)])
    weibull = fitted(PsychometricModel(family="weibull"), levels=raw)
    gumbel = fitted(PsychometricModel(family="gumbel"), levels=np.where(raw > 0, np.log(np.maximum(raw, 1)), -np.inf))
    assert np.log(weibull.threshold[0]) == pytest.approx(gumbel.threshold[0], abs=1e-9)
    assert probability(weibull, np.array([0.0]))[0, 0] == weibull.guess[0]


def test_without_signal_is_exact_on_both_axes():
    eps = np.array([0.0, 1.0, 8.0])
    assert log_levels(eps).tolist() == [-np.inf, 0.0, 3.0]
    assert linear_levels(eps).tolist() == [-np.inf, 1.0, 8.0]


@pytest.mark.parametrize("proportion", [0.2, 0.75])
def test_the_threshold_at_a_level_is_where_the_curve_is(proportion):
    fit = fitted()
    at = threshold_at(fit, proportion)
    assert (probability(fit, at)[0, 0] - fit.guess[0]) / (1 - fit.guess[0] - fit.lapse[0]) == pytest.approx(proportion)
    assert probability(fit, threshold_at(fit, 0.6, of_answers=True))[0, 0] == pytest.approx(0.6)
    steps = probability(fit, at + np.array([-1e-5, 1e-5]))[0]
    assert slope_at(fit, at)[0, 0] == pytest.approx((steps[1] - steps[0]) / 2e-5, rel=1e-5)


def test_equal_asymptotes_are_equal():
    fit = fitted(PsychometricModel(family="normal", equal_asymptotes=True))
    assert fit.guess[0] == fit.lapse[0] > 0


def test_one_curve_alone_is_its_own_shared_fit():
    alone, shared = fitted(), fit_shared(NORMAL, LEVELS, np.zeros(7, dtype=int), YES[None], TRIALS[None])
    assert shared.threshold[0, 0] == pytest.approx(alone.threshold[0], abs=1e-5)
    assert shared.lapse[0] == pytest.approx(alone.lapse[0], abs=1e-5)


def test_curves_share_the_lapse_rate_that_all_their_answers_support():
    levels, which = np.tile(np.arange(6.0), 2), np.repeat([0, 1], 6)
    yes = np.array([[1.0, 5, 30, 70, 90, 90, 1, 3, 10, 40, 75, 90]])
    shared = fit_shared(PsychometricModel(family="normal", guess=0.0), levels, which, yes, np.full((1, 12), 100.0))
    assert shared.threshold[0, 0] < shared.threshold[0, 1]
    assert 0.05 < shared.lapse[0] < 0.11


def test_beta_binomial_answers_are_scipys():
    p, eta, n, k = 0.3, 0.25, 12.0, np.arange(13.0)
    v = 1 / eta**2 - 1
    ours = log_kernel(np.full(13, p), np.full(13, eta), k, np.full(13, n))
    theirs = stats.betabinom.logpmf(k, 12, p * v, (1 - p) * v) - stats.binom.logpmf(k, 12, 0.5) + 12 * np.log(0.5)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


@pytest.mark.parametrize("method", ["profile", "posterior", "bootstrap", "quasi-t"])
@pytest.mark.parametrize(
    "quantity", [Quantity(), Quantity(name="width"), Quantity(name="slope"), Quantity(proportion=0.6, of_answers=True)]
)
def test_every_method_gives_an_interval_around_the_estimate(method, quantity):
    found = interval(fitted(), quantity, method, samples=200, seed=1)
    assert found.low < found.estimate < found.high
    assert found.method


def test_profile_intervals_cover_as_they_say():
    generator = np.random.default_rng(3)
    levels = np.array([-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2])
    p = 0.03 + 0.95 * stats.norm.cdf((levels - 0.1) * 3.28971 / 1.2)
    yes = generator.binomial(40, p, size=(600, 7)).astype(float)
    low, high = profile_interval(fit_psychometric(NORMAL, levels, yes, np.full_like(yes, 40.0)))
    assert 0.92 < ((low <= 0.1) & (high >= 0.1)).mean() < 0.98


def test_goodness_of_fit_rejects_a_curve_that_cannot_have_been():
    good = goodness_of_fit(fitted(), samples=300, seed=2)
    bad = goodness_of_fit(fitted(yes=np.array([3.0, 18, 2, 16, 4, 20, 20])), samples=300, seed=2)
    assert good.p_value > 0.1
    assert bad.p_value < 0.01
    assert good.deviance == pytest.approx((good.residuals**2).sum())


def test_isotonic_rates_rise_and_pool_what_falls():
    np.testing.assert_allclose(isotonic(np.arange(3.0), np.array([2.0, 8, 6]), np.full(3, 10.0)), [0.2, 0.7, 0.7])


def test_model_free_thresholds_surround_a_symmetric_curve():
    model = replace(NORMAL, guess=0.0, lapse=0.0)
    counts = np.array([[0.0, 5, 10, 15, 20]])
    found = model_free_thresholds(fit_psychometric(model, np.arange(5.0), counts, np.full((1, 5), 20.0)), seed=1)
    assert (found.pava, found.spearman_karber) == pytest.approx((2.0, 2.0))
    assert found.pava_low < 2 < found.pava_high


def test_all_families_are_compared_and_their_weights_sum_to_one():
    found = compare_families(NORMAL, LEVELS, YES, TRIALS, seed=1, samples=50)
    assert [each.family for each in found] == list(SIGMOIDS)
    assert sum(each.weight for each in found) == pytest.approx(1)
    assert [each.family for each in found if each.favoured_p is None] == ["normal"]
    assert {round(each.bic - each.aic, 9) for each in found} == {round(4 * (np.log(140) - 2), 9)}


def test_a_shape_that_fits_better_than_chance_would_make_of_the_models_is_found_out():
    levels = np.array([-np.inf, *np.linspace(-4, 4, 9)])
    trials = np.full(10, 400.0)
    hits = np.round(trials * np.where(np.isfinite(levels), 0.5 + np.arctan(levels / 0.3) / np.pi, 0.0))
    heavy = {each.family: each for each in compare_families(NORMAL, levels, hits, trials, seed=1, samples=99)}
    assert heavy["student-t"].favoured_p == 0.01
    light = compare_families(replace(NORMAL, family="student-t"), levels, hits, trials, seed=1, samples=99)
    assert min(each.favoured_p for each in light if each.favoured_p is not None) > 0.05


def test_answers_that_hang_together_make_a_larger_eta():
    knows = replace(NORMAL, overdispersed=True)
    wild = np.array([3.0, 18, 2, 16, 4, 20, 20])
    assert posterior(knows, LEVELS, wild, TRIALS).mean("eta") > 2 * posterior(knows, LEVELS, YES, TRIALS).mean("eta")


def test_profiles_hold_no_prior_of_the_asymptotes():
    flat = interval(fitted(replace(NORMAL, beta=1.0)), Quantity(name="width"))
    found = interval(fitted(), Quantity(name="width"))
    assert (found.low, found.high) == pytest.approx((flat.low, flat.high), rel=1e-6)


def test_a_deviance_counts_only_rows_that_can_deviate():
    p = np.array([[0.0, 0.5, 1.0, 1.0], [0.1, 0.5, 0.9, 1.0 - 1e-7]])
    assert excess(np.array([3.0, 3.0]), p).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("yes", "trials", "outcome"),
    [
        ([0, 0, 0, 0, 0, 0, 0], [0] * 7, Outcome.NO_TRIALS),
        ([2, 9, 0, 0, 0, 0, 0], [20, 20, 0, 0, 0, 0, 0], Outcome.ONE_LEVEL),
        ([0, 1, 5, 9, 14, 19, 20], [0] + [20] * 6, Outcome.NO_CATCH_TRIALS),
        ([20] * 7, [20] * 7, Outcome.ALL_YES),
        ([0] * 7, [20] * 7, Outcome.ALL_NO),
        ([0, 2, 18, 2, 18, 1, 19], [20] * 7, Outcome.NOT_MONOTONE),
        ([0, 0, 0, 0, 20, 20, 20], [20] * 7, Outcome.SEPARATED),
    ],
)
def test_counts_that_hold_no_number_say_so(yes, trials, outcome):
    assert outcome in outcomes_of_counts(LEVELS, np.array(yes, dtype=float), np.array(trials, dtype=float))


def test_separated_answers_name_the_levels_between_which_they_change():
    assert separation(LEVELS, np.array([0.0, 0, 0, 0, 20, 20, 20]), TRIALS) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("yes", "outcome"),
    [
        ([1, 0, 1, 0, 1, 2, 2], Outcome.ABOVE_RANGE),
        ([1, 18, 19, 20, 19, 20, 20], Outcome.BELOW_RANGE),
        ([1, 1, 2, 3, 5, 8, 11], Outcome.NO_LAPSE_ANCHOR),
    ],
)
def test_thresholds_beyond_what_was_tested_and_lapses_without_an_anchor_are_named(yes, outcome):
    model = PsychometricModel(family="normal", width_prior=(3.0, 1.0))
    assert outcome in outcomes_of_fit(fitted(model, np.array(yes, dtype=float)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PsychometricModel(proportion=1.0), "expected 0 < proportion < 1 and beta ≥ 1"),
        (lambda: PsychometricModel(equal_asymptotes=True, lapse=0.0), "equal_asymptotes estimates γ = λ"),
        (lambda: LevelPrior(low=1.0, high=0.0, gap=1.0), "expected low < high and 0 < gap"),
        (lambda: Quantity(of_answers=True), "of_answers needs name 'threshold' and a proportion"),
        (lambda: log_levels(np.array([-1.0])), "expected levels of 0 or more on a logarithmic axis"),
        (lambda: fit_shared(NORMAL, LEVELS, np.arange(7), YES[None], TRIALS[None]), "2 levels or more of each curve"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
