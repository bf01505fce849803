"""The researchers' pages on real sessions: the live numbers, participants, exclusions, previews, exports."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from study_app import conduct, exports, registration, tallies
from study_app.admin.overview import Kept, overview_of
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
    StimulusRow,
    Visit,
)
from study_app.settings import Settings
from study_app.staff import Action, Exclusion
from study_app.tallies import SAME_TRIAL, Chosen
from tests.staff_site import Staff, database_of, member
from tests.study_site import Visitor, close

PLATFORM_ID = "5f1c3f0aaa77bbcc00119922"
EMPTIED = (Response, PlannedTrial, Visit, CheckResult, AuditEvent, Session, Participant, Arrival)


@pytest.fixture
def site(sqlite_url, tmp_path):
    from study_app import create_app

    app = create_app(Settings(database_url=sqlite_url, instance=tmp_path / "instance"))
    yield app
    close(app)


def truth(app) -> dict[int, tuple[bool, str, int]]:
    """Returns signal, source model and ε of each planned trial by its row id."""
    with database_of(app).reading() as reader:
        query = select(PlannedTrial.session_id, PlannedTrial.trial_index, StimulusRow.run, StimulusRow.eps_asked)
        rows = reader.execute(query.join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)).all()
        ids = {session.id: session.public_id for session in reader.scalars(select(Session))}
    return {(ids[session], index): (run, eps) for session, index, run, eps in rows}


def play(app, respond, *, trials: int = 10, **facts) -> Visitor:
    """Somebody who takes part; ``respond`` says yes or no from source model and ε."""
    someone = Visitor(app)
    assert someone.consent().status_code == 303
    state = someone.state()
    known = truth(app)
    for trial in state["trials"][:trials]:
        answer = "yes" if respond(*known[state["session_id"], trial["index"]]) else "no"
        assert someone.answer(trial["index"], response=answer, **facts).status_code == 201
    if trials == 10:
        assert someone.finish().status_code == 200
    return someone


def overview(app, who="everybody", now=None):
    with database_of(app).reading() as reader:
        return overview_of(reader, registration.current_protocol(reader), who, now or datetime.now(UTC))


def participant_of(app, visitor: Visitor) -> str:
    with database_of(app).reading() as reader:
        query = select(Participant.public_id).join(Session, Session.participant_id == Participant.id)
        return reader.scalar(query.where(Session.public_id == visitor.state()["session_id"]))


def exclude(app, visitor: Visitor, researcher: Staff, **form) -> str:
    name = participant_of(app, visitor)
    values = {"reason": "inattentive", "note": "looked away", **form}
    assert researcher.post(f"/admin/participants/{name}/exclude", **values).status_code == 303
    return name


def test_the_sums_of_the_database_are_those_of_the_answers_one_by_one(study):
    for number in range(3):
        play(study, lambda run, eps, number=number: eps > 2 ** (number + 1), rt_ms=180.5 + 400 * number)
    play(study, lambda run, eps: True, trials=5)
    with database_of(study).reading() as reader:
        protocol = registration.current_protocol(reader)
        query = (
            select(PlannedTrial, StimulusRow, Response)
            .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
            .join(Response, SAME_TRIAL)
            .where(PlannedTrial.phase == "main")
        )
        rows = reader.execute(query).all()
        counted = {
            (each.run, each.eps): (each.yes, each.trials) for each in tallies.main_answers(reader, Chosen(protocol.id))
        }
        times = tallies.response_times(reader, Chosen(protocol.id))
    by_hand: dict = {}
    for _, stimulus, response in rows:
        cell = by_hand.setdefault((stimulus.run, stimulus.eps_asked), [0, 0])
        cell[0] += response.response == "yes"
        cell[1] += 1
    assert counted == {cell: tuple(counts) for cell, counts in by_hand.items()}
    assert sum(trials for _, trials in counted.values()) == 3 * 8 + 3
    assert times == {1: 8, 5: 8 + 3, 9: 8}


def test_the_overview_says_how_far_sessions_came(study):
    play(study, lambda run, eps: eps > 0)
    play(study, lambda run, eps: False, trials=1)
    play(study, lambda run, eps: False, trials=7)
    gone = play(study, lambda run, eps: False, trials=4)
    Visitor(study).consent()
    with database_of(study).writing() as writer:
        name = participant_of(study, gone)
        row = writer.scalar(select(Session).join(Participant).where(Participant.public_id == name))
        row.last_seen_at = datetime.now(UTC) - timedelta(hours=25)
    seen = overview(study)
    assert seen.statuses == {"finished": 1, "started": 3, "abandoned": 1}
    assert [(stage.name, stage.left, stage.now) for stage in seen.stages] == [
        ("instructions", 0, 1), ("practice", 0, 1), ("block 1", 1, 0), ("block 2", 0, 1),
    ]  # fmt: skip
    assert seen.minutes[-1] + seen.minutes[-2] == 10 + 1 + 7 + 4
    assert seen.silent == 0
    later = overview(study, now=datetime.now(UTC) + timedelta(minutes=5))
    assert later.silent == 2  # those in mid-block; nobody before the first answer, and nobody who is done
    assert later.minutes[-6] + later.minutes[-7] == seen.minutes[-1] + seen.minutes[-2]


def test_quotas_count_what_is_answered_and_what_is_still_to_come(study):
    play(study, lambda run, eps: True)
    play(study, lambda run, eps: True, trials=4)
    seen = overview(study)
    assert len(seen.quotas) == 18
    with database_of(study).reading() as reader:
        signals = reader.scalar(select(func.count()).where(PlannedTrial.signal, PlannedTrial.phase == "main"))
    assert sum(cell.answered + cell.pending for cell in seen.quotas) == signals == 8
    assert {cell.aim for cell in seen.quotas} == {0}
    assert seen.places_held == 2


def test_robots_can_be_told_from_people_and_previews_are_never_counted(site):
    play(site, lambda run, eps: True)
    robot = Visitor(site)
    robot.client.post("/consent", data={"consent": "yes", "robot": "yes"}, headers=robot.headers)
    robot.answer_all()
    preview = member(site, "researcher")
    assert preview.post("/admin/previews").status_code == 303
    with database_of(site).writing() as writer:
        assert writer.scalar(select(func.count()).where(Participant.preview)) == 1
    counted = {
        who: sum(cell.trials for cell in overview(site, who).rates.levels) for who in ("everybody", "people", "robots")
    }
    assert counted == {"everybody": 8, "people": 4, "robots": 4}
    assert sum(overview(site).statuses.values()) == 2
    assert overview(site).special == {"robots": 1, "previews": 1, "excluded": 0, "withdrawn": 0}
    assert "As of" in preview.text("/admin/?who=robots")
    assert "robots alone" in preview.text("/admin/live?who=robots")


def test_a_costly_overview_is_kept_for_ten_times_as_long_as_it_took():
    now, counted = [100.0], []

    def count() -> str:
        now[0] += 3.0
        counted.append(now[0])
        return f"overview {len(counted)}"

    kept = Kept(clock=lambda: now[0])
    assert kept.get(1, "people", count) == kept.get(1, "people", count) == "overview 1"
    assert kept.get(1, "robots", count) == "overview 2"
    now[0] = counted[0] + 29.9
    assert kept.get(1, "people", count) == "overview 1"
    now[0] = counted[0] + 30.0
    assert kept.get(1, "people", count) == "overview 3"


def test_the_page_shows_the_numbers_and_their_table(site):
    for _ in range(3):
        play(site, lambda run, eps: eps > 2)
    seen, shown = overview(site), member(site, "viewer").text("/admin/")
    level = next(level for level in seen.rates.levels if level.trials)
    assert f'<td class="n">{level.yes}</td><td class="n">{level.trials}</td>' in shown
    assert f"{level.d_prime.estimate:.2f}".replace("-", "−") in shown
    assert f"of {seen.rates.noise.trials} unchanged pictures" in shown
    assert shown.count('role="img"') == 4
    assert shown.count("<script") == 1
    assert "style=" not in shown
    assert "<style" not in shown


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


def test_the_list_of_participants_is_paged_and_filtered(site, monkeypatch):
    from study_app import roster

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
    unsure = owner.post("/admin/study/close")
    assert unsure.status_code == 422
    assert "Tick the box to close the study" in unsure.text
    assert owner.post("/admin/study/close", sure="yes").status_code == 303
    assert someone.client.get("/api/v1/state").get_json()["error"]["code"] == "closed"
    assert "found one that is closed" in owner.post("/admin/study/close", sure="yes").text
    assert "found one that is closed" in owner.post("/admin/study/pause").text
    assert owner.post("/admin/study/reopen").status_code == 303
    assert "found one that is open" in owner.post("/admin/study/reopen").text
    assert someone.client.get("/api/v1/state").status_code == 200


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


def counts(app) -> dict[str, int]:
    with database_of(app).reading() as reader:
        return {table.__tablename__: reader.scalar(select(func.count()).select_from(table)) for table in EMPTIED}


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


def test_deleting_previews_leaves_everybody_else(site):
    someone, researcher = play(site, lambda run, eps: True), member(site, "researcher")
    before = counts(site)
    researcher.post("/admin/previews")
    researcher.post("/admin/previews/delete")
    assert counts(site) == before
    assert someone.finish().status_code == 200


def wait_for_export(researcher: Staff) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = researcher.text("/admin/exports/live")
        if "Download" in text:
            return text.split('href="')[1].split('"')[0]
        assert "problem" not in text, text
        time.sleep(0.1)
    return pytest.fail("no export within a minute")


def link(app, visitor: Visitor) -> None:
    """Makes the visitor somebody whom a platform sent."""
    with database_of(app).writing() as writer:
        participant = writer.scalar(select(Participant).where(Participant.public_id == participant_of(app, visitor)))
        known = writer.scalar(select(Arrival).where(Arrival.participant_id == participant.id))
        if known is None:
            known = Arrival(protocol_id=participant.protocol_id, participant_id=participant.id, token_sha256="0" * 64,
                            arrived_at=datetime.now(UTC), platform="prolific")  # fmt: skip
            writer.add(known)
        known.platform, known.platform_id = "prolific", PLATFORM_ID
        known.platform_study, known.platform_session = f"study-{PLATFORM_ID}", f"session-{PLATFORM_ID}"


def test_an_export_is_made_in_the_background_and_taken_away_as_a_zip(site):
    play(site, lambda run, eps: True)
    researcher = member(site, "researcher")
    researcher.post("/admin/previews")
    assert researcher.post("/admin/exports").location == "/admin/exports"
    with researcher.get(wait_for_export(researcher)) as response:
        assert response.status_code == 200
        assert response.headers["Content-Disposition"].startswith("attachment; filename=small-")
        zipped = response.data
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        trials = archive.read("small/data/table-trials_data.csv").decode().splitlines()
        assert json.loads(archive.read("small/dataset_description.json"))["@type"] == "Dataset"
    assert "small/data/table-trials_data.parquet" in names
    assert len(trials) == 1 + 10
    with database_of(site).reading() as reader:
        acts = list(reader.scalars(select(Action.action).order_by(Action.sequence)))
    assert acts[-2:] == ["export", "export downloaded"]
    assert researcher.get("/admin/exports/20260101-000000-00000000.zip").status_code == 404


def test_an_export_that_fails_says_why(site):
    with database_of(site).writing() as writer:
        for row in writer.scalars(select(Protocol)):
            row.set.directory = "/nowhere"
    researcher = member(site, "researcher")
    researcher.post("/admin/exports")
    deadline = time.monotonic() + 60
    while "beginning" in (text := researcher.text("/admin/exports/live")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "/nowhere" in text


def test_an_export_whose_worker_ended_counts_as_interrupted_and_is_forgotten_after_a_day(tmp_path):
    import os

    place = tmp_path / "20260101-120000-0123abcd"
    place.mkdir()
    (place / "progress.json").write_text('{"done": 3, "total": 12}')
    job = exports.job(tmp_path, place.name)
    assert (job.state, job.share) == ("running", 0.25)
    old = time.time() - 2 * exports.SILENT_S
    for path in (place, place / "progress.json"):
        os.utime(path, (old, old))
    assert exports.job(tmp_path, place.name).state == "interrupted"
    exports.forget_old(tmp_path)
    assert place.exists()
    os.utime(place, (time.time() - 2 * exports.KEPT_S,) * 2)
    exports.forget_old(tmp_path)
    assert exports.jobs(tmp_path) == []


@pytest.mark.parametrize("name", ["..", "../../etc", "20260101-000000-0000000g"])
def test_only_an_exports_own_name_leads_to_a_file(tmp_path, name):
    assert exports.job(tmp_path, name) is None
    assert exports.archive(tmp_path, name) is None


def test_no_page_and_no_export_names_a_platforms_id(site):
    someone = play(site, lambda run, eps: True)
    link(site, someone)
    owner = member(site, "owner")
    exclude(site, someone, owner)
    owner.post("/admin/exports")
    with owner.get(wait_for_export(owner)) as response:
        zipped = response.data
    paths = ["/admin/", "/admin/live", "/admin/participants", f"/admin/participants/{participant_of(site, someone)}",
             "/admin/exports", "/admin/ledger", "/admin/team", "/admin/account"]  # fmt: skip
    for path in paths:
        assert PLATFORM_ID not in owner.text(path), path
    assert PLATFORM_ID not in owner.client.get("/metrics").text
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        for name in archive.namelist():
            assert PLATFORM_ID.encode() not in archive.read(name), name


def test_without_a_study_the_page_says_what_to_do(tmp_path):
    from study_app import create_app

    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'new.sqlite'}", instance=tmp_path))
    database_of(app).migrate()
    someone = member(app, "owner")
    assert "register-protocol FILE --set NAME" in someone.text("/admin/")
    assert "No protocol is registered yet" in someone.get("/admin/participants").text
    assert "no protocol is registered" in someone.post("/admin/study/pause").text.lower()
    close(app)
