from __future__ import annotations

import numpy as np
import pytest

from analysis.intervals import (
    LEAST_EFFECT,
    Interval,
    bootstrap_error,
    clustered_wilson,
    design_effect,
    mean_share_interval,
    participant_weights,
    t_interval,
    t_quantile,
    wilson,
)


def test_wilson_intervals_are_those_of_the_textbook():
    low, high = wilson(np.array([8.0, 0.0, 10.0]), np.array([10.0, 10.0, 10.0]))
    np.testing.assert_allclose(low, [0.49016, 0.0, 0.72247], atol=1e-5)
    np.testing.assert_allclose(high, [0.94332, 0.27753, 1.0], atol=1e-5)


def test_no_trials_leave_a_proportion_unknown():
    low, high = wilson(np.array([0.0]), np.array([0.0]))
    assert (low[0], high[0]) == (0.0, 1.0)


def test_participants_that_agree_with_themselves_widen_the_interval():
    clustered, mixed = np.repeat([0.0, 10.0], 10)[:, None], np.full((20, 1), 5.0)
    trials = np.full((20, 1), 10.0)
    assert design_effect(clustered, trials)[0] == pytest.approx(10 * 20 / 19)
    assert design_effect(mixed, trials)[0] == pytest.approx(LEAST_EFFECT)
    np.testing.assert_allclose(clustered_wilson(mixed, trials), wilson(np.array([100.0]), np.array([200.0])))
    low, high = clustered_wilson(clustered, trials)
    narrow_low, narrow_high = wilson(np.array([100.0]), np.array([200.0]))
    assert low[0] < narrow_low[0]
    assert narrow_high[0] < high[0]


def test_a_mean_of_shares_has_the_interval_of_pooled_answers_where_all_gave_as_many():
    yes, trials = np.array([20.0, 14.0, 19.0, 17.0]), np.full(4, 20.0)
    pooled = clustered_wilson(yes[:, None], trials[:, None])
    assert mean_share_interval(yes / trials, trials) == pytest.approx((0.875, pooled[0][0], pooled[1][0]))
    alike = wilson(np.array([80.0]), np.array([80.0]), t_quantile(4))[0][0]
    assert mean_share_interval(np.ones(4), trials) == pytest.approx((1.0, alike, 1.0))


def test_clustered_wilson_covers_when_participants_differ():
    generator = np.random.default_rng(4)
    p = generator.beta(4, 4, size=(1000, 30))
    yes = generator.binomial(10, p).astype(float)
    trials = np.full((30, 1), 10.0)
    bounds = [clustered_wilson(study[:, None], trials) for study in yes]
    covered = np.mean([low[0] <= 0.5 <= high[0] for low, high in bounds])
    assert 0.925 < covered < 0.97


def test_bootstrap_draws_are_whole_studies_and_repeat_with_their_seed():
    draws = np.concatenate(list(participant_weights(7, 600, 3, progress=False)))
    assert draws.shape == (600, 7)
    assert (draws.sum(axis=1) == 7).all()
    assert (draws == np.concatenate(list(participant_weights(7, 600, 3, progress=False)))).all()
    assert (draws != np.concatenate(list(participant_weights(7, 600, 4, progress=False)))).any()


def test_few_participants_get_a_wider_quantile():
    replicates = np.random.default_rng(1).normal(size=4000)
    few, many = (t_interval(np.array(0.0), replicates, people)[1] for people in (4, 400))
    assert few / many == pytest.approx(3.182 / 1.966 * np.sqrt((4 / 3) / (400 / 399)), rel=1e-3)


def test_the_error_of_a_mean_is_that_of_its_sample_however_few_were_drawn():
    values = np.random.default_rng(2).normal(size=5)
    draws = np.concatenate(list(participant_weights(5, 20_000, 1, progress=False))) @ values / 5
    assert bootstrap_error(draws, 5) == pytest.approx(values.std(ddof=1) / np.sqrt(5), rel=0.02)


def test_an_open_bound_covers_everything_on_its_side():
    assert Interval(estimate=9.0, low=5.0, high=None).covers(1000.0)
    assert not Interval(estimate=9.0, low=5.0, high=None).covers(4.9)
    assert not Interval(estimate=9.0, low=None, high=12.0).covers(12.1)
