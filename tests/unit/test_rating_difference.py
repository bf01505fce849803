"""Differences of ratings: worked numbers, clusters, equivalence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.rating_difference import rating_difference
from core import rng


def simulated(shift: float, *, seed=1, people=30, pictures=40, sd_people=0.4):
    """Everybody rates every picture, half of them of the second kind, which is rated ``shift`` higher."""
    generator = rng.numpy_generator(seed, "ratings")
    person, picture = np.repeat(np.arange(people), pictures), np.tile(np.arange(pictures), people)
    second = picture % 2 == 1
    own = generator.normal(0, sd_people, people)[person] * second + generator.normal(0, 0.2, pictures)[picture]
    return own + shift * second + generator.normal(0, 1, people * pictures), second, person, picture


def test_welch_is_that_of_scipy_and_clusters_widen_it():
    rating, second, person, picture = simulated(0.3)
    found = rating_difference(rating, second, person, picture, margin=0.2, replicates=500)
    expected = stats.ttest_ind(rating[second], rating[~second], equal_var=False)
    assert found.difference / found.welch_error == pytest.approx(expected.statistic)
    assert found.welch_error < found.participant_error < found.crossed_error
    assert found.df == 29
    assert (found.p < 0.05) == (found.low > 0 or found.high < 0)


def test_the_participants_error_is_that_of_their_own_differences():
    rating, second, person, picture = simulated(0.3)
    found = rating_difference(rating, second, person, picture, margin=0.2, replicates=4000)
    own = np.array([rating[(person == p) & second].mean() - rating[(person == p) & ~second].mean() for p in range(30)])
    assert found.participant_error == pytest.approx(own.std(ddof=1) / np.sqrt(30), rel=0.05)


def test_equivalence_is_found_where_it_is_and_not_at_the_margin():
    rating, second, person, picture = simulated(0.0, people=60, pictures=80, sd_people=0.1)
    assert rating_difference(rating, second, person, picture, margin=0.5, replicates=300).p_equivalence < 0.01
    assert rating_difference(rating + 0.5 * second, second, person, picture, margin=0.5).p_equivalence > 0.05


def test_one_participant_or_one_kind_is_refused():
    rating, second, person, picture = simulated(0.0)
    with pytest.raises(ValueError, match="expected 2 participants or more and both kinds of picture, got 1"):
        rating_difference(rating, second, np.zeros_like(person), picture, margin=0.2)
    with pytest.raises(ValueError, match="both kinds of picture, got 30"):
        rating_difference(rating, np.ones_like(second), person, picture, margin=0.2)
