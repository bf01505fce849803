"""What gives cause to look closer at a session."""

from __future__ import annotations

import pytest

from study_app.researchers import flags
from study_app.researchers.flags import Shown
from study_app.researchers.roster import median


def trial(**changes) -> Shown:
    facts = {
        "response": "yes", "correct": True, "catch": None, "rt_ms": 480.0, "blur_count": 0, "hidden_count": 0,
        "long_frames": 0, "device_pixel_ratio": 2.0,
    }  # fmt: skip
    return Shown(**{**facts, **changes})


def alternating(count: int, **changes) -> list[Shown]:
    return [trial(response="yes" if index % 2 else "no", **changes) for index in range(count)]


def found(trials) -> dict[str, str]:
    return {flag.name: flag.text for flag in flags.flags(trials)}


def test_an_ordinary_session_has_no_flags():
    assert found(alternating(40)) == {}
    assert found([]) == {}


@pytest.mark.parametrize(
    ("trials", "flag"),
    [
        ([*alternating(8), trial(rt_ms=199.9)], {"fast": "1 of 9 answers under 200 ms"}),
        ([trial()] * 10, {"one answer": "the same answer 10 times in a row"}),
        (
            [*alternating(8), trial(catch="gross", correct=False), trial(catch="instructed")],
            {"catch": "1 of 2 catch trials missed"},
        ),
        (
            [*alternating(8), trial(blur_count=2), trial(hidden_count=1)],
            {"away": "the page lost focus or was hidden in 2 trials"},
        ),
        ([*alternating(8), trial(device_pixel_ratio=1.5)], {"display": "2 device pixel ratios in one session"}),
        ([*alternating(3), trial(long_frames=1)], {}),
        ([*alternating(2), trial(long_frames=1)], {"frames": "long frames in 1 of 3 trials"}),
    ],
)
def test_each_flag_and_its_words(trials, flag):
    assert found(trials) == flag


def test_instructed_answers_do_not_break_or_make_a_run():
    assert flags.longest_run(["yes"] * 9 + ["no"] + ["yes"] * 3) == 9
    instructed = trial(response="no", catch="instructed")
    assert "one answer" in found([trial()] * 5 + [instructed] + [trial()] * 5)


def test_a_response_without_a_right_answer_is_no_missed_catch_trial():
    assert found([trial(catch="gross", correct=None)]) == {}


def test_the_median():
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    assert median([]) is None
