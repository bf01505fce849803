"""From the export alone: d′ at each ε, the criterion and the law of response times of robots, in each task.

The formulas of the standard errors stand in ``tests/observer_estimates.py``. Seeds are fixed: with others, one quantity
in twenty lies beyond two standard errors by design, and that it is one in twenty is tested first.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from study_app import observers
from study_app.detection import ANSWERS
from study_app.observers import Criterion, Observers, ResponseTime, Seen
from tests import robot_study
from tests.observer_estimates import estimates

EPS = (8, 16, 32)
LAW = Observers(
    seed=2026, criterion=Criterion(mean=0.5, sd=0.0), difference_criterion=Criterion(mean=2.0, sd=0.0), lapse=0.0,
    models={"standard": {"eps_dprime1": 8.0, "exponent": 0.6}},
    response_time=ResponseTime(mu=600.0, sigma=60.0, tau=150.0, distance_slope=50.0),
)  # fmt: skip
ROBOTS, TRIALS = 20, 48
PROTOCOL = """
name = "recovery"
task = "{task}"
runs = ["standard"]
eps = [8, 16, 32]
[practice]
trials = 0
[main]
trials = 48
signal_share = "{share}"
block_trials = 24
"""


def simulated(law: Observers, task: str) -> pd.DataFrame:
    """As many trials as below, without a server."""
    levels = EPS if task == "2afc" else (0, 0, 0, *EPS)
    rows = []
    for number in range(ROBOTS * TRIALS):
        eps, left = levels[number % len(levels)], number // len(levels) % 2 == 0
        pictures = [Seen("standard" if eps else None, eps)]
        if task != "yes-no":
            pictures = [*pictures, Seen(None, 0)] if left else [Seen(None, 0), *pictures]
        decision = observers.decide(law, number // TRIALS, number % TRIALS, pictures, task=task)
        right = decision.response == ("left" if left else "right")
        rows.append((eps > 0, "standard" if eps else None, eps, decision.response, right, decision.rt_ms))
    return pd.DataFrame(rows, columns=["signal", "run", "eps_asked", "response", "correct", "rt_ms"])


@pytest.mark.parametrize("task", ANSWERS)
def test_the_standard_errors_are_right(task):
    """Over 20 seeds, deviations have no bias, and 95 % of them lie within two standard errors (here: 89 to 99.5 %)."""
    laws = [dataclasses.replace(LAW, seed=seed) for seed in range(100, 120)]
    found = np.array([[each.z for each in estimates(law, task, simulated(law, task)).values()] for law in laws])
    assert (np.abs(found.mean(axis=0)) < 3.3 / np.sqrt(20)).all()
    assert 0.89 < (np.abs(found) <= 2).mean() < 0.995


@pytest.mark.parametrize(("task", "share"), [("yes-no", "1/2"), ("2afc", "1"), ("same-different", "1/2")])
def test_the_law_is_recovered_from_the_export_within_two_standard_errors(
    tmp_path, make_server, stimulus_set, task, share
):
    source = PROTOCOL.format(task=task, share=share)
    tally, export = robot_study.play(tmp_path / "study", make_server, stimulus_set, source, LAW, participants=ROBOTS)
    trials = robot_study.table(export, "trials")
    assert tally.answers == len(trials) == ROBOTS * TRIALS
    found = estimates(LAW, task, trials)
    assert set(found) >= {"d' at 8", "d' at 16", "d' at 32", "mean of rt", "variance of rt", "third moment of rt"}
    assert ("criterion" in found) == (task != "2afc")
    assert {name: each for name, each in found.items() if abs(each.z) > 2} == {}
    wrong = dataclasses.replace(LAW, models={"standard": {"eps_dprime1": 14.0, "exponent": 0.6}})
    assert max(abs(each.z) for name, each in estimates(wrong, task, trials).items() if "d'" in name) > 2
