"""The robots' law: rates, thresholds, response times, and what its file may say."""

from __future__ import annotations

import dataclasses
from statistics import NormalDist

import numpy as np
import pytest

from core.errors import ConfigError
from study_app import observers
from study_app.observers import Seen
from study_app.settings import ROOT

LAW = observers.load(ROOT / "study_app" / "observers" / "demo.toml")
EXACT = dataclasses.replace(
    LAW, lapse=0.0, criterion=observers.Criterion(mean=0.7, sd=0.0),
    models={"standard": {"eps_dprime1": 9.0, "exponent": 1.3, "sd_log2": 0.0}},
)  # fmt: skip
N = 4000


def yes_rate(law, run, eps) -> float:
    return float(np.mean([observers.decide(law, robot, 0, [Seen(run, eps)]).response == "yes" for robot in range(N)]))


def within_five_errors(rate: float, expected: float) -> bool:
    return abs(rate - expected) < 5 * (expected * (1 - expected) / N) ** 0.5


def test_the_false_alarm_rate_is_phi_of_minus_k():
    assert within_five_errors(yes_rate(EXACT, None, 0), NormalDist().cdf(-0.7))


@pytest.mark.parametrize("eps", [2, 9, 16])
def test_the_hit_rate_follows_the_power_law(eps):
    expected = NormalDist().cdf((eps / 9.0) ** 1.3 - 0.7)
    assert within_five_errors(yes_rate(EXACT, "standard", eps), expected)


def responses(task, pictures, law=EXACT, **more) -> list[str]:
    return [observers.decide(law, robot, 0, pictures, task=task, **more).response for robot in range(N)]


@pytest.mark.parametrize("eps", [4, 9, 16])
@pytest.mark.parametrize("side", ["left", "right"])
def test_in_2afc_the_right_side_is_named_with_phi_of_dprime_over_root_2(eps, side):
    pictures = [Seen("standard", eps), Seen(None, 0)][:: 1 if side == "left" else -1]
    right = np.mean([response == side for response in responses("2afc", pictures)])
    assert within_five_errors(right, NormalDist().cdf((eps / 9.0) ** 1.3 / 2**0.5))


@pytest.mark.parametrize("eps", [0, 9, 16])
def test_same_different_follows_the_differencing_rule(eps):
    law = dataclasses.replace(EXACT, difference_criterion=observers.Criterion(mean=1.5, sd=0.0))
    picture, normal = Seen("standard" if eps else None, eps), NormalDist(0, 2**0.5)
    different = np.mean(
        [response == "different" for response in responses("same-different", [Seen(None, 0), picture], law)]
    )
    d = (eps / 9.0) ** 1.3
    assert within_five_errors(different, normal.cdf(d - 1.5) + normal.cdf(-d - 1.5))


@pytest.mark.parametrize(("task", "asked"), [("yes-no", "no"), ("2afc", "right"), ("same-different", "different")])
def test_an_instructed_answer_is_given_but_for_lapses(task, asked):
    pictures = [Seen(None, 0)] * (1 if task == "yes-no" else 2)
    assert set(responses(task, pictures, instructed=asked)) == {asked}
    lapsing = dataclasses.replace(EXACT, lapse=0.2)
    given = np.mean([response == asked for response in responses(task, pictures, lapsing, instructed=asked)])
    assert within_five_errors(given, 0.9)


def test_confidence_counts_the_steps_between_evidence_and_criterion():
    sure = [observers.decide(EXACT, robot, 0, [Seen(None, 0)], levels=4) for robot in range(N)]
    normal = NormalDist(-0.7, 1)
    for level, (low, high) in enumerate([(0, 0.5), (0.5, 1), (1, 1.5), (1.5, 99)], start=1):
        expected = normal.cdf(high) - normal.cdf(low) + normal.cdf(-low) - normal.cdf(-high)
        assert within_five_errors(np.mean([each.confidence == level for each in sure]), expected)
    assert all(each.confidence_rt_ms >= observers.SHORTEST_RT_MS for each in sure)
    assert observers.decide(EXACT, 0, 0, [Seen(None, 0)], levels=4, instructed="yes").confidence is None


def test_asking_for_confidence_changes_no_answer():
    plain, asked = (observers.decide(LAW, 3, 5, [Seen("sip-at", 8)], levels=levels) for levels in (0, 4))
    assert (plain.response, plain.rt_ms) == (asked.response, asked.rt_ms)


def test_pages_are_loaded_again_in_the_stated_share_of_trials():
    law = dataclasses.replace(EXACT, reload=0.1)
    assert within_five_errors(np.mean([observers.reloads(law, robot, 3) for robot in range(N)]), 0.1)
    assert not any(observers.reloads(EXACT, robot, 3) for robot in range(N))


def test_dprime_is_one_at_its_threshold_and_zero_without_a_perturbation():
    nobody = observers.Traits(criterion=0.0, difference_criterion=0.0, deviate=0.0)
    assert observers.dprime(EXACT, nobody, "standard", 9) == pytest.approx(1.0)
    assert observers.dprime(EXACT, nobody, None, 0) == 0.0


def test_a_lapsing_observer_says_yes_half_the_time():
    lapsing = dataclasses.replace(EXACT, lapse=1.0)
    assert within_five_errors(yes_rate(lapsing, "standard", 32), 0.5)


def test_criteria_and_thresholds_spread_over_participants_as_stated():
    traits = [observers.traits(LAW, robot) for robot in range(N)]
    criteria = np.array([each.criterion for each in traits])
    deviates = np.array([each.deviate for each in traits])
    assert abs(criteria.mean() - 0.7) < 5 * 0.15 / N**0.5
    assert abs(criteria.std() / 0.15 - 1) < 5 / (2 * N) ** 0.5
    assert abs(deviates.mean()) < 5 / N**0.5
    assert abs(np.corrcoef(criteria, deviates)[0, 1]) < 5 / N**0.5


def test_far_from_the_criterion_answers_are_faster_and_never_below_the_shortest():
    near = [observers.decide(EXACT, robot, 1, [Seen("standard", 6)]).rt_ms for robot in range(N)]
    far = [observers.decide(EXACT, robot, 1, [Seen("standard", 32)]).rt_ms for robot in range(N)]
    assert np.mean(near) - np.mean(far) > 100
    assert min(near + far) >= observers.SHORTEST_RT_MS


def test_a_decision_depends_on_seed_robot_and_trial_alone():
    decision = observers.decide(LAW, 3, 5, [Seen("sip-at", 8)])
    assert observers.decide(LAW, 3, 5, [Seen("sip-at", 8)]) == decision
    others = [
        observers.decide(LAW, 4, 5, [Seen("sip-at", 8)]),
        observers.decide(LAW, 3, 6, [Seen("sip-at", 8)]),
        observers.decide(dataclasses.replace(LAW, seed=8), 3, 5, [Seen("sip-at", 8)]),
    ]
    assert decision.rt_ms not in [other.rt_ms for other in others]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("lapse = 0.02", "lapse = 2.0", "lapse: expected a share between 0 and 1, got 2.0"),
        ("lapse = 0.02", "lapse = 0\nreload = 2.0", "reload: expected a share between 0 and 1, got 2.0"),
        ("lapse = 0.02", "lapse = 0\nconfidence_step = 0.0", "confidence_step: expected a number above 0, got 0.0"),
        ("exponent = 1.3", "exponant = 1.3", "models.standard: unknown key 'exponant'; did you mean 'exponent'?"),
        ("eps_dprime1 = 9.0", "eps_dprime1 = 0.0", "expected eps_dprime1 and exponent above 0"),
        ("sd = 0.15 }", "sd = -1 }", "criterion.sd: expected a number of at least 0, got -1"),
        ("tau = 180.0", "tau = -1.0", "response_time.tau: expected a number of at least 0"),
    ],
)
def test_a_law_that_makes_no_sense_is_refused(tmp_path, before, after, message):
    text = (ROOT / "study_app" / "observers" / "demo.toml").read_text()
    assert before in text
    (tmp_path / "law.toml").write_text(text.replace(before, after, 1))
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        observers.load(tmp_path / "law.toml")


def test_a_source_model_without_a_law_is_refused():
    with pytest.raises(ConfigError, match=r"expected a table \[models.trades\] for a source model"):
        LAW.visibility("trades")
