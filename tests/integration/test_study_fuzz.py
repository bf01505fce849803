"""Hostile requests to every route: no error of the server, no change that was not theirs to make; and who watches."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from benchmarks import study_fuzz
from benchmarks.fuzz_requests import ANSWER, ORIGIN, Call, encode
from benchmarks.study_fuzz import Judge, Site, fuzz
from study_app.models import Response, Session
from tests.integration.conftest import copy_sqlite, new_postgres_database

REQUESTS = {"sqlite": 2000, "postgresql": 400}


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request, tmp_path):
    if request.param == "sqlite":
        url = copy_sqlite(request.getfixturevalue("sqlite_template"), tmp_path)
    else:
        server, template = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template")
        url = new_postgres_database(server, f"fuzz_{tmp_path.name}".replace("-", "_").lower()[:60], template)
    place = Site(url, tmp_path / "instance")
    yield place
    place.database.engine.dispose()


def test_no_request_makes_the_server_fail_or_changes_what_its_sender_may_not(site):
    requests = REQUESTS[site.database.engine.dialect.name]
    assert fuzz(site, requests=requests, start=5) == []
    assert site.counts["requests"] == requests
    assert site.counts["requests that changed something"] > requests / 25
    if requests >= 2000:
        assert {f"route {rule.endpoint}" for rule in site.rules} <= set(site.counts)
        assert all(row.met is not False for row in study_fuzz.claims("sqlite", site, [], requests, 5))


def call(**changes) -> Call:
    plain = {
        "endpoint": "api.state", "method": "GET", "path": "/api/v1/state", "query": "", "who": ("participant",),
        "token": "own", "origin": ORIGIN, "headers": (), "content_type": "application/json", "body": b"",
    }  # fmt: skip
    return Call(**{**plain, **changes})


def judged(site, harm, request) -> list[str]:
    """Returns what the judge says of a request at which ``harm`` was done to the database."""
    judge = Judge(site)
    reply = site.send(request)
    with site.database.writing() as writer:
        writer.execute(harm)
    wrong = judge.judge(request, reply)
    judge.close()
    return wrong


def test_the_judge_notices_a_change_that_a_request_may_not_make(site):
    harm = update(Session).values(app_version="changed")
    wrong = judged(site, harm, call())
    assert wrong == ["changed session", "changed the rows of a participant who sent nothing"]
    forged = call(method="POST", path="/api/v1/finish", token="wrong", body=b"{}")
    assert "changed session" in judged(site, update(Session).values(app_version="again"), forged)
    stranger = call(method="POST", path="/consent", who=("visitor",))
    judge = Judge(site)
    answer = call(method="POST", path="/api/v1/trials", body=json.dumps(ANSWER).encode())
    reply = site.send(answer)
    assert (reply.status, judge.judge(answer, reply)) == (201, [])
    judge.close()
    assert "changed response" in judged(site, update(Response).values(rt_ms=1.0), stranger)


def test_the_judge_notices_an_error_and_a_traceback(site):
    site.app.view_functions["health.healthz"] = lambda: ('Traceback (most recent call last): File "/srv/app.py"', 500)
    request = call(endpoint="health.healthz", path="/healthz")
    judge = Judge(site)
    wrong = judge.judge(request, site.send(request))
    judge.close()
    assert wrong == ["status 500", "a text of the server's insides"]


@pytest.mark.parametrize(
    ("path", "query", "origin", "headers", "status"),
    [
        ("/withdraw", "", "http://[", (), 403),
        ("/withdraw", "", "null", (("Host", '" OR 1=1 --'),), 403),
        ("/admin/participants/\x00/include", "", ORIGIN, (), (404, 422)),
        ("/admin/team/" + "9" * 40 + "/disable", "", ORIGIN, (), (404, 422)),
        ("/", encode([("PROLIFIC_PID", "a\x00b"), ("STUDY_ID", "\ud800")]), ORIGIN, (), (303, 405, 422)),
    ],
)
def test_what_once_made_the_server_fail_is_refused(site, path, query, origin, headers, status):
    form = "application/x-www-form-urlencoded"
    body = b"sure=yes&csrf=the-token-of-this-request"
    who = ("owner",) if path.startswith("/admin") else ("participant",)
    request = call(
        method="POST", path=path, query=query, who=who, origin=origin, headers=headers, content_type=form, body=body
    )
    expected = status if isinstance(status, tuple) else (status,)
    assert site.send(request).status in expected
