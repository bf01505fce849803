"""Power by simulation: α where there is nothing to find, and what an independent simulation finds elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from core import rng
from core.errors import StudyError
from study_app.scheduling.power import Assumed, Effect, Settings, power, t_critical

LEVELS = (1, 2, 4, 8, 16, 32)
ASSUMED = Assumed(eps_dprime1=6.0)
NOTHING = Effect()


def counts(participants=24, each=1):
    return np.full((participants, 2, len(LEVELS)), each)


def found(task="yes-no", effect=NOTHING, of=None, assumed=ASSUMED, **settings):
    return power(task, LEVELS, counts() if of is None else of, assumed, effect, Settings(**settings))


@pytest.mark.parametrize("task", ["yes-no", "2afc", "same-different"])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_without_a_difference_it_is_alpha(task, alpha):
    assert abs(found(task, alpha=alpha, simulations=6000, seed=2).estimate - alpha) < 3 * standard_error(alpha, 6000)


def test_it_is_alpha_too_where_participants_meet_the_levels_in_unequal_numbers():
    uneven = rng.numpy_generator(1, "uneven").integers(0, 3, size=(30, 2, len(LEVELS)))
    assert abs(found(of=uneven, simulations=6000).estimate - 0.05) < 3 * standard_error(0.05, 6000)


def standard_error(share, studies):
    return math.sqrt(share * (1 - share) / studies)


@pytest.mark.parametrize("task", ["yes-no", "2afc", "same-different"])
def test_it_grows_with_the_difference_with_participants_and_with_trials(task):
    base = found(task, Effect(ratio=1.5)).estimate
    assert found(task).estimate < base < found(task, Effect(ratio=2.5)).estimate
    assert base < found(task, Effect(ratio=1.5), counts(participants=72)).estimate
    assert base < found(task, Effect(ratio=1.5), counts(each=4)).estimate
    assert found(task).estimate < found(task, Effect(dprime=1.0)).estimate


def test_a_ratio_and_its_inverse_are_found_equally_often():
    up, down = found(effect=Effect(ratio=1.6)), found(effect=Effect(ratio=1 / 1.6))
    assert abs(up.estimate - down.estimate) < 0.05


@pytest.mark.parametrize("task", ["yes-no", "2afc", "same-different"])
def test_an_independent_simulation_trial_by_trial_finds_the_same_power(task):
    of, effect = counts(participants=16, each=2), Effect(ratio=1.7, dprime=0.1)
    studies = 400
    rejected = sum(plain_study(task, of, effect, study) < 0.05 for study in range(studies))
    result = found(task, effect, of, simulations=4000)
    spread = math.sqrt(result.estimate * (1 - result.estimate) * (1 / studies + 1 / 4000))
    assert abs(rejected / studies - result.estimate) < 3 * spread


def plain_study(task, of, effect, study) -> float:
    """The p value of one study: loops and scipy in place of arrays and the series."""
    generator = rng.numpy_generator(9, task, study)
    answers = []
    for person, by_model in enumerate(of):
        own, criterion = ASSUMED.sd_log2 * generator.normal(), ASSUMED.sd_criterion * generator.normal()
        for model, by_level in enumerate(by_model):
            log2_threshold = math.log2(ASSUMED.eps_dprime1) + own + ASSUMED.sd_log2_model * generator.normal()
            log2_threshold += (0.5 - model) * math.log2(effect.ratio)
            for level, trials in enumerate(by_level):
                for _ in range(trials):
                    dprime = (LEVELS[level] / 2**log2_threshold) ** ASSUMED.exponent + (model - 0.5) * effect.dprime
                    seen = plain_answer(task, max(dprime, 0.0), criterion, generator)
                    answers.append((person, model, level, seen))
    means = [np.mean([seen for *_, level, seen in answers if level == each]) for each in range(len(LEVELS))]
    differences = []
    for person in range(len(of)):
        scores = [
            np.mean([seen - means[level] for p, m, level, seen in answers if (p, m) == (person, model)])
            for model in (0, 1)
        ]
        differences.append(scores[1] - scores[0])
    return float(stats.ttest_1samp(differences, 0).pvalue)


def plain_answer(task, dprime, criterion, generator) -> bool:
    if generator.random() < ASSUMED.lapse:
        return bool(generator.random() < 0.5)
    evidence, other = dprime + generator.normal(), generator.normal()
    if task == "yes-no":
        return bool(evidence > ASSUMED.criterion + criterion)
    if task == "2afc":
        return bool(evidence > other)
    return bool(abs(evidence - other) > ASSUMED.difference_criterion + criterion)


def test_the_same_seed_gives_the_same_number_and_another_one_another():
    first = found(effect=Effect(ratio=1.5), seed=4)
    assert first == found(effect=Effect(ratio=1.5), seed=4)
    assert first != found(effect=Effect(ratio=1.5), seed=5)


def test_progress_is_told_of_every_simulated_study():
    done = []
    power("yes-no", LEVELS, counts(200, 10), ASSUMED, NOTHING, Settings(simulations=300), done.append)
    assert sum(done) == 300
    assert len(done) > 1


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 101])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.001])
def test_the_critical_value_is_that_of_students_t(freedom, alpha):
    assert t_critical(freedom, alpha) == pytest.approx(stats.t.ppf(1 - alpha / 2, freedom), rel=1e-9)


def test_too_few_participants_are_refused():
    with pytest.raises(StudyError, match="at least two participants with trials of both source models, got 1"):
        found(of=counts(participants=1))
    lopsided = counts(participants=3)
    lopsided[1:, 0] = 0
    with pytest.raises(StudyError, match="got 1"):
        found(of=lopsided)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Effect(ratio=0), "--ratio: expected a number above 0"),
        (lambda: Effect(ratio=math.nan), "--ratio: expected a number above 0"),
        (lambda: Effect(dprime=math.inf), "--dprime: expected a number"),
        (lambda: Settings(alpha=1), "--alpha: expected a number between 0 and 1, got 1"),
        (lambda: Settings(simulations=0), "--simulations: expected at least 1, got 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(make, message):
    with pytest.raises(StudyError, match=message):
        make()
