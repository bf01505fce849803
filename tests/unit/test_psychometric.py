from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.psychometric import SIGMOIDS, PsychometricModel, fit_psychometric, probability

LEVELS = np.array([-np.inf, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
FREE = PsychometricModel(width_prior=(3.0, 1.0))
counts = st.lists(st.integers(0, 20), min_size=len(LEVELS), max_size=len(LEVELS)).map(
    lambda k: np.array([k], dtype=float)
)
families = pytest.mark.parametrize("family", SIGMOIDS)


def fit(yes, trials=20.0, model=FREE, levels=LEVELS):
    return fit_psychometric(model, levels, yes, np.full_like(yes, trials))


@settings(derandomize=True, deadline=None, max_examples=40)
@given(counts)
def test_a_fitted_curve_never_falls_and_stays_between_its_asymptotes(yes):
    found = fit(yes)
    curve = probability(found, np.linspace(-2, 7, 50))[0]
    assert (np.diff(curve) >= 0).all()
    assert curve.min() >= found.guess[0] - 1e-12
    assert curve.max() <= 1 - found.lapse[0] + 1e-12


@settings(derandomize=True, deadline=None, max_examples=30)
@given(counts, st.permutations(range(len(LEVELS))))
def test_the_order_of_rows_does_not_matter(yes, order):
    shuffled = fit(yes[:, order], levels=LEVELS[order])
    assert shuffled.fit.objective[0] == pytest.approx(fit(yes).fit.objective[0], abs=1e-6)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.lists(counts, min_size=2, max_size=5))
def test_a_batch_gives_what_single_fits_give(data):
    batch = fit(np.concatenate(data))
    single = np.array([fit(yes).fit.objective[0] for yes in data])
    np.testing.assert_allclose(batch.fit.objective, single, rtol=0, atol=1e-9)


@families
def test_without_signal_the_curve_is_exactly_the_guess_rate(family):
    found = fit(np.array([[3.0, 4, 8, 12, 17, 20, 20]]), model=PsychometricModel(family=family))
    assert probability(found, np.array([-np.inf]))[0, 0] == found.guess[0]


@families
def test_threshold_and_width_are_where_they_say(family):
    found = fit(np.array([[3.0, 4, 8, 12, 17, 20, 20]]), model=PsychometricModel(family=family))
    m, w, guess, lapse = (float(x[0]) for x in (found.threshold, found.width, found.guess, found.lapse))
    share = (probability(found, np.array([m]))[0, 0] - guess) / (1 - guess - lapse)
    assert share == pytest.approx(0.5)
    grid = np.linspace(m - 2 * w, m + 2 * w, 40001)
    s = (probability(found, grid)[0] - guess) / (1 - guess - lapse)
    assert np.interp(0.95, s, grid) - np.interp(0.05, s, grid) == pytest.approx(w, rel=1e-3)


@families
def test_parameters_are_recovered_from_many_trials(family):
    model = PsychometricModel(family=family)
    truth = {"threshold": 2.4, "width": 2.6, "guess": 0.2, "lapse": 0.03}
    sigmoid = SIGMOIDS[family]
    s = sigmoid.cdf((LEVELS - truth["threshold"]) * sigmoid.width / truth["width"] + sigmoid.quantile(0.5))
    p = truth["guess"] + (1 - truth["guess"] - truth["lapse"]) * s
    yes = np.random.default_rng(5).binomial(4000, p, size=(200, len(LEVELS))).astype(float)
    found = fit(yes, 4000.0, model)
    for name, value in truth.items():
        estimates = getattr(found, name)
        assert abs(estimates.mean() - value) < 4 * estimates.std() / np.sqrt(200) + 2e-3, name


def test_fixed_asymptotes_stay_fixed():
    found = fit(np.array([[0.0, 1, 8, 12, 17, 20, 20]]), model=PsychometricModel(guess=0.0, lapse=0.02))
    assert (found.guess[0], found.lapse[0], found.free_parameters) == (0.0, 0.02, 2)


def test_rows_without_trials_count_for_nothing():
    yes, trials = np.array([[3.0, 4, 0, 12, 17, 20, 20]]), np.array([[20.0, 20, 0, 20, 20, 20, 20]])
    without = np.array([0, 1, 3, 4, 5, 6])
    full = fit_psychometric(FREE, LEVELS, yes, trials)
    less = fit_psychometric(
        PsychometricModel(width_prior=(3.0, 1.0)), LEVELS[without], yes[:, without], trials[:, without]
    )
    assert full.threshold[0] == pytest.approx(less.threshold[0], abs=1e-4)


def test_fewer_than_two_levels_are_refused():
    with pytest.raises(ValueError, match="expected 2 levels or more"):
        fit(np.array([[1.0, 2.0]]), levels=np.array([-np.inf, 1.0]))
