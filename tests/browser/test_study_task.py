"""Whole sessions in a real browser: every task, by keyboard on a desktop and by touch on a phone."""

from __future__ import annotations

import pytest

from study_app.detection import ANSWERS
from tests.study_browser import (
    DESKTOP,
    PHONE,
    answer_by,
    assert_accessible,
    consent,
    get_state,
    go_on,
    kept,
    planned,
    play,
    press,
    visit,
    wait_for_picture,
    wait_until_kept,
)  # fmt: skip
from tests.study_site import SMALL_PROTOCOL

TIMED_2AFC = """
name = "timed"
task = "2afc"
seed = 6
[practice]
trials = 2
[main]
trials = 6
signal_share = 1
block_trials = 3
[answer]
confidence = 4
[timing]
fixation_ms = 100
exposure_ms = 150
mask_ms = 100
feedback_ms = 100
"""
SAME_DIFFERENT = """
name = "compared"
task = "same-different"
seed = 7
[practice]
trials = 2
[main]
trials = 6
block_trials = 6
[catch]
gross = 1
instructed = 1
after = 2
[answer]
confidence = 9
[timing]
fixation_ms = 100
feedback_ms = 100
"""
PROTOCOLS = {"yes-no": SMALL_PROTOCOL, "2afc": TIMED_2AFC, "same-different": SAME_DIFFERENT}
CUT_OFF = """() => [...document.querySelectorAll('.trial button, .trial canvas')].filter((each) => {
  const box = each.getBoundingClientRect();
  return box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight;
}).length"""
TARGETS = "[...document.querySelectorAll('.trial button')].flatMap((each) => [each.offsetWidth, each.offsetHeight])"


def by_keyboard(page) -> None:
    page.keyboard.press("f")


def rate_by_keyboard(page) -> None:
    page.keyboard.press("2")


def by_touch(page) -> None:
    page.tap(".answers button:last-child")


def rate_by_touch(page) -> None:
    page.tap(".levels button:nth-child(3)")


def assert_fits(page) -> None:
    """Nothing is cut off or scrolled, and what is to be hit is large enough."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight + 1")
    assert min(page.evaluate(TARGETS)) >= 44
    assert page.evaluate(CUT_OFF) == 0


WAYS = {
    "keyboard": (DESKTOP, by_keyboard, rate_by_keyboard),
    "touch": (PHONE, by_touch, rate_by_touch),
}


@pytest.mark.parametrize("task", PROTOCOLS)
@pytest.mark.parametrize("kind", WAYS)
def test_a_whole_session_to_the_last_page(chromium, serve, screenshots, axe_source, task, kind):
    options, answer, rate = WAYS[kind]
    width = options["viewport"]["width"]
    site, looked = serve(PROTOCOLS[task]), set()
    with visit(chromium, site, **options) as page:
        consent(page, site)
        state = get_state(page)

        def look(phase, index):
            if phase != "screen":
                assert_fits(page)
            if (phase, index) in {("screen", 0), ("screen", 2), ("screen", 5), ("answering", 3), ("rating", 3)}:
                looked.add(phase)
                page.screenshot(path=screenshots / f"{task}-{phase}-{index}-{width}.png", full_page=phase == "screen")
                if task == "same-different" or phase == "screen":  # one page after the other; axe takes a second
                    assert_accessible(page, axe_source)

        play(page, answer, rate=rate, each=look)
        page.wait_for_url("**/finish")
    rows, trials = kept(site, state["session_id"]), planned(site, state["session_id"])
    assert looked == ({"screen", "answering", "rating"} if state["confidence"] else {"screen", "answering"})
    assert [row.trial_index for row in rows] == [trial.trial_index for trial in trials]
    left, right = ANSWERS[task] if task == "2afc" or state["yes_side"] == "left" else reversed(ANSWERS[task])
    assert {row.response for row in rows} == {left if kind == "keyboard" else right}
    assert {row.input_type for row in rows} == {kind}
    assert all(0 < row.rt_ms < 60_000 and row.attempt == 1 and row.blur_count == 0 for row in rows)
    assert any(row.rt_ms != round(row.rt_ms) for row in rows)
    assert_rated(rows, trials, state["confidence"], 2 if kind == "keyboard" else 3)
    assert_timed(rows, state["exposure_ms"], state["mask_ms"])


def assert_rated(rows, trials, levels, given) -> None:
    for row, trial in zip(rows, trials, strict=True):
        asked = levels > 0 and trial.instructed is None
        assert row.confidence == (given if asked else None)
        assert (row.confidence_rt_ms is not None and row.confidence_rt_ms > 0) == asked


def assert_timed(rows, exposure_ms, mask_ms) -> None:
    for row in rows:
        assert 20 < row.refresh_hz < 250
        assert row.frames_shown >= (row.frames_planned or 1)
        if not exposure_ms:
            assert row.frames_planned is None
            assert row.mask_frames is None
        else:
            assert row.frames_planned == round(exposure_ms * row.refresh_hz / 1000)
            assert row.mask_frames >= round(mask_ms * row.refresh_hz / 1000)


@pytest.mark.parametrize(
    ("width", "height", "task"), [(844, 390, "same-different"), (320, 480, "same-different"), (1024, 500, "2afc")]
)
def test_a_trial_fits_a_small_window_whole(chromium, serve, screenshots, width, height, task):
    with visit(chromium, serve(PROTOCOLS[task]), viewport={"width": width, "height": height}) as page:
        consent(page, serve(PROTOCOLS[task]))
        phases = []

        def look(phase, index):
            phases.append(phase)
            if phase != "screen":
                page.screenshot(path=screenshots / f"{task}-{phase}-{width}x{height}.png")
                assert_fits(page)

        play(page, by_keyboard, rate=rate_by_keyboard, each=look, trials=2)
    assert phases == ["screen", "answering", "rating", "answering"]


def test_the_answers_stand_on_the_side_that_the_instructions_name(chromium, site):
    sides = set()
    for _ in range(3):  # of each two places one has yes on the left; three in a row hold such a pair
        with visit(chromium, site, **DESKTOP) as page:
            consent(page, site)
            side = get_state(page)["yes_side"]
            text = page.inner_text("#task")
            assert f"Press {'F' if side == 'left' else 'J'} for yes, changed" in text
            go_on(page)
            wait_for_picture(page)
            first = page.get_attribute(".answers button:first-child", "data-value")
            assert first == ("yes" if side == "left" else "no")
            sides.add(side)
    assert sides == {"left", "right"}


def test_an_instructed_trial_says_over_the_picture_which_answer_to_give(chromium, serve, screenshots):
    site, notes = serve(SAME_DIFFERENT), {}
    labels = {"same": "The same", "different": "Different"}
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)

        def look(phase, index):
            note = page.query_selector(".stage .instruction")
            if phase == "answering" and note:
                notes[state["trials"][index]["index"]] = note.inner_text()
                page.screenshot(path=screenshots / "instructed-1280.png")

        play(page, by_keyboard, rate=rate_by_keyboard, each=look)
    asked = {trial.trial_index: trial.instructed for trial in planned(site, state["session_id"]) if trial.instructed}
    assert len(asked) == 1
    assert notes == {
        index: f"For this one, please answer “{labels[answer]}”, whatever you see." for index, answer in asked.items()
    }


def test_practice_says_what_was_right_and_the_main_trials_do_not(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        page.evaluate(
            """() => {
              window.told = [];
              const keep = () => {
                const text = document.querySelector('.feedback')?.textContent;
                if (text && text !== window.told.at(-1)) window.told.push(text);
              };
              new MutationObserver(keep).observe(document.body, {childList: true, subtree: true, characterData: true});
            }"""
        )
        play(page, press, trials=4)
        wait_for_picture(page)
        told = page.evaluate("window.told")
        rows = wait_until_kept(site, state["session_id"], 4)
    assert len(told) == len({row.correct for row in rows[:2]}) or len(told) == 2
    for text, row in zip(told, rows, strict=False):
        assert text.startswith("✓ Right" if row.correct else "✗ Not quite")
        truth = (row.response == "yes") == row.correct
        assert text.endswith("it was changed." if truth else "it was not changed.")


def test_enter_on_a_button_answers_and_keeps_the_focus_on_its_side(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        go_on(page)
        wait_for_picture(page)
        page.focus(".answers button:last-child")
        answer_by(page, "Enter")
        wait_for_picture(page)
        assert page.evaluate("document.activeElement.getAttribute('aria-keyshortcuts')") == "J"
        answer_by(page, "Enter")
        page.wait_for_selector("#task h2:focus")
        rows = wait_until_kept(site, state["session_id"], 2)
    assert [row.input_type for row in rows] == ["keyboard", "keyboard"]
