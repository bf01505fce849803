"""Nothing is lost: reload, tabs, the back button, no connection, a killed server, a wrong clock."""

from __future__ import annotations

import json

from tests.study_browser import (
    DESKTOP,
    consent,
    forgive,
    get_state,
    go_on,
    kept,
    let_pass,
    new_page,
    planned,
    play,
    press,
    visit,
    wait_for_picture,
    wait_for_pictures,
    wait_until_kept,
    wait_until_saved,
)
from tests.study_site import SMALL_PROTOCOL

KILLED = SMALL_PROTOCOL.replace("small", "killed")  # a server of its own
PRACTICE, BLOCK, TRIALS = 2, 4, 10
WRONG_CLOCK = """() => {
  const Right = Date;
  let calls = 0;
  const wrong = () => Right.now() + [-86400000 * 400, 3600000 * 30, -5000][calls++ % 3];
  window.Date = class extends Right {
    constructor(...given) { super(...(given.length ? given : [wrong()])); }
    static now() { return wrong(); }
  };
}"""
HIDE_AFTER_FOUR_TRIES = """() => {
  const {fetch} = window;
  const hide = () => [[document, 'visibilitychange'], [window, 'blur']].forEach(
    ([target, name]) => target.dispatchEvent(new Event(name)),
  );
  window.tries = [];
  window.fetch = (url, options) => {
    const reply = fetch(url, options);
    if (url.endsWith('/trials') && window.tries.push(performance.now()) === 4) reply.catch(() => setTimeout(hide, 50));
    return reply;
  };
}"""


def begin_main(page, site, *, answered: int) -> dict:
    """Answers the practice and so many main trials; the next one is shown, not answered. Returns the state before.

    All pictures are there by then, so that the connection may go.
    """
    consent(page, site)
    state = get_state(page)
    play(page, press, trials=PRACTICE + answered)
    if answered % BLOCK == 0:
        go_on(page)
    wait_for_picture(page)
    wait_for_pictures(page, TRIALS)
    return state


def assert_complete(site, session_id: str, *, trials: int = TRIALS) -> None:
    """Every trial of the plan that was not aborted is in the database, once, in the order of showing."""
    plan = [trial for trial in planned(site, session_id) if trial.aborted_at is None]
    assert [row.trial_index for row in kept(site, session_id)] == [trial.trial_index for trial in plan]
    assert len(plan) == trials


def test_a_reload_in_practice_shows_the_same_trial_again_and_counts_the_attempt(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        play(page, press, trials=1)
        wait_for_picture(page)
        page.reload()
        page.wait_for_selector("text=Welcome back")
        play(page, press, trials=1)
        page.wait_for_selector("text=That was the practice")
        rows = wait_until_kept(site, state["session_id"], 2)
    assert [(row.trial_index, row.attempt) for row in rows] == [(0, 1), (1, 2)]


def test_a_reload_in_mid_trial_puts_another_picture_in_the_place_of_the_one_that_was_seen(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=1)
        page.reload()
        page.wait_for_selector("text=Welcome back")
        after = get_state(page)
        play(page, press)
    seen, stands_in = state["trials"][PRACTICE + 1], after["trials"][PRACTICE + 1]
    assert stands_in["index"] not in {trial["index"] for trial in state["trials"]}
    assert stands_in["pictures"] != seen["pictures"]
    plan = {trial.trial_index: trial for trial in planned(site, state["session_id"])}
    assert plan[seen["index"]].aborted_at is not None
    assert plan[seen["index"]].signal == plan[stands_in["index"]].signal
    assert_complete(site, state["session_id"])
    assert {row.attempt for row in kept(site, state["session_id"])} == {1}


def test_a_reload_between_trials_replaces_nothing(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        play(page, press, trials=PRACTICE)
        page.wait_for_selector("text=That was the practice")
        for _ in range(2):
            page.reload()
            page.wait_for_selector("text=That was the practice")
        play(page, press)
    assert not [trial for trial in planned(site, state["session_id"]) if trial.aborted_at is not None]
    assert_complete(site, state["session_id"])


def test_the_back_button_leads_back_into_the_task(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=2)
        page.go_back()
        page.wait_for_url("**/study")
        page.wait_for_selector("text=Welcome back")
        play(page, press)
        page.goto(f"{site.address}/study")
        page.wait_for_url("**/finish")
    assert_complete(site, state["session_id"])


def test_one_tab_plays_and_the_other_says_so_until_it_takes_over(chromium, site, screenshots):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=1)
        other = new_page(page.context, site)
        other.goto(f"{site.address}/study")
        other.wait_for_selector("text=The study is open in another tab")
        other.screenshot(path=screenshots / "other-tab-1280.png")
        press(page)
        wait_for_picture(page)
        go_on(other)
        other.wait_for_selector("text=Welcome back")
        page.wait_for_selector("text=The study is open in another tab")
        play(other, press, trials=2)
        other.close()
        page.wait_for_selector("text=Welcome back")  # the tab that waited goes on by itself
        play(page, press)
        assert other.complaints == []
    assert_complete(site, state["session_id"])


def test_a_minute_without_connection_loses_nothing_and_stops_nobody(chromium, site, screenshots):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=0)
        page.context.set_offline(True)
        play(page, press, trials=2 * BLOCK)
        page.wait_for_selector("text=saving… 8 left")
        page.wait_for_selector("text=Your last answers are still on their way")
        page.screenshot(path=screenshots / "last-answers-1280.png")
        with page.expect_download() as download:
            page.click("a[download]")
        saved = json.loads(download.value.path().read_text())
        page.clock.install()
        let_pass(page, 60)
        answered = len(kept(site, state["session_id"]))
        page.context.set_offline(False)
        page.wait_for_url("**/finish")
        forgive(page, cut_off=True)
    assert answered == PRACTICE
    assert [entry["answer"]["trial_index"] for entry in saved] == list(range(PRACTICE, TRIALS))
    assert_complete(site, state["session_id"])
    for entry, row in zip(saved, kept(site, state["session_id"])[PRACTICE:], strict=True):
        assert entry["answer"]["client_uuid"] == row.client_uuid


def test_answers_survive_a_reload_while_there_is_no_connection(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=0)
        page.route("**/api/v1/trials", lambda route: route.abort())
        play(page, press, trials=2)
        page.wait_for_selector("text=saving… 2 left")
        wait_for_picture(page)
        page.unroute("**/api/v1/trials")
        page.reload()
        page.wait_for_selector("text=Welcome back")
        wait_until_saved(page)
        play(page, press)
        forgive(page, cut_off=True)
    assert_complete(site, state["session_id"])


def test_a_server_that_is_killed_in_a_block_and_comes_back_has_every_answer_once(chromium, serve):
    site = serve(KILLED)
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=1)
        site.kill()
        play(page, press, trials=2)
        page.wait_for_selector("text=saving… 2 left")
        wait_for_picture(page)
        site.start()
        wait_until_saved(page)
        site.kill()
        site.start()
        play(page, press)
        forgive(page, cut_off=True)
    assert_complete(site, state["session_id"])


def test_a_page_that_is_hidden_sends_at_once_what_waits_and_says_so_in_the_data(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        state = begin_main(page, site, answered=0)
        page.evaluate(HIDE_AFTER_FOUR_TRIES)
        page.route("**/api/v1/trials", lambda route: route.abort())
        press(page)
        wait_for_picture(page)
        page.wait_for_function("() => window.tries.length === 5")
        assert page.evaluate("window.tries[4] - window.tries[3]") < 2000  # the pause would have been longer
        page.unroute("**/api/v1/trials")
        play(page, press)
        forgive(page, cut_off=True)
    assert_complete(site, state["session_id"])
    assert [row.blur_count for row in kept(site, state["session_id"])[2:5]] == [0, 1, 0]


def test_pictures_that_do_not_come_are_waited_for(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        page.route("**/api/v1/pictures/**", lambda route: route.abort())
        page.reload()
        go_on(page)
        page.wait_for_selector("text=Waiting for the connection")
        page.unroute("**/api/v1/pictures/**")
        play(page, press)
        forgive(page, cut_off=True)
    assert_complete(site, state["session_id"])


def test_a_clock_that_jumps_changes_no_time(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        page.add_init_script(f"({WRONG_CLOCK})()")
        consent(page, site)
        state = get_state(page)
        play(page, press)
    rows = kept(site, state["session_id"])
    assert_complete(site, state["session_id"])
    assert all(0 < row.rt_ms < 60_000 for row in rows)
    assert [row.onset_ms for row in rows] == sorted(row.onset_ms for row in rows)


def test_a_session_that_is_over_elsewhere_goes_to_where_the_server_says(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        begin_main(page, site, answered=0)
        refusal = {"error": {"code": "ended", "message": "this session is over", "next": "/privacy-test"}}
        page.route("**/privacy-test", lambda route: route.fulfill(status=200, body="over"))
        page.route("**/api/v1/trials", lambda route: route.fulfill(status=409, json=refusal))
        page.keyboard.press("f")
        page.wait_for_url("**/privacy-test")
        page.complaints[:] = [each for each in page.complaints if "409" not in each]
