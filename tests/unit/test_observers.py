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
