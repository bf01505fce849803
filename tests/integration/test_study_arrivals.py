"""Recruitment over HTTP, on SQLite and on PostgreSQL: who may begin, once, and where they go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from study_app.models import Arrival, AuditEvent, OneTimeLink, Participant, Protocol, Session
from study_app.participants import arrivals
from study_app.security import SESSION, VISITOR
from study_app.staff import Action
from tests.study_recruitment import PROLIFIC, Person, recruiting, reregister, rows

ADDRESSES = {
    "prolific": ("?PROLIFIC_PID=a1&STUDY_ID=b2&SESSION_ID=c3", ("prolific", "a1", "b2", "c3")),
    "mturk": ("?workerId=a1&hitId=b2&assignmentId=c3", ("mturk", "a1", "b2", "c3")),
    "sona": ("?survey_code=1234", ("sona", "1234", None, None)),
}


@pytest.fixture
def prolific(study, tmp_path):
    reregister(study, tmp_path, recruiting("prolific"))
    return study


def make_links(study, *options: str) -> list[str]:
    result = study.test_cli_runner().invoke(args=["links", *options])
    assert result.exit_code == 0, result.output
    return result.output.split()


@pytest.mark.parametrize("platform", ADDRESSES)
def test_a_platforms_ids_are_kept_and_leave_the_address_at_once(study, tmp_path, platform):
    address, expected = ADDRESSES[platform]
    reregister(study, tmp_path, recruiting(platform))
    someone = Person(study)
    first = someone.client.get(f"/{address}")
    assert (first.status_code, first.headers["Location"]) == (303, "/")
    assert someone.client.get("/").status_code == 200
    assert someone.consent().headers["Location"] == "/study"
    kept = select(Arrival.platform, Arrival.platform_id, Arrival.platform_study, Arrival.platform_session)
    assert rows(study, kept) == [expected]
    assert rows(study, select(Arrival.participant_id)) == rows(study, select(Participant.id))


@pytest.mark.parametrize(
    "address",
    [
        "", "?PROLIFIC_PID=", "?PROLIFIC_PID={{%25PROLIFIC_PID%25}}", "?workerId=a1", "?link=abc", "?survey_code=1",
        "?PROLIFIC_PID=" + "x" * 201, "?PROLIFIC_PID=a%20b", "?PROLIFIC_PID=%00",
    ],
)  # fmt: skip
def test_nobody_begins_without_an_id_of_the_platform(prolific, address):
    someone = Person(prolific)
    page = someone.open(address)
    assert page.status_code == 403
    assert "Please use your own link" in page.get_data(as_text=True)
    assert someone.consent().status_code == 403
    assert rows(prolific, select(func.count(Participant.id))) == [(0,)]


def test_a_preview_of_a_task_that_is_not_accepted_is_no_arrival(study, tmp_path):
    reregister(study, tmp_path, recruiting("mturk"))
    assert Person(study).open("?workerId=a&hitId=b&assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE").status_code == 403


def test_an_open_study_keeps_what_it_is_told_and_takes_everybody(study):
    told, untold = Person(study), Person(study)
    told.open(PROLIFIC)
    assert (told.consent().status_code, untold.consent().status_code) == (303, 303)
    assert sorted(rows(study, select(Arrival.platform))) == [("open",), ("prolific",)]


def test_who_came_without_an_id_and_comes_back_with_one_goes_on(study):
    someone = Person(study)
    someone.consent()
    session = someone.state()["session_id"]
    someone.open(PROLIFIC)
    assert someone.state()["session_id"] == session
    assert rows(study, select(Arrival.platform, Arrival.platform_id)) == [("prolific", "person-1")]


def test_a_second_visit_with_the_same_id_goes_on_with_the_same_session(prolific):
    someone = Person(prolific)
    someone.open(PROLIFIC)
    someone.consent()
    session = someone.state()["session_id"]
    assert someone.client.get(f"/{PROLIFIC}").headers["Location"] == "/"
    assert someone.client.get("/").headers["Location"] == "/study"
    assert someone.state()["session_id"] == session
    assert rows(prolific, select(func.count(Participant.id))) == [(1,)]


def test_another_browser_goes_on_after_a_click_and_the_first_one_stops(prolific):
    first, second = Person(prolific), Person(prolific)
    first.open(PROLIFIC)
    first.consent()
    first.answer(0)
    session = first.state()["session_id"]
    page = second.open(PROLIFIC)
    assert "in another browser" in page.get_data(as_text=True)
    assert first.client.get("/api/v1/state").status_code == 200, "opening a link alone changes nothing"
    assert second.send("/continue").headers["Location"] == "/study"
    assert (second.state()["session_id"], second.state()["next_index"]) == (session, 1)
    assert first.client.get("/api/v1/state").status_code == 401
    assert rows(prolific, select(func.count(Participant.id))) == [(1,)]
    assert ("went on in another browser",) in rows(prolific, select(AuditEvent.event))


def test_consent_in_another_browser_goes_on_too(prolific):
    first, second = Person(prolific), Person(prolific)
    first.open(PROLIFIC)
    first.consent()
    session = first.state()["session_id"]
    second.open(PROLIFIC)
    second.consent()
    assert second.state()["session_id"] == session


def test_two_people_after_one_another_in_one_browser_are_two(prolific):
    shared = Person(prolific)
    shared.open("?PROLIFIC_PID=first")
    shared.consent()
    first = shared.state()["session_id"]
    shared.answer_all()
    shared.finish()
    page = shared.open("?PROLIFIC_PID=second")
    assert "I agree to take part" in page.get_data(as_text=True)
    assert shared.consent().headers["Location"] == "/study"
    assert shared.state()["session_id"] != first
    assert shared.open("?PROLIFIC_PID=first").status_code == 200
    shared.send("/continue")
    assert shared.state()["session_id"] == first
    assert rows(prolific, select(func.count(Participant.id))) == [(2,)]


def test_a_token_that_somebody_else_used_is_not_used_again(prolific):
    shared, elsewhere = Person(prolific), Person(prolific)
    shared.open("?PROLIFIC_PID=first")
    shared.consent()
    elsewhere.open("?PROLIFIC_PID=first")  # the arrival moves; the session still hangs on the shared browser's token
    shared.client.delete_cookie(SESSION)
    shared.open("?PROLIFIC_PID=second")
    assert shared.consent().headers["Location"] == "/study"
    assert rows(prolific, select(func.count(Participant.id))) == [(2,)]


@pytest.mark.parametrize("platform", ["open", "prolific"])
def test_consent_that_is_sent_eight_times_at_once_makes_one_session(study, tmp_path, platform):
    reregister(study, tmp_path, recruiting(platform))
    someone = Person(study)
    someone.open(PROLIFIC if platform == "prolific" else "")
    visitor = someone.client.get_cookie(VISITOR).value

    def consent(_) -> tuple[int, str]:
        copy = Person(study)
        copy.client.set_cookie(VISITOR, visitor)
        reply = copy.consent()
        return reply.status_code, copy.client.get_cookie(SESSION).value

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(consent, range(8)))
    assert {status for status, _ in replies} == {303}
    assert len({cookie for _, cookie in replies}) == 1
    assert rows(study, select(func.count(Session.id))) == [(1,)]


def test_the_same_link_opened_eight_times_at_once_makes_one_arrival(prolific):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: Person(prolific).client.get(f"/{PROLIFIC}").status_code, range(8)))
    assert replies == [303] * 8
    assert rows(prolific, select(func.count(Arrival.id))) == [(1,)]


def test_links_are_made_shown_once_and_let_one_person_in_each(study, tmp_path):
    reregister(study, tmp_path, recruiting("link"))
    links = make_links(study, "3", "--label", "course", "--address", "https://study.example/")
    assert len(set(links)) == 3
    assert all(link.startswith("https://study.example/?link=") for link in links)
    tokens = [link.split("=")[1] for link in links]
    assert not set(tokens) & {kept for (kept,) in rows(study, select(OneTimeLink.token_sha256))}
    assert ("links made",) in rows(study, select(Action.action))
    first, again = Person(study), Person(study)
    first.open(f"?link={tokens[0]}")
    first.consent()
    again.open(f"?link={tokens[0]}")
    again.consent()
    assert rows(study, select(func.count(Participant.id))) == [(1,)]


def test_a_link_that_is_unknown_has_expired_or_is_of_another_study_lets_nobody_in(study, tmp_path):
    reregister(study, tmp_path, recruiting("link"), name="first")
    (old,) = make_links(study, "1", "--label", "a", "--days", "3")
    (late,) = make_links(study, "1", "--label", "b", "--days", "3")
    with study.extensions["percepsilon_database"].writing() as writer:
        past = datetime.now(UTC) - timedelta(seconds=1)
        writer.execute(update(OneTimeLink).where(OneTimeLink.label == "b").values(expires_at=past))
    token = late.split("=")[1]
    assert Person(study).open(f"?link={token}").status_code == 410
    assert Person(study).open("?link=unknown").status_code == 410
    reregister(study, tmp_path, recruiting("link"), name="second")
    token = old.split("=")[1]
    assert Person(study).open(f"?link={token}").status_code == 410


def test_a_full_study_says_so_and_keeps_nobody(study, tmp_path):
    reregister(study, tmp_path, recruiting("open", "places = 1\n"))
    assert Person(study).consent().status_code == 303
    late = Person(study)
    reply = late.consent()
    assert reply.status_code == 410
    assert "The study is full" in reply.get_data(as_text=True)
    assert late.client.get_cookie(SESSION) is None
    assert rows(study, select(func.count(Participant.id))) == [(1,)]


def test_in_a_paused_study_nobody_begins_and_everybody_goes_on(study):
    inside, outside = Person(study), Person(study)
    inside.consent()
    set_protocol(study, paused_at=datetime.now(UTC))
    assert inside.client.get("/study").status_code == 200
    assert inside.answer(0).status_code == 201
    assert outside.open().status_code == 503
    assert outside.consent().status_code == 503


def test_in_a_closed_study_nobody_begins_and_nobody_goes_on(study):
    inside, outside, done = Person(study), Person(study), Person(study)
    inside.consent()
    done.consent()
    done.answer_all()
    done.finish()
    set_protocol(study, closed_at=datetime.now(UTC))
    assert outside.open().status_code == 410
    assert outside.consent().status_code == 410
    assert inside.client.get("/study").status_code == 410
    assert inside.client.get("/api/v1/state").get_json()["error"]["code"] == "closed"
    assert done.client.get("/finish").status_code == 200, "a code that was earned stays"


def set_protocol(study, **values) -> None:
    with study.extensions["percepsilon_database"].writing() as writer:
        writer.execute(update(Protocol).values(**values))


def test_no_id_is_in_any_address_that_the_server_sends(prolific):
    someone = Person(prolific)
    seen = [someone.client.get(f"/{PROLIFIC}")]
    someone.consent()
    seen += [someone.client.get(path) for path in ("/", "/study", "/withdraw", "/api/v1/state")]
    for reply in seen:
        assert "person-1" not in reply.headers.get("Location", "")
        assert "person-1" not in reply.get_data(as_text=True)


@pytest.mark.parametrize(
    ("arguments", "platform", "expected"),
    [
        ({"PROLIFIC_PID": "a"}, "prolific", arrivals.Claim(platform="prolific", id="a")),
        ({"PROLIFIC_PID": "a", "STUDY_ID": "?"}, "prolific", arrivals.Claim(platform="prolific", id="a")),
        ({"PROLIFIC_PID": "a"}, "sona", None),
        ({"PROLIFIC_PID": "a"}, "link", None),
        ({"survey_code": "7"}, "open", arrivals.Claim(platform="sona", id="7")),
        ({"link": "t"}, "link", arrivals.Claim(platform="link", id="t")),
        ({}, "open", None),
    ],
)
def test_what_an_address_says(arguments, platform, expected):
    assert arrivals.claim_in(arguments, platform) == expected
