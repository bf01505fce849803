"""Nothing acknowledged is lost: the fault test of ``benchmarks.study_faults``, small; and its judge must notice."""

from __future__ import annotations

import dataclasses
import json

import pytest
import requests
from sqlalchemy import delete, select, text, update

from benchmarks import study_faults, study_site
from benchmarks.faulty_client import Acknowledged, Line, Log, client
from benchmarks.study_faults import Plan, judge, play
from core.errors import MachineError
from study_app.models import Response
from study_app.participants import answers
from study_app.security import SESSION, csrf_token
from tests.integration.conftest import copy_sqlite, new_postgres_database
from tests.study_site import Visitor, close, make_answer, make_app

TRIALS = 10  # of the small protocol
PLAN = Plan(robots=10, trials=TRIALS, at_once=10, kills=6, line=Line(before=0.05, after=0.05, twice=0.1, seed=3))
NOTHING = {"lost": 0, "changed": 0, "twice": 0, "unasked": 0}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def broken_study(request, tmp_path_factory, small_set):
    """A study whose robots went through everything that can break, and what they were told."""
    directory = tmp_path_factory.mktemp("faults")
    if request.param == "sqlite":
        url = copy_sqlite(request.getfixturevalue("sqlite_template"), directory)
    else:
        server, template = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_template")
        url = new_postgres_database(server, "faults", template)
    return url, play(url, small_set, directory, PLAN)


def test_every_acknowledged_answer_is_there_once_though_workers_die_and_requests_are_lost(broken_study):
    url, log = broken_study
    assert log.wrong == []
    assert log.counts["workers killed"] == PLAN.kills
    for event in ("dropped before", "dropped after", "sent twice"):
        assert log.counts[event] > 0
    everything = PLAN.robots * TRIALS
    assert dataclasses.asdict(judge(url, log)) == {
        "answers": everything, "finished": PLAN.robots, "participants": PLAN.robots, **NOTHING,
    }  # fmt: skip
    assert all(row.met is not False for row in study_faults.claims("sqlite", PLAN, log, judge(url, log), 1.0))


@pytest.fixture
def told(study, visitor):
    """A finished session, and the log of a robot that was told of each answer."""
    log = Log()
    for trial in visitor.state()["trials"]:
        answer = make_answer(trial["index"])
        assert visitor.post(answer).status_code == 201
        log.acknowledged.append(
            Acknowledged(
                client_uuid=answer["client_uuid"],
                trial_index=answer["trial_index"],
                payload_sha256=answers.parse(answer).sha256,
            )
        )
    log.codes.append(visitor.finish().get_json()["completion_code"])
    return log


@pytest.mark.parametrize(
    ("harm", "noticed"),
    [
        (None, {}),
        (delete(Response).where(Response.trial_index == 3), {"lost": 1}),
        (update(Response).where(Response.trial_index == 3).values(rt_ms=1.0), {"changed": 1}),
        (update(Response).where(Response.trial_index == 3).values(payload_sha256="0"), {"changed": 1}),
        (update(Response).where(Response.trial_index == 3).values(client_uuid="0"), {"lost": 1, "unasked": 1}),
    ],
)
def test_the_judge_notices_what_was_lost_or_changed(study, study_url, told, harm, noticed):
    if harm is not None:
        with study.extensions["percepsilon_database"].writing() as writer:
            writer.execute(harm)
    expected = {"answers": TRIALS, "finished": 1, "participants": 1, **NOTHING, **noticed}
    assert dataclasses.asdict(judge(study_url, told)) == expected


def test_the_judge_notices_what_is_there_twice(postgres, study, study_url, told):
    database = study.extensions["percepsilon_database"]
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite cannot take the constraint away that forbids it")
    with database.writing() as writer:
        writer.execute(text("ALTER TABLE response DROP CONSTRAINT uq_response_session_id_trial_index"))
        kept = writer.scalars(select(Response).where(Response.trial_index == 3)).one()
        values = {column.name: getattr(kept, column.name) for column in Response.__table__.columns}
        del values["id"]
        writer.add(Response(**{**values, "client_uuid": "0"}))
    verdict = judge(study_url, told)
    assert (verdict.twice, verdict.unasked) == (1, 1)


def test_a_port_is_given_once_and_where_none_is_free_it_says_so(monkeypatch):
    first, second = study_site.free_port(), study_site.free_port()
    assert first != second
    monkeypatch.setattr(study_site, "PORTS", range(first, first + 1))
    with pytest.raises(MachineError, match=rf"expected a free port of {first} to {first}, found none; stop what uses"):
        study_site.free_port()


def post(server, answer, line, log):
    """Posts an answer over a line as the participant of ``answer``."""
    token = csrf_token(answer["cookie"])
    headers = {"Origin": server.address, "Content-Type": "application/json", "X-CSRF-Token": token}
    with client(line, 0, log) as session:
        session.cookies.set(SESSION, answer["cookie"])
        session.post(f"{server.address}/api/v1/trials", data=json.dumps(answer["body"]), headers=headers)


def test_a_bad_line_loses_and_repeats_what_it_is_asked_to(sqlite_url, make_server):
    """With all requests lost nothing arrives; with all answers lost, everything does and nobody is told."""
    app, log = make_app(sqlite_url), Log()
    visitor = Visitor(app)
    visitor.consent()
    server = make_server(sqlite_url)
    answer = {"body": make_answer(0), "cookie": visitor.client.get_cookie(SESSION).value}
    for line, stored in ((Line(before=1.0), 0), (Line(before=0.0, after=1.0), 1)):
        with pytest.raises(requests.ConnectionError, match="lost on the way"):
            post(server, answer, line, log)
        with app.extensions["percepsilon_database"].reading() as reader:
            assert len(reader.scalars(select(Response)).all()) == stored
    assert log.acknowledged == []
    post(server, answer, Line(before=0.0, after=0.0, twice=1.0), log)
    assert (log.counts["sent twice"], log.wrong, len(log.acknowledged)) == (1, [], 1)
    close(app)
