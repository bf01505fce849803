"""``flask --app study_app protocol check``: the plan in numbers, the power, and every problem at once."""

from __future__ import annotations

import re

import pytest

from study_app.settings import ROOT
from tests.study_site import close, make_app

GOOD = """
name = "x"
minutes = 2
[practice]
trials = 2
[main]
trials = 8
block_trials = 4
[catch]
gross = 1
instructed = 1
[timing]
fixation_ms = 500
feedback_ms = 1000
[recruitment]
places = 9
"""


@pytest.fixture
def check(sqlite_url, tmp_path):
    app = make_app(sqlite_url)

    def check(text, *options):
        path = tmp_path / "x.toml"
        path.write_text(text)
        return app.test_cli_runner().invoke(args=["protocol", "check", str(path), "--set", "noise", *map(str, options)])

    yield check
    close(app)


def test_it_prints_the_plan(check):
    result = check(GOOD)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[:4] == [
        "protocol 'x', task yes-no",
        "pictures: 14 usable sources, 3 source models (pgd-at, sip-at, standard), ε = 1, 2, 4, 8, 16, 32",
        (
            "each participant: 2 practice and 8 main trials in 2 blocks, 4 perturbed and 4 not; "
            "catch trials: 1 gross, 1 instructed"
        ),
        "pictures left to replace one that was seen and not answered: 2",
    ]
    assert lines[4].split() == ["main", "trials", "each", "9", "participants"]
    cells = [line for line in lines if " ε = " in line and not line.startswith("pictures")]
    assert len(cells) == 18
    assert all("0 to 1" in line for line in cells)
    assert sum(int(line.split()[-1]) for line in cells) == 9 * 4
    assert lines[23].split() == ["unperturbed", "4", "36"]
    # 12 trials of 0.5 s + 1.5 s, and 2 times feedback of 1 s
    assert lines[24] == (
        "expected time: 0.4 minutes of trials (1.5 s for an answer); participants are told 2"
    )  # fmt: skip
    assert len(lines) == 25


@pytest.mark.parametrize(
    ("changes", "minutes"),
    [
        ("exposure_ms = 900\nmask_ms = 100", (12 * 3 + 2) / 60),
        ("\n[answer]\nconfidence = 4", (12 * 2 + 11 * 1.5 + 2) / 60),
    ],
)
def test_the_expected_time_counts_exposure_mask_and_ratings_but_none_of_instructed_trials(check, changes, minutes):
    output = check(GOOD.replace("feedback_ms = 1000", f"feedback_ms = 1000\n{changes}")).output
    assert f"expected time: {minutes:.1f} minutes" in output


def test_a_plan_that_takes_much_longer_than_told_is_noted(check):
    longer = GOOD.replace("fixation_ms = 500", "fixation_ms = 20000")
    assert "note: that is more than 1.5 times what they are told; mend the key minutes" in check(longer).output


@pytest.mark.parametrize("task", ["yes-no", "2afc", "same-different"])
def test_it_prints_the_power_for_a_stated_effect_with_how_it_was_found(check, task):
    text = GOOD.replace('name = "x"', f'name = "x"\ntask = "{task}"')
    output = check(text, "--ratio", 3, "--participants", 30, "--simulations", 500).output
    found = re.search(
        r"power to tell pgd-at from sip-at, thresholds 3 : 1, 30 participants: (0\.\d+) \(95 % (.*) to (.*)\)", output
    )
    estimate, low, high = map(float, found.groups())
    assert 0.05 < low < estimate < high
    assert "500 simulated studies, seed 1; paired t test over participants" in output
    assert "two-sided α = 0.05" in output
    assert "assumed: d′ = (ε / 5.66)^1.3" in output
    assert ("criterion" in output) is (task != "2afc")


def test_without_an_effect_the_power_is_alpha_and_the_seed_decides(check):
    options = ("--ratio", 1, "--participants", 60, "--simulations", 3000)
    first = check(GOOD, *options).output
    low, high = map(float, re.search(r"no difference, .*\(95 % (.*) to (.*)\)", first).groups())
    assert low <= 0.05 <= high
    assert first == check(GOOD, *options).output
    assert first != check(GOOD, *options, "--seed", 2).output


def test_a_difference_of_d_prime_is_an_effect_too(check):
    assert ", d′ 0.5 apart, 9 participants: " in check(GOOD, "--dprime", 0.5, "--simulations", 50).output


def test_with_one_source_model_there_is_no_difference_to_find(check):
    text = GOOD.replace('name = "x"', 'name = "x"\nruns = ["standard"]')
    assert "power: a difference needs two source models, and the design has one" in check(text, "--ratio", 2).output


def test_an_adaptive_protocol_says_that_its_cells_are_those_of_constant_stimuli(check):
    output = check(GOOD + '[adaptive]\nmethod = "quest-plus"\n').output
    assert "ε is chosen by quest-plus: the cells below are what constant stimuli would have" in output


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "study_app" / "protocols").glob("*.toml")))
def test_the_example_protocols_are_good_but_for_the_small_set_of_the_tests(check, name):
    text = (ROOT / "study_app" / "protocols" / name).read_text()
    problems = check(text).output
    assert "Traceback" not in problems
    assert re.fullmatch(r"Error: the stimulus set has 14 usable source pictures; expected at least .*\n", problems)


def test_every_problem_of_a_file_and_its_set_is_said_at_once(check):
    result = check("""
epss = [3]
eps = [3, 4]
runs = ["nobody"]
minutes = 0
[main]
trials = 31
triall = 3
[timing]
mask_ms = 50
fixation_ms = "x"
[catch]
gross = -1
[practice]
eps = 5
""")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "Error: x.toml: 11 problems",
        "  - x.toml: missing key 'name'; add it",
        "  - x.toml: unknown key 'epss'; did you mean 'eps'?",
        "  - x.toml: main: unknown key 'triall'; did you mean 'trials'?",
        (
            "  - x.toml: main: main.trials: expected a multiple of 2, so that a share of 1/2 is exact in each block "
            "for each participant, got 31"
        ),
        "  - x.toml: timing: fixation_ms: expected int, got 'x'",
        "  - x.toml: timing: timing.mask_ms: expected an exposure_ms too: a picture that stays needs no mask",
        "  - x.toml: catch: catch.gross: expected at least 0, got -1",
        "  - x.toml: minutes: expected at least 1, got 0",
        (
            "  - protocol: runs: expected some of ['pgd-at', 'sip-at', 'standard'] (the stimulus set has these), "
            "got 'nobody'"
        ),
        "  - protocol: eps: expected some of [1, 2, 4, 8, 16, 32] (the stimulus set has these), got 3",
        "  - protocol: practice.eps: expected some of [1, 2, 4, 8, 16, 32] (the stimulus set has these), got 5",
    ]


def test_every_problem_of_a_good_file_with_the_set_is_said_at_once(check):
    result = check('name = "x"\nruns = ["nobody"]\n[main]\ntrials = 100\n[catch]\ngross = 99\neps = 7\n')
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "Error: x.toml: 4 problems"
    for line, text in zip(
        lines[1:],
        ("runs: expected", "catch.eps: expected", "99 catch trials do not fit", "14 usable source"),
        strict=True,
    ):
        assert text in line


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("name =", (), "x.toml: not valid TOML"),
        ('name = ""', (), "x.toml: name: expected a name for the protocol"),
        ("name = 3", (), "x.toml: name: expected str, got 3"),
        ("name = 'x'\nmain = 3", (), "x.toml: main: expected a table, got 3"),
        ("name = 'x'\n[main]\nsignal_share = 1.0", (), "expected below 1 in a yes-no task, got 1"),
        ("name = 'x'\nattack = 'pgd'", (), "protocol: attack: expected one of ['noise']"),
        (GOOD, ("--ratio", 0), "--ratio: expected a number above 0"),
        (GOOD, ("--ratio", 2, "--alpha", 2), "--alpha: expected a number between 0 and 1"),
        (GOOD, ("--ratio", 2, "--participants", 1), "power: expected at least two participants"),
    ],
)
def test_a_single_problem_is_one_message(check, text, options, message):
    result = check(text, *options)
    assert result.exit_code == 1
    assert message in result.output
    assert "problems" not in result.output


def test_an_unknown_set_or_file_is_refused(check, sqlite_url, tmp_path):
    app = make_app(sqlite_url)
    runner = app.test_cli_runner()
    absent = runner.invoke(args=["protocol", "check", str(tmp_path / "no.toml"), "--set", "noise"])
    unknown = runner.invoke(args=["protocol", "check", str(tmp_path / "no.toml"), "--set", "none"])
    close(app)
    assert "give the path of a protocol file" in absent.output
    assert "register it with: flask --app study_app register-set DIR" in unknown.output
