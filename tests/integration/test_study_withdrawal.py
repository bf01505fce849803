"""Withdrawal and retention: what is deleted, what stays, and that both are said truthfully."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, inspect, select, update

from study_app import retention
from study_app.limits import TryCount
from study_app.models import (
    Arrival,
    AuditEvent,
    Base,
    CheckResult,
    Participant,
    PlannedTrial,
    Response,
    Session,
    Visit,
)
from study_app.staff import Action, Exclusion, Researcher, StaffSession
from tests.study_recruitment import DEVICE, PROLIFIC, Person, recruiting, reregister, rows

EYESIGHT = "[eligibility]\nnormal_vision = true\ninput = 'keyboard'\n"
DAY = timedelta(days=1)


@pytest.fixture
def person(study, tmp_path):
    """Somebody from Prolific who passed the steps, loaded the page and gave three answers."""
    reregister(study, tmp_path, recruiting("prolific", "places = 1\n") + EYESIGHT)
    someone = Person(study)
    someone.open(PROLIFIC)
    someone.consent()
    someone.step("about-you", normal_vision="yes")
    someone.step("device", **DEVICE)
    someone.post_json("/api/v1/visits", {"client_uuid": "3f0b8bd3-7dc6-4e37-8f0c-6f0f0f9b9a01", "seen_index": None})
    for index in range(3):
        assert someone.answer(index).status_code == 201
    return someone


def writing(study):
    return study.extensions["percepsilon_database"].writing()


def everything(study) -> str:
    """All that the database holds, as text; hashes aside, which are of random tokens."""
    found = []
    with study.extensions["percepsilon_database"].reading() as reader:
        for table in Base.metadata.sorted_tables:
            found += [str(row) for row in reader.execute(select(table))]
    return "\n".join(found)


def test_withdrawal_deletes_all_and_says_so(study, person):
    assert "person-1" in everything(study)
    reply = person.send("/withdraw", sure="yes")
    assert reply.headers["Location"] == "/ended"
    page = person.client.get("/ended").get_data(as_text=True)
    assert "Your data are deleted" in page
    for table in (Response, PlannedTrial, CheckResult, Visit, Arrival):
        assert rows(study, select(func.count()).select_from(table)) == [(0,)], table
    for told in ("person-1", "study-1", "visit-1"):
        assert told not in everything(study)


def test_an_empty_row_stays_and_the_log_says_that_somebody_withdrew(study, person):
    person.send("/withdraw", sure="yes")
    kept = select(Participant.place, Participant.locale, Participant.withdrawn_at.is_not(None))
    assert rows(study, kept) == [(None, "", True)]
    assert rows(study, select(Session.end_reason)) == [("withdrawn",)]
    events = rows(study, select(AuditEvent.event, AuditEvent.detail).order_by(AuditEvent.id))
    assert events[-1] == ("withdrawn", {})
    assert {str(detail) for _, detail in events} == {"{}"}


def test_the_place_is_free_again_and_the_same_person_could_begin_anew(study, person):
    person.send("/withdraw", sure="yes")
    assert person.open(PROLIFIC).status_code == 200
    assert person.consent().headers["Location"] == "/steps/about-you"
    assert rows(study, select(Participant.place).order_by(Participant.number)) == [(None,), (0,)]


def test_after_withdrawal_nothing_goes_on(study, person):
    person.send("/withdraw", sure="yes")
    for path in ("/", "/study", "/finish", "/withdraw", "/steps/about-you"):
        assert person.client.get(path).headers["Location"] == "/ended"
    assert person.consent().headers["Location"] == "/ended"
    assert person.client.get("/api/v1/state").status_code in (403, 409)
    assert person.answer(3).status_code in (403, 409, 422)
    assert person.finish().status_code in (403, 409)
    assert rows(study, select(func.count(Response.id))) == [(0,)]


def test_without_the_tick_nothing_is_deleted(study, person):
    again = person.send("/withdraw")
    assert again.status_code == 422
    assert "Please tick the box" in again.get_data(as_text=True)
    assert rows(study, select(func.count(Response.id))) == [(3,)]


def test_withdrawing_twice_is_withdrawing_once(study, person):
    person.send("/withdraw", sure="yes")
    assert person.send("/withdraw", sure="yes").headers["Location"] == "/ended"
    assert rows(study, select(func.count()).where(AuditEvent.event == "withdrawn")) == [(1,)]


def test_a_code_that_was_earned_stays(study, person):
    for index in range(3, 10):
        person.answer(index)
    code = person.finish().get_json()["completion_code"]
    person.send("/withdraw", sure="yes")
    assert code in person.client.get("/ended").get_data(as_text=True)
    assert rows(study, select(func.count(Response.id))) == [(0,)]


def test_a_link_of_somebody_who_withdrew_lets_nobody_in(study, tmp_path):
    reregister(study, tmp_path, recruiting("link"))
    link = study.test_cli_runner().invoke(args=["links", "1", "--label", "a"]).output.strip()
    address = "?" + link.split("?")[1]
    someone = Person(study)
    someone.open(address)
    someone.consent()
    someone.send("/withdraw", sure="yes")
    assert Person(study).open(address).status_code == 410


def test_what_a_researcher_noted_of_somebody_goes_too(study, person):
    now = datetime.now(UTC)
    with writing(study) as writer:
        researcher = Researcher(email="a@example.org", password_hash="-", role="owner", made_at=now)
        writer.add(researcher)
        writer.flush()
        (participant,) = writer.scalars(select(Participant))
        writer.add(Exclusion(participant=participant, reason="other", note="odd", by_id=researcher.id, at=now))
    person.send("/withdraw", sure="yes")
    assert rows(study, select(func.count(Exclusion.id))) == [(0,)]


def test_withdrawal_reaches_ones_own_data_alone(study, tmp_path):
    reregister(study, tmp_path, "")
    someone, other = Person(study), Person(study)
    for each in (someone, other):
        each.consent()
        each.answer(0)
    someone.send("/withdraw", sure="yes")
    assert rows(study, select(func.count(Response.id))) == [(1,)]
    assert other.answer(1).status_code == 201
    assert Person(study).send("/withdraw", sure="yes").headers["Location"] == "/"


def test_every_table_of_a_session_is_thought_of(study):
    """A new table that refers to a session or a participant must be deleted from too, or be known to hold nothing."""
    referring = set()
    with study.extensions["percepsilon_database"].reading() as reader:
        inspector = inspect(reader.get_bind())
        for table in inspector.get_table_names():
            targets = {key["referred_table"] for key in inspector.get_foreign_keys(table)}
            referring |= {table} if targets & {"session", "participant", "planned_trial"} else set()
    assert referring == {
        "response", "planned_trial", "check_result", "visit", "arrival", "exclusion", "audit_event", "session",
    }  # fmt: skip


def finished_days_ago(study, days: float) -> None:
    with writing(study) as writer:
        moment = datetime.now(UTC) - days * DAY
        writer.execute(update(Session).values(finished_at=moment, completion_code="A", last_seen_at=moment))


def forget(study) -> dict[str, int]:
    with writing(study) as writer:
        return retention.forget(writer, datetime.now(UTC))


@pytest.mark.parametrize(("days", "forgotten"), [(29.9, 0), (30.1, 1)])
def test_ids_go_when_their_days_are_over(study, person, days, forgotten):
    finished_days_ago(study, days)
    assert forget(study)["platform ids"] == forgotten
    assert ("person-1" in everything(study)) == (not forgotten)
    assert rows(study, select(Arrival.platform)) == [("prolific",)], "that somebody came stays"
    assert rows(study, select(func.count(Response.id))) == [(3,)], "answers stay"
    assert forget(study)["platform ids"] == 0


def test_ids_of_who_never_finished_go_too(study, person):
    with writing(study) as writer:
        writer.execute(update(Session).values(last_seen_at=datetime.now(UTC) - 31 * DAY))
    assert forget(study)["platform ids"] == 1


def test_ids_of_who_is_still_in_stay(study, person):
    assert forget(study)["platform ids"] == 0
    assert "person-1" in everything(study)


def test_arrivals_without_consent_go_after_a_week(study, tmp_path):
    reregister(study, tmp_path, recruiting("prolific"))
    Person(study).open(PROLIFIC)
    assert forget(study)["arrivals without consent"] == 0
    with writing(study) as writer:
        writer.execute(update(Arrival).values(arrived_at=datetime.now(UTC) - 8 * DAY))
    assert forget(study)["arrivals without consent"] == 1
    assert "person-1" not in everything(study)


def test_sessions_of_researchers_and_counts_that_have_expired_go(study):
    now = datetime.now(UTC)
    with writing(study) as writer:
        researcher = Researcher(email="a@example.org", password_hash="-", role="owner", made_at=now)
        for token, expires_at in (("a", now - DAY), ("b", now + DAY)):
            writer.add(
                StaffSession(
                    researcher=researcher, token_sha256=token, signed_in_at=now, last_seen_at=now, expires_at=expires_at
                )
            )
        writer.add(TryCount(key_sha256="a", ends_at=int(now.timestamp()) - 1, tries=1))
        writer.add(TryCount(key_sha256="a", ends_at=int(now.timestamp()) + 3600, tries=1))
    counts = forget(study)
    assert (counts["researchers' sessions"], counts["counts of tries"]) == (1, 1)
    assert rows(study, select(StaffSession.token_sha256)) == [("b",)]


def test_the_command_prints_what_went_and_leaves_a_line_in_the_ledger(study, person):
    finished_days_ago(study, 31)
    result = study.test_cli_runner().invoke(args=["retention"])
    assert result.exit_code == 0
    assert "       1 platform ids" in result.output
    assert ("retention",) in rows(study, select(Action.action))
