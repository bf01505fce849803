"""What goes over the wire: little, to one origin, and nothing that tells what is shown before it was judged."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from study_app.models import PlannedTrial, Session
from tests.study_browser import (
    DESKTOP,
    consent,
    get_state,
    go_on,
    kept,
    planned,
    play,
    press,
    visit,
    wait_for_picture,
    wait_until,
    wait_until_kept,
)
from tests.study_site import SMALL_PROTOCOL, close, make_app

PAGE_LIMIT = 150_000
TELLING = ("eps", "sha256", "stimulus", "source", "pgd", "noise", "correct", 'signal"', "catch", "gross", "target_side")
ADAPTIVE = """
name = "adaptive"
seed = 9
[practice]
trials = 2
[main]
trials = 8
block_trials = 4
[adaptive]
method = "quest-plus"
[timing]
fixation_ms = 100
feedback_ms = 100
"""


@pytest.mark.parametrize("task", ["yes-no", "2afc"])
def test_the_first_trial_page_is_light_without_its_pictures(chromium, serve, task):
    site, replies = serve(SMALL_PROTOCOL.replace('"small"', f'"light-{task}"\ntask = "{task}"')), []
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        context = chromium.new_context(storage_state=page.context.storage_state(), **DESKTOP)  # with an empty cache
        page.close()
        fresh = context.new_page()
        fresh.on("response", lambda reply: replies.append(reply))  # noqa: PLW0108  (Playwright marks it)
        fresh.goto(f"{site.address}/study")
        go_on(fresh)
        wait_for_picture(fresh)
        others = [reply for reply in replies if "/pictures/" not in reply.url]
        weights = {reply.url: weight(reply) for reply in others}
        sent = sum(reply.request.sizes()["responseBodySize"] for reply in others)
        context.close()
    assert any(url.endswith("jspsych.js") for url in weights)
    assert any(url.endswith("task.js") for url in weights)
    assert any(url.endswith("/study") for url in weights)
    assert sum(weights.values()) <= sent <= PAGE_LIMIT
    assert sum(weights.values()) > 30_000  # jsPsych alone has 25


def weight(reply) -> int:
    """Returns the bytes of a reply's body as they would be if everything were compressed."""
    body = reply.body()
    return min(len(body), len(gzip.compress(body)))


@pytest.mark.parametrize("task", ["yes-no", "2afc", "same-different"])
def test_what_the_browser_gets_before_an_answer_tells_nothing(chromium, serve, task):
    site, told = serve(SMALL_PROTOCOL.replace('"small"', f'"light-{task}"\ntask = "{task}"')), []
    with visit(chromium, site, **DESKTOP) as page:
        page.on("response", lambda reply: told.append(reply) if "/api/" in reply.url else None)
        consent(page, site)
        go_on(page)
        wait_for_picture(page)
        wait_until(page, lambda: len([reply for reply in told if "/pictures/" in reply.url]) >= 6)
        bodies = [reply.text() for reply in told if "/pictures/" not in reply.url]
        headers = [reply.all_headers() for reply in told if "/pictures/" in reply.url]
    assert len(bodies) >= 2
    assert not [word for word in TELLING if word in "".join(bodies)]
    assert len(headers) >= 6
    for header in headers:  # its time, and a random name in the log
        header.pop("date"), header.pop("x-request-id")
    assert all(header == headers[0] for header in headers)
    state = next(json.loads(body) for body in bodies if "next_index" in body)
    assert state["next_index"] == 0
    assert {name for trial in state["trials"] for name in trial} == {
        "index",
        "phase",
        "block",
        "pictures",
        "instructed",
    }


def test_a_main_trial_is_not_told_right_or_wrong_even_after_it(chromium, site):
    told = []
    with visit(chromium, site, **DESKTOP) as page:
        page.on("response", lambda reply: told.append(reply) if reply.url.endswith("/trials") else None)
        consent(page, site)
        go_on(page)
        play(page, press, trials=4)
        wait_for_picture(page)
        wait_until(page, lambda: len(told) == 4)
        bodies = [reply.json() for reply in told]
    assert ["correct" in body for body in bodies] == [True, True, False, False]


def test_an_adaptive_study_asks_for_a_picture_only_when_the_answers_before_it_are_there(chromium, serve):
    site, asked = serve(ADAPTIVE), []
    with visit(chromium, site, **DESKTOP) as page:
        page.on("request", lambda request: asked.append(request.url.split("/api/v1/")[-1]))
        consent(page, site)
        state = get_state(page)
        assert state["adaptive"]
        play(page, press)
    names = {url: trial["index"] for trial in state["trials"] for url in trial["pictures"]}
    order = [names.get(f"/api/v1/{each}", each) for each in asked if "pictures/" in each or each == "trials"]
    assert order == [each for trial in state["trials"] for each in (trial["index"], "trials")]
    assert len(kept(site, state["session_id"])) == len(state["trials"])


def test_after_a_night_the_instructions_come_again_with_warm_up_trials(chromium, site, screenshots):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        play(page, press, trials=4)
        wait_for_picture(page)
        wait_until_kept(site, state["session_id"], 4)
        page.goto("about:blank")
        change(site, update(Session).values(last_seen_at=datetime.now(UTC) - timedelta(hours=9)), state)
        page.goto(f"{site.address}/study")
        page.wait_for_selector("text=It has been a while")
        page.screenshot(path=screenshots / "warm-up-1280.png", full_page=True)
        play(page, press, trials=2)
        page.wait_for_selector("text=That was the warm-up")
        play(page, press)
    plan = {trial.trial_index: trial for trial in planned(site, state["session_id"])}
    phases = [plan[row.trial_index].phase for row in kept(site, state["session_id"])]
    assert phases == ["practice"] * 2 + ["main"] * 2 + ["warm-up"] * 2 + ["main"] * 6


def test_a_session_that_is_over_leads_to_the_page_that_says_why(chromium, site):
    with visit(chromium, site, **DESKTOP) as page:
        consent(page, site)
        state = get_state(page)
        play(page, press, trials=3)
        wait_for_picture(page)
        wait_until_kept(site, state["session_id"], 3)
        change(site, update(Session).values(ended_at=datetime.now(UTC), end_reason="timed-out"), state)
        page.keyboard.press("f")
        page.wait_for_url("**/ended")
        page.complaints[:] = [each for each in page.complaints if "status of 409" not in each and "of 403" not in each]
    assert len(kept(site, state["session_id"])) == 3


def change(site, statement, state) -> None:
    """Changes the session behind the server's back, as time would."""
    app = make_app(site._database_url)
    with app.extensions["percepsilon_database"].writing() as writer:
        writer.execute(statement.where(Session.public_id == state["session_id"]))
        assert writer.scalar(select(PlannedTrial.id).limit(1))
    close(app)
