"""Participants as researchers see them: the list, one of them, leaving one out and taking one in again."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select

from study_app.researchers import roster
from study_app.staff import Action, Exclusion
from tests.staff_site import database_of, exclude, member, overview, participant_of, play
from tests.study_site import Visitor


def test_the_list_of_participants_is_paged_and_filtered(site, monkeypatch):
    monkeypatch.setattr(roster, "PAGE", 2)
    done = play(site, lambda run, eps: True, rt_ms=150.0)
    for _ in range(3):
        Visitor(site).consent()
    someone = member(site, "viewer")
    first, second = someone.text("/admin/participants"), someone.text("/admin/participants?page=2")
    assert "4 in all" in first
    assert "1 of 2" in first
    name = participant_of(site, done)
    assert name not in first
    assert name in second
    assert "10 of 10" in second
    assert "8 of 10 answers" not in second
    assert "10 of 10 answers under 200 ms" in second
    assert "the same answer 10 times in a row" in second
    assert name in someone.text("/admin/participants?status=finished")
    assert "1 in all" in someone.text("/admin/participants?status=finished")
    assert "3 in all" in someone.text("/admin/participants?status=started&kind=people")
    assert "Nobody here." in someone.text("/admin/participants?kind=robots")
    assert "4 in all" in someone.text("/admin/participants?page=none&kind=nonsense&status=nonsense")


def test_a_participant_is_shown_with_each_trial_and_its_flags(site):
    someone = play(site, lambda run, eps: True, rt_ms=150.25, blur_count=1)
    shown = member(site, "viewer").text(f"/admin/participants/{participant_of(site, someone)}")
    assert "10 of 10 answers under 200 ms" in shown
    assert "the page lost focus or was hidden in 10 trials" in shown
    assert shown.count('<td class="n warn">150</td>') == 10
    assert shown.count("<title>trial") == 10
    assert "<title>trial 9, ms: 150</title>" in shown
    assert "Leave out" not in shown  # a viewer looks
    assert member(site, "viewer").get("/admin/participants/p-nobody").status_code == 404


def test_an_exclusion_takes_answers_out_of_the_numbers_and_can_be_undone(site):
    someone, researcher = play(site, lambda run, eps: True), member(site, "researcher")
    play(site, lambda run, eps: True)
    assert sum(level.trials for level in overview(site).rates.levels) == 8
    name = exclude(site, someone, researcher)
    page = researcher.text(f"/admin/participants/{name}")
    assert "Missed attention checks" in page
    assert "looked away" in page
    assert sum(level.trials for level in overview(site).rates.levels) == 4
    assert overview(site).special["excluded"] == 1
    assert "left out" in researcher.text("/admin/participants?kind=left out")
    twice = researcher.post(f"/admin/participants/{name}/exclude", reason="other", note="again")
    assert "is left out already (inattentive); undo that first" in twice.text
    assert researcher.post(f"/admin/participants/{name}/include").status_code == 303
    assert sum(level.trials for level in overview(site).rates.levels) == 8
    not_out = researcher.post(f"/admin/participants/{name}/include")
    assert "expected a participant who is left out, found one who is not" in not_out.text
    with database_of(site).reading() as reader:
        rows = [(row.action, row.detail) for row in reader.scalars(select(Action).order_by(Action.sequence))]
    assert rows[-2:] == [
        ("participant excluded", {"participant": name, "reason": "inattentive"}),
        ("exclusion undone", {"participant": name, "reason": "inattentive"}),
    ]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"reason": "dislike", "note": ""}, "Reason: expected one of technical-fault"),
        ({"reason": "other", "note": " "}, "at least one for the reason &#39;other&#39;"),
        ({"reason": "pilot", "note": "x" * 1001}, "Note: expected up to 1000 characters"),
    ],
)
def test_an_exclusion_needs_a_reason_that_we_know(site, form, message):
    someone, researcher = play(site, lambda run, eps: True, trials=1), member(site, "researcher")
    refused = researcher.post(f"/admin/participants/{participant_of(site, someone)}/exclude", **form)
    assert refused.status_code == 422
    assert message in refused.text
    with database_of(site).reading() as reader:
        assert reader.scalar(select(func.count()).select_from(Exclusion)) == 0


def test_who_withdrew_is_shown_without_data_and_cannot_be_left_out(site):
    someone, researcher = play(site, lambda run, eps: True), member(site, "researcher")
    name = participant_of(site, someone)
    token = someone.headers["X-CSRF-Token"]
    gone = someone.client.post("/withdraw", data={"sure": "yes", "csrf": token}, headers=someone.headers)
    assert gone.status_code == 303
    page = researcher.text(f"/admin/participants/{name}")
    assert "This participant withdrew on" in page
    assert "Trials" not in page
    refused = researcher.post(f"/admin/participants/{name}/exclude", reason="pilot")
    assert "withdrew, and has no data any more that could be left out" in refused.text
    seen = overview(site)
    assert (seen.statuses, seen.rates.levels) == ({"withdrawn": 1}, ())


def test_no_page_has_a_script_or_a_style_of_its_own(site):
    someone = play(site, lambda run, eps: True)
    owner = member(site, "owner")
    paths = ["", "live", "participants", f"participants/{participant_of(site, someone)}", "exports", "ledger", "team",
             "account", "sign-in"]  # fmt: skip
    for path in paths:
        text = owner.text(f"/admin/{path}")
        assert "style=" not in text, path
        assert "<style" not in text, path
        assert re.findall(r"<script(?! src=)", text) == [], path
        assert re.findall(r"\son[a-z]+=", text) == [], path
        assert set(re.findall(r"https?://[^/\"']+", text)) <= {"http://www.w3.org"}, path
