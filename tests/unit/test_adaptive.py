"""Adaptive placement: it is a pure function of the answers, and finds thresholds in fewer trials."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import rng
from study_app.scheduling.adaptive import Law, Seen, chance, estimate, law_of, next_level

LAW = Law(levels=(1, 2, 4, 8, 16, 32), guess=0.2, lapse=0.02)
ANSWERS = st.lists(st.tuples(st.sampled_from(LAW.levels), st.booleans()).map(lambda pair: Seen(*pair)), max_size=40)


def play(law: Law, trials: int, threshold: float, slope: float, generator, *, adaptive: bool) -> list[Seen]:
    """Answers of an observer who obeys the law, at adaptive levels or at constant stimuli in random order."""
    constant = generator.permutation(np.resize(law.levels, trials))
    answers: list[Seen] = []
    for trial in range(trials):
        eps = next_level(law, answers) if adaptive else int(constant[trial])
        answers.append(Seen(eps, bool(generator.random() < chance(log2(eps), threshold, slope, law))))
    return answers


def error(law: Law, trials: int, *, adaptive: bool, observers: int = 150) -> float:
    """Root mean square error of the threshold over observers, octaves."""
    squares = []
    for observer in range(observers):
        generator = rng.numpy_generator(3, "observer", observer, trials, str(adaptive))
        threshold = generator.uniform(log2(law.levels[0]) + 0.5, log2(law.levels[-1]) - 0.5)
        answers = play(law, trials, threshold, 2.0, generator, adaptive=adaptive)
        squares.append((estimate(law, answers).log2_threshold - threshold) ** 2)
    return float(np.mean(squares) ** 0.5)


@pytest.mark.parametrize("law", [LAW, law_of(LAW.levels, 0.2, 0.02, forced_choice=True)])
def test_it_finds_a_threshold_as_well_as_constant_stimuli_with_two_thirds_of_the_trials(law):
    adaptive, fewer, constant = (
        error(law, trials, adaptive=chosen) for trials, chosen in ((36, True), (24, True), (36, False))
    )
    assert adaptive < 0.8 * constant
    assert fewer < constant
    assert adaptive < 0.6


def test_the_posterior_states_its_own_error():
    inside = 0
    for observer in range(150):
        generator = rng.numpy_generator(5, "observer", observer)
        threshold = generator.uniform(0.5, 4.5)
        found = estimate(LAW, play(LAW, 30, threshold, 2.0, generator, adaptive=True))
        inside += abs(found.log2_threshold - threshold) < 2 * found.sd
    assert inside >= 135


@given(ANSWERS, st.randoms(use_true_random=False))
def test_the_next_level_depends_on_what_was_answered_and_not_on_the_order(answers, random):
    shuffled = list(answers)
    random.shuffle(shuffled)
    assert next_level(LAW, answers) == next_level(LAW, shuffled)
    assert next_level(LAW, answers) in LAW.levels


@given(ANSWERS)
def test_no_level_would_leave_less_entropy_to_be_expected(answers):
    chosen = next_level(LAW, answers)
    expected = {eps: expected_entropy(answers, eps) for eps in LAW.levels}
    assert expected[chosen] <= min(expected.values()) + 1e-9


def expected_entropy(answers, eps) -> float:
    """The same by brute force: both answers are given in turn, weighted by how likely they are."""
    thresholds, slopes = np.linspace(-1, 6, 41), np.geomspace(0.5, 8, 9)
    chances = np.array([[[chance(log2(e), a, b, LAW) for e in LAW.levels] for b in slopes] for a in thresholds])

    def posterior(given_answers):
        weights = np.ones(chances.shape[:2])
        for answer in given_answers:
            column = chances[..., LAW.levels.index(answer.eps)]
            weights = weights * (column if answer.detected else 1 - column)
            weights /= weights.sum()
        return weights / weights.sum()

    likely = float((posterior(answers) * chances[..., LAW.levels.index(eps)]).sum())
    total = 0.0
    for detected, weight in ((True, likely), (False, 1 - likely)):
        after = posterior([*answers, Seen(eps, detected)])
        total -= weight * float((after[after > 0] * np.log(after[after > 0])).sum())
    return total


def test_answers_move_the_level_to_where_it_is_uncertain():
    always = [Seen(eps, True) for eps in LAW.levels] * 3
    never = [Seen(eps, False) for eps in LAW.levels] * 3
    assert next_level(LAW, always) < next_level(LAW, never)
    assert estimate(LAW, always).log2_threshold < 0.5
    assert estimate(LAW, never).log2_threshold > 4.5


def test_in_forced_choice_half_of_the_guesses_are_right():
    assert law_of([4, 1], 0.2, 0.02, forced_choice=True) == Law((1, 4), 0.5, 0.02)
    assert law_of([4, 1], 0.2, 0.02, forced_choice=False) == Law((1, 4), 0.2, 0.02)
