"""Power by the report's own tests: α where there is nothing to find, more with more people; what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from analysis.observers import Criterion, ModelLaw, Observers, ResponseTime
from analysis.power import Design, FooledLaw, Settings, Spread, findings, power, read_settings, simulated_study
from analysis.power.__main__ import main
from core import rng
from core.errors import ConfigError
from tests.simulated_export import OBSERVERS_TOML

LAW = ModelLaw(eps_dprime1=5.0, exponent=1.3, sd_log2=0.3)
STRONG = ModelLaw(eps_dprime1=7.5, exponent=1.3, sd_log2=0.3)
OBSERVERS = Observers(
    seed=1, criterion=Criterion(mean=0.7, sd=0.2), lapse=0.02, models={"a": LAW, "b": LAW, "c": STRONG},
    response_time=ResponseTime(mu=450, sigma=60, tau=180, distance_slope=80),
)  # fmt: skip
SETTINGS = Settings(
    observers=Path("observers.toml"), participants=(12,), eps=(1, 2, 4, 8, 16, 32), trials_per_level=6,
    pairs=(("a", "b"),), task="2afc", simulations=100, bootstrap=60, sd_log2_model=0.3, alpha=0.2,
)  # fmt: skip


def rows(settings):
    return {(row.participants, row.question): row for row in power(settings, OBSERVERS, progress=False)}


def test_without_a_difference_it_is_alpha():
    found = rows(SETTINGS)[12, "difference"].power
    assert abs(found - 0.2) < 3 * math.sqrt(0.2 * 0.8 / 100)


def test_both_rise_with_the_number_of_participants():
    pairs = (("a", "c"), ("a", "b"))
    settings = dataclasses.replace(SETTINGS, participants=(5, 30), pairs=pairs, simulations=20, alpha=0.05, margin=0.9)
    rows = {(r.participants, r.question, r.pair): r for r in power(settings, OBSERVERS, progress=False)}
    for question, pair in (("difference", "a/c"), ("equivalence", "a/b")):
        assert rows[30, question, pair].low > rows[5, question, pair].high


def test_the_number_of_processes_changes_nothing():
    short = dataclasses.replace(SETTINGS, simulations=8)
    assert power(short, OBSERVERS, progress=False) == power(short, OBSERVERS, processes=2, progress=False)


def test_models_that_are_fooled_at_other_levels_differ_in_what_goes_undetected():
    laws = {"a": {"eps50": 1.5, "sd_log2": 0.5}, "b": {"eps50": 12.0, "sd_log2": 0.5}}
    settings = dataclasses.replace(SETTINGS, task="yes-no", fooled=laws, trials_per_level=10)
    found = findings(settings, OBSERVERS, 12, 0)
    assert found["undetected", "a/b"] is True
    assert not found["difference", "a/b"]


def test_simulated_answers_follow_the_law():
    design = Design(task="yes-no", participants=4000, models=("a",), eps=(5.0, 20.0), trials=2, noise=4, pictures=9)
    observers = dataclasses.replace(
        OBSERVERS, criterion=Criterion(mean=0.7, sd=0.0), models={"a": dataclasses.replace(LAW, sd_log2=0.0)}
    )
    study = simulated_study(
        design, observers, Spread(), rng.numpy_generator(1, "law"), fooled={"a": FooledLaw(eps50=9, sd_log2=0)}
    )
    cells = study.export.cells
    rates = cells.yes.sum(axis=0) / cells.trials.sum(axis=0)
    expected = [0.01 + 0.98 * 0.241964, 0.01 + 0.98 * 0.617911]  # Φ(−0.7), Φ(1 − 0.7)
    assert np.allclose(rates[:2], expected, atol=0.02)
    assert study.export.answers.fooled.reshape(3, 9).tolist() == [[-1] * 9, [0] * 9, [1] * 9]


FILE = """observers = "observers.toml"
participants = [6]
eps = [1, 4, 16]
trials_per_level = 3
pairs = [["standard", "sip-at"]]
simulations = 3
bootstrap = 50
"""


def written(tmp_path, text=FILE):
    (tmp_path / "observers.toml").write_text(OBSERVERS_TOML, encoding="utf-8")
    (tmp_path / "power.toml").write_text(text, encoding="utf-8")
    return tmp_path / "power.toml"


def test_the_command_prints_a_row_a_question_and_writes_them_as_json(tmp_path, capsys):
    assert (
        main([str(written(tmp_path)), "--set", "participants=[5]", "--no-progress", "--out", str(tmp_path / "p.json")])
        == 0
    )
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert printed[1].split()[:2] == ["5", "standard/sip-at"]
    stored = json.loads((tmp_path / "p.json").read_text())
    assert [row["question"] for row in stored["rows"]] == ["difference", "equivalence"]
    assert stored["settings"]["participants"] == [5]


def test_help_says_what_a_settings_file_holds(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "trials_per_level = 10" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[6]", "[2]"), r"power.toml: participants: expected numbers of 3 or more, got \[2\]"),
        (("[1, 4, 16]", "[0, 4]"), r"eps: expected two or more levels above 0"),
        (('["standard", "sip-at"]', '["standard"]'), "pairs: expected pairs of source models such as"),
        (("= 50", "= 5"), "bootstrap of 50 or more"),
        (("bootstrap", "noise_trials = 0\nbootstrap"), "noise_trials: expected 1 or more with task 'yes-no'"),
        (("bootstrap", "margin = 0.0\nbootstrap"), "0 < alpha < 0.5 and margin > 0"),
        (('"sip-at"', '"trades"'), "expected a law of 'trades' among the observers, they have standard"),
        (("= 50\n", "= 50\n[fooled.standard]\neps50 = 2.0\nsd_log2 = 0.5\n"), r"add \[fooled.sip-at\]"),
        (("= 50\n", "= 50\n[fooled.standard]\neps50 = 0.0\nsd_log2 = 0.5\n"), "fooled.standard: expected eps50 > 0"),
    ],
)  # fmt: skip
def test_settings_that_make_no_study_are_refused(tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(written(tmp_path, FILE.replace(*change)))


def test_no_process_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--processes: expected 1 or more, got 0"):
        main([str(written(tmp_path)), "--processes", "0"])
