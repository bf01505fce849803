"""No acknowledged stroke is lost: ``benchmarks.annotation_faults``, small; and its judge must notice."""

from __future__ import annotations

import dataclasses
import json

import pytest
from requests import PreparedRequest, Request
from sqlalchemy import delete, text, update

from benchmarks import annotation_faults
from benchmarks.annotation_faults import PaintingLog, Plan, judge, play, set_up
from benchmarks.faulty_client import Line
from study_app.annotation.tables import Stroke, Submission, TaskPicture
from tests.annotation_site import Painter, box, brush, register, task_text
from tests.integration.conftest import new_postgres_database
from tests.staff_site import database_of

PLAN = Plan(
    robots=4, pictures=4, at_once=4, kills=4, line=Line(before=0.04, after=0.04, twice=0.1, seed=3),
)  # fmt: skip
NOTHING = {"lost": 0, "changed": 0, "twice": 0, "unasked": 0, "wrong_masks": 0, "wrong_places": 0}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def broken_task(request, tmp_path_factory):
    """A task whose robots went through everything that can break, and what they were told."""
    folder = tmp_path_factory.mktemp("faults")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'study.sqlite'}"
    else:
        url = new_postgres_database(request.getfixturevalue("postgres"), "annotation_faults")
    set_up(url, folder, PLAN)
    return url, play(url, folder, PLAN)


def test_every_acknowledged_stroke_is_there_once_though_workers_die_and_requests_are_lost(broken_task):
    url, log = broken_task
    assert log.wrong == []
    assert log.counts["workers killed"] == PLAN.kills
    for event in ("dropped before", "dropped after", "sent twice"):
        assert log.counts[event] > 0
    verdict = judge(url, log, PLAN.robots)
    assert dataclasses.asdict(verdict) == {
        "strokes": verdict.strokes, "submissions": PLAN.robots * PLAN.pictures, "annotators": PLAN.robots,
        "finished": PLAN.robots, **NOTHING,
    }  # fmt: skip
    assert verdict.strokes > 4 * verdict.submissions
    assert all(row.met is not False for row in annotation_faults.claims("sqlite", PLAN, log, verdict, 1.0))


def request(path: str, body: dict) -> PreparedRequest:
    return Request("POST", f"http://localhost{path}", json=body).prepare()


@pytest.fixture
def told(annotation_app, annotation_pictures):
    """One picture that was handed in, and the log of a robot that was told of each request."""
    register(annotation_app, annotation_pictures, task_text(each=1))
    painter, log = Painter(annotation_app), PaintingLog()
    painter.consent()
    name = painter.state()["assignment"]["id"]
    send = painter.send

    def sent(path, **body):
        reply = send(path, **body)
        assert reply.status_code == 201
        log.acknowledged.append(
            log.acknowledgement(request(f"{annotation_faults.API}/{path}", json.loads(json.dumps(body))))
        )
        return reply

    painter.send = sent
    painter.draw(name, 0, box())
    painter.draw(name, 1, brush((3, 3), (9, 8)))
    painter.hand_in(name, 2)
    assert painter.state()["finished"]
    return log


@pytest.mark.parametrize(
    ("harm", "noticed"),
    [
        (None, {}),
        (delete(Stroke).where(Stroke.stroke_index == 1), {"lost": 1, "wrong_masks": 1}),
        (update(Stroke).where(Stroke.stroke_index == 1).values(operation=box(0, 0)), {"changed": 1, "wrong_masks": 1}),
        (update(Stroke).where(Stroke.stroke_index == 1).values(payload_sha256="0"), {"changed": 1}),
        (update(Stroke).where(Stroke.stroke_index == 1).values(client_uuid="0"), {"lost": 1, "unasked": 1}),
        (delete(Submission), {"lost": 1}),
        (update(TaskPicture).values(held=2), {"wrong_places": 6}),
    ],
)
def test_the_judge_notices_what_was_lost_or_changed(annotation_app, annotation_url, told, harm, noticed):
    if harm is not None:
        with database_of(annotation_app).writing() as writer:
            writer.execute(harm)
    expected = {"strokes": 2, "submissions": 1, "annotators": 1, "finished": 1, **NOTHING, **noticed}
    assert dataclasses.asdict(judge(annotation_url, told, 1)) == expected


def test_the_judge_notices_what_is_there_twice(annotation_app, annotation_url, told):
    database = database_of(annotation_app)
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite cannot take the constraint away that forbids it")
    with database.writing() as writer:
        writer.execute(text("ALTER TABLE stroke DROP CONSTRAINT uq_stroke_assignment_id_stroke_index"))
        writer.execute(update(Stroke).values(stroke_index=0))
    assert judge(annotation_url, told, 1).twice == 1
