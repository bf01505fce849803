"""Pausing, closing and opening a study, and its preview, which leaves nothing behind."""

from __future__ import annotations

from sqlalchemy import func, select

from study_app.models import (
    Arrival,
    AuditEvent,
    Base,
    CheckResult,
    Participant,
    PlannedTrial,
    Protocol,
    Response,
    Session,
    Visit,
)
from study_app.researchers import conduct
from tests.staff_site import database_of, member, play
from tests.study_site import Visitor, make_answer

EMPTIED = (Response, PlannedTrial, Visit, CheckResult, AuditEvent, Session, Participant, Arrival)


def test_while_a_study_is_paused_nobody_begins_and_who_is_in_goes_on(site):
    someone, researcher = Visitor(site), member(site, "researcher")
    someone.consent()
    assert researcher.post("/admin/study/pause").status_code == 303
    assert '<span class="pill paused">paused</span>' in researcher.text("/admin/")
    Visitor(site).consent()
    with database_of(site).reading() as reader:
        assert reader.scalar(select(func.count()).select_from(Participant)) == 1
    assert someone.answer(0).status_code == 201
    twice = researcher.post("/admin/study/pause")
    assert "expected a study that is open, found one that is paused" in twice.text
    assert researcher.post("/admin/study/resume").status_code == 303
    assert "expected a study that is paused, found one that is open" in researcher.post("/admin/study/resume").text
    Visitor(site).consent()
    with database_of(site).reading() as reader:
        assert reader.scalar(select(func.count()).select_from(Participant)) == 2


def test_in_a_closed_study_nobody_goes_on_until_an_owner_opens_it_again(site):
    someone, owner = Visitor(site), member(site, "owner")
    someone.consent()
    given = make_answer(someone.state()["next_index"])
    assert someone.post(given).status_code == 201
    unsure = owner.post("/admin/study/close")
    assert unsure.status_code == 422
    assert "Tick the box to close the study" in unsure.text
    assert owner.post("/admin/study/close", sure="yes").status_code == 303
    assert someone.client.get("/api/v1/state").get_json()["error"]["code"] == "closed"
    late = make_answer(given["trial_index"] + 1)
    refused = someone.post(late)  # by a page that was open before; it keeps the answer
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, "closed")
    assert someone.post(given).status_code == 200
    assert "found one that is closed" in owner.post("/admin/study/close", sure="yes").text
    assert "found one that is closed" in owner.post("/admin/study/pause").text
    assert owner.post("/admin/study/reopen").status_code == 303
    assert "found one that is open" in owner.post("/admin/study/reopen").text
    assert someone.client.get("/api/v1/state").status_code == 200
    assert someone.post(late).status_code == 201


def counts(app) -> dict[str, int]:
    with database_of(app).reading() as reader:
        return {table.__tablename__: reader.scalar(select(func.count()).select_from(table)) for table in EMPTIED}


def test_a_preview_is_the_study_itself_and_leaves_nothing_behind(site):
    researcher = member(site, "researcher")
    before = counts(site)
    begun = researcher.post("/admin/previews")
    assert begun.location == "/"
    assert researcher.get("/").location == "/study"
    state = researcher.get("/api/v1/state").get_json()
    assert len(state["trials"]) == 10
    preview = Visitor(site)
    preview.client = researcher.client
    preview.answer_all()
    assert preview.finish().status_code == 200
    with database_of(site).reading() as reader:
        someone = reader.scalar(select(Participant))
        assert (someone.preview, someone.place) == (True, None)
        assert reader.scalar(select(Protocol)).frozen_at is None
    assert "Delete 1 preview" in researcher.text("/admin/")
    assert researcher.post("/admin/previews/delete").status_code == 303
    assert counts(site) == before


def test_a_preview_that_was_left_out_can_be_deleted_too(site):
    researcher = member(site, "researcher")
    researcher.post("/admin/previews")
    with database_of(site).reading() as reader:
        name = reader.scalar(select(Participant.public_id))
    assert researcher.post(f"/admin/participants/{name}/exclude", reason="pilot").status_code == 303
    assert researcher.post("/admin/previews/delete").status_code == 303
    assert counts(site)["participant"] == 0


def test_deleting_previews_thinks_of_every_table():
    tables = {table.__tablename__: table for table in (*conduct.OF_SESSION, *conduct.OF_PARTICIPANT)}
    refer = {
        table.name
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name in ("session", "participant", "planned_trial") and table.name != "staff_session"
    }
    assert refer == set(tables)


def test_deleting_previews_leaves_everybody_else(site):
    someone, researcher = play(site, lambda run, eps: True), member(site, "researcher")
    before = counts(site)
    researcher.post("/admin/previews")
    researcher.post("/admin/previews/delete")
    assert counts(site) == before
    assert someone.finish().status_code == 200
