"""A participant's session over HTTP, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from core import manifest
from study_app.models import AuditEvent, Participant, PlannedTrial, Response
from tests.study_site import make_answer

OF_A_REQUEST = ("Date", "X-Request-Id")  # the clock, and a random name
FORBIDDEN_IN_STATE = ("eps", "run", 'signal"', "sha", "stimulus", "source", "standard", "pgd", "changed", "correct")


def rows(app, query):
    with app.extensions["percepsilon_database"].reading() as reader:
        return list(reader.execute(query))


def test_a_whole_session_ends_with_a_code_that_stays_the_same(visitor):
    visitor.answer_all()
    first = visitor.finish()
    assert first.status_code == 200
    assert visitor.finish().get_json() == first.get_json()
    page = visitor.client.get("/finish")
    assert first.get_json()["completion_code"] in page.get_data(as_text=True)
    assert visitor.client.get("/").headers["Location"] == "/finish"
    assert visitor.state()["finished"] is True


def test_two_participants_at_once_get_plans_of_their_own_and_keep_their_answers_apart(study, new_visitor):
    someone, other = new_visitor(), new_visitor()
    with ThreadPoolExecutor(2) as pool:
        assert [reply.status_code for reply in pool.map(lambda each: each.consent(), [someone, other])] == [303, 303]
    assert {token["pictures"][0] for token in someone.state()["trials"]}.isdisjoint(
        token["pictures"][0] for token in other.state()["trials"]
    )
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: each.answer_all(), [someone, other]))
    assert someone.finish().get_json()["completion_code"] != other.finish().get_json()["completion_code"]
    assert rows(
        study, select(Response.session_id, func.count()).group_by(Response.session_id).order_by(Response.session_id)
    ) == [
        (1, 10),
        (2, 10),
    ]
    assert sorted(rows(study, select(Participant.number))) == [(0,), (1,)]


def test_eight_people_who_consent_at_once_get_eight_numbers(study, new_visitor):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda each: each.consent().status_code, [new_visitor() for _ in range(8)]))
    assert replies == [303] * 8
    assert sorted(rows(study, select(Participant.number))) == [(number,) for number in range(8)]


def test_the_same_answer_again_is_acknowledged_and_stored_once(study, visitor):
    answer = make_answer(0)
    assert visitor.post(answer).status_code == 201
    again = visitor.post(answer)
    assert (again.status_code, again.get_json()["duplicate"]) == (200, True)
    assert rows(study, select(func.count(Response.id))) == [(1,)]


def test_the_same_answer_posted_eight_times_at_once_is_stored_once(study, visitor):
    answer = make_answer(0)
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: _copy(study, visitor).post(answer).status_code, range(8)))
    assert sorted(codes) == [200] * 7 + [201]
    assert rows(study, select(func.count(Response.id))) == [(1,)]


def test_a_changed_answer_is_refused_the_first_stands_and_the_log_says_so(study, visitor):
    assert visitor.answer(0, response="yes").status_code == 201
    refused = visitor.answer(0, response="no")
    assert refused.status_code == 409
    assert refused.get_json()["error"]["code"] == "answered"
    assert rows(study, select(Response.response)) == [("yes",)]
    assert ("changed answer refused",) in rows(study, select(AuditEvent.event))


def test_finishing_too_early_is_refused_with_the_missing_indexes(visitor):
    visitor.answer(0)
    visitor.answer(1)
    refused = visitor.finish()
    assert refused.status_code == 409
    assert refused.get_json()["error"]["missing"] == list(range(2, 10))
    assert visitor.client.get("/finish").headers["Location"] == "/study"


def test_an_answer_out_of_order_is_refused_with_the_next_index(study, visitor):
    refused = visitor.answer(3)
    assert refused.status_code == 409
    assert refused.get_json()["error"]["next_index"] == 0
    assert rows(study, select(func.count(Response.id))) == [(0,)]


def test_practice_answers_are_told_and_main_answers_are_not(study, visitor):
    planned = dict(rows(study, select(PlannedTrial.trial_index, PlannedTrial.signal)))
    for trial in visitor.state()["trials"]:
        told = visitor.answer(trial["index"], response="yes").get_json()
        if trial["phase"] == "practice":
            assert told["correct"] == told["changed"] == planned[trial["index"]]
        else:
            assert set(told) == {"trial_index", "duplicate"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("response", "maybe"), ("rt_ms", -1), ("rt_ms", "fast"), ("rt_ms", True), ("client_uuid", "1"), ("scale", 0),
        ("trial_index", 99), ("trial_index", 1.5), ("input_type", "mind"), ("surprise", 1), ("attempt", None),
    ],
)  # fmt: skip
def test_a_bad_field_is_refused_by_name(study, visitor, field, value):
    refused = visitor.answer(0, **{field: value})
    assert refused.status_code == 422
    assert field in refused.get_json()["error"]["fields"]
    assert rows(study, select(func.count(Response.id))) == [(0,)]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"rt_ms": NaN}', b"null", b"1"])
def test_a_body_that_is_no_answer_is_refused(visitor, body):
    reply = visitor.client.post(
        "/api/v1/trials", data=body, headers={**visitor.headers, "Content-Type": "application/json"}
    )
    assert reply.status_code == 422


@pytest.mark.parametrize(
    ("changes", "kind", "code"),
    [
        ({"Origin": ""}, "application/json", "origin"),
        ({"Origin": "http://elsewhere.example"}, "application/json", "origin"),
        ({"X-CSRF-Token": ""}, "application/json", "csrf"),
        ({"X-CSRF-Token": "0" * 64}, "application/json", "csrf"),
        ({}, "text/plain", "json"),
    ],
)
def test_a_post_that_another_site_could_send_is_refused(study, visitor, changes, kind, code):
    body, headers = json.dumps(make_answer(0)), {**visitor.headers, **changes}
    refused = visitor.client.post("/api/v1/trials", data=body, headers={**headers, "Content-Type": kind})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (403, code)
    assert rows(study, select(func.count(Response.id))) == [(0,)]


def test_the_token_of_another_session_is_refused(visitor, new_visitor):
    other = new_visitor()
    other.consent()
    refused = visitor.client.post("/api/v1/trials", json=make_answer(0), headers=other.headers)
    assert refused.get_json()["error"]["code"] == "csrf"


def test_the_state_tells_nothing_of_what_is_shown(visitor):
    state = visitor.state()
    assert set(state["trials"][0]) == {"index", "phase", "block", "pictures", "instructed"}
    for trial in state["trials"]:
        addresses = trial.pop("pictures")  # they end in random tokens, in which any word may stand
        assert all(re.fullmatch(r"/api/v1/pictures/[\w-]{20,}", address) for address in addresses)
    text = json.dumps({**state, "csrf": "", "session_id": ""})
    assert not [word for word in FORBIDDEN_IN_STATE if word in text.replace("signal_share", "")]


def test_pictures_are_the_sets_files_and_look_alike_from_outside(study, visitor, small_set):
    known = manifest.read_set(small_set).by_hash()
    replies = [visitor.client.get(trial["pictures"][0]) for trial in visitor.state()["trials"] if trial["block"] < 2]
    assert all(hashlib.sha256(reply.data).hexdigest() in known for reply in replies)
    ours = [{name: value for name, value in reply.headers.items() if name not in OF_A_REQUEST} for reply in replies]
    assert all(headers == ours[0] for headers in ours)
    assert {reply.status_code for reply in replies} == {200}
    assert replies[0].headers["Cache-Control"] == "private, max-age=86400, immutable, no-transform"


def test_pictures_of_later_blocks_wait_until_the_block_is_near(visitor):
    last = visitor.state()["trials"][-1]
    assert last["block"] == 2
    assert visitor.client.get(last["pictures"][0]).status_code == 404
    for index in range(2):
        visitor.answer(index)
    assert visitor.client.get(last["pictures"][0]).status_code == 200


def test_a_picture_is_given_to_its_own_session_alone(visitor, new_visitor):
    other = new_visitor()
    other.consent()
    picture = visitor.state()["trials"][0]["pictures"][0]
    assert other.client.get(picture).status_code == 404
    assert new_visitor().client.get(picture).status_code == 401


def test_a_reload_goes_on_at_the_first_open_trial(visitor):
    for index in range(5):
        visitor.answer(index)
    assert visitor.state()["next_index"] == 5
    assert visitor.client.get("/").headers["Location"] == "/study"
    assert visitor.consent().headers["Location"] == "/study"


def test_without_consent_there_is_no_session(study, new_visitor):
    someone = new_visitor()
    refused = someone.client.post("/consent", data={}, headers=someone.headers)
    assert refused.headers["Location"] == "/"
    assert someone.client.get("/study").headers["Location"] == "/"
    assert someone.client.get("/api/v1/state").status_code == 401
    assert rows(study, select(func.count(Participant.id))) == [(0,)]


def test_every_answer_has_the_security_headers_and_the_cookie_is_closed(new_visitor):
    someone = new_visitor()
    reply = someone.consent()
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    for path in ("/", "/study", "/api/v1/state", "/static/study.css", "/nowhere"):
        with someone.client.get(path) as page:
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
            assert "unsafe" not in page.headers["Content-Security-Policy"]
            assert page.headers["X-Content-Type-Options"] == "nosniff"


def test_an_unknown_address_under_the_api_has_the_one_error_shape(new_visitor):
    reply = new_visitor().client.get("/api/v1/nothing")
    assert reply.status_code == 404
    assert set(reply.get_json()["error"]) == {"code", "message"}


def _copy(app, visitor):
    copy = type(visitor)(app)
    cookie = visitor.client.get_cookie("percepsilon_session")
    copy.client.set_cookie(cookie.key, cookie.value)
    return copy
