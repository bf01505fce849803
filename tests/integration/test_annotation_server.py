"""The requests of the drawing page: what is kept, what is said again, and what is refused and leaves nothing behind."""

from __future__ import annotations

import io
import json
import re
import uuid
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select, update

from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from core.annotations.sets import decode_mask
from study_app.annotation import api, submissions
from study_app.annotation.tables import AnnotationEvent, Annotator, Assignment, Stroke, Submission, TaskPicture
from study_app.security import ANNOTATOR
from tests.annotation_site import HEIGHT, SQUARE, WIDTH, Painter, box, brush, register, run, task_text
from tests.staff_site import database_of
from tests.study_site import Visitor


@pytest.fixture
def task(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text())
    return annotation_app


@pytest.fixture
def painter(task):
    someone = Painter(task)
    assert someone.consent().status_code == 303
    return someone


@pytest.fixture
def small_task(annotation_sqlite_app, annotation_pictures):
    register(annotation_sqlite_app, annotation_pictures, task_text())
    return annotation_sqlite_app


@pytest.fixture
def small_painter(small_task):
    someone = Painter(small_task)
    assert someone.consent().status_code == 303
    return someone


def rows(app, table) -> int:
    with database_of(app).reading() as reader:
        return reader.scalar(select(func.count()).select_from(table))


def error(reply) -> dict:
    return reply.get_json()["error"]


def masks(app) -> list[np.ndarray]:
    with database_of(app).reading() as reader:
        return [
            decode_mask(data, "mask", (WIDTH, HEIGHT))
            for data in reader.scalars(select(Submission.mask).order_by(Submission.id))
        ]


def test_a_picture_is_drawn_on_handed_in_and_the_next_one_follows(task, painter):
    state = painter.state()
    first = state["assignment"]
    assert (state["done"], state["finished"], state["task"]["tools"]) == (
        0,
        False,
        ["brush", "erase", "polygon", "box"],
    )
    assert (first["round"], first["note"], first["practice"], first["operations"]) == (1, None, False, [])
    assert (first["picture"]["width"], first["picture"]["height"]) == (WIDTH, HEIGHT)
    png = painter.get(first["picture"]["url"])
    assert (png.status_code, png.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(png.data)).size == (WIDTH, HEIGHT)
    operations = [
        brush((3, 3), (9, 8)),
        box(mode="remove", left=0, top=0, right=4, bottom=4),
        {"tool": "undo", "t_ms": 9},
    ]
    for index, operation in enumerate(operations):
        reply = painter.draw(first["id"], index, operation)
        assert (reply.status_code, reply.get_json()) == (201, {"index": index, "duplicate": False})
    again = painter.state()["assignment"]
    assert [each["operation"] for each in again["operations"]] == operations, "a reload shows what was drawn"
    reply = painter.hand_in(first["id"], 3)
    assert (reply.status_code, reply.get_json()) == (201, {"next": True, "duplicate": False})
    expected = rasterise(parse_all(operations, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert expected.any()
    np.testing.assert_array_equal(masks(task)[0], expected)
    after = painter.state()
    assert (after["done"], after["assignment"]["id"] != first["id"]) == (1, True)


def test_neither_names_nor_classes_nor_what_is_known_reach_the_browser(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(more="[gold]\nshare = 1.0"), gold=True)
    painter = Painter(annotation_app)
    painter.consent()
    assert "train/" not in painter.get("/annotate/work").text
    state = painter.state()
    names = {key for part in (state, state["assignment"], state["assignment"]["picture"]) for key in part}
    assert names.isdisjoint({"gold", "role", "class", "source_id", "sha256", "mask"})
    for word in ("train/", '"cat"', '"dog"', "gold", "noise", "sha256"):
        assert word not in painter.get("state").text


def test_a_stroke_that_is_sent_again_is_stored_once_and_the_first_one_stands(task, painter):
    name = painter.state()["assignment"]["id"]
    same = {"client_uuid": str(uuid.uuid4())}
    assert painter.draw(name, 0, box(), **same).status_code == 201
    again = painter.draw(name, 0, box(), **same)
    assert (again.status_code, again.get_json()) == (200, {"index": 0, "duplicate": True})
    other = painter.draw(name, 0, box(left=1), **same)
    assert (other.status_code, error(other)["code"]) == (409, "answered")
    reused = painter.draw(name, 1, box(), **same)
    assert (reused.status_code, error(reused)["code"]) == (409, "reused")
    early = painter.draw(name, 5, box())
    assert (early.status_code, error(early)["code"], error(early)["next_index"]) == (409, "out of order", 1)
    assert rows(task, Stroke) == 1
    with database_of(task).reading() as reader:
        events = list(reader.scalars(select(AnnotationEvent.event).order_by(AnnotationEvent.id)))
    assert events == ["consent", "changed stroke refused", "reused client_uuid refused"]


def test_a_submission_that_is_sent_again_is_stored_once(task, painter):
    name = painter.state()["assignment"]["id"]
    painter.draw(name, 0, box())
    same = {"client_uuid": str(uuid.uuid4())}
    missing = painter.hand_in(name, 2, **same)
    assert (missing.status_code, error(missing)["code"], error(missing)["next_index"]) == (409, "incomplete", 1)
    assert painter.hand_in(name, 1, **same).status_code == 201
    again = painter.hand_in(name, 1, **same)
    assert (again.status_code, again.get_json()["duplicate"]) == (200, True)
    other = painter.hand_in(name, 1, outcome="none", **same)
    assert (other.status_code, error(other)["code"]) == (409, "reused")
    assert rows(task, Submission) == 1


def test_a_stroke_that_comes_while_a_submission_is_drawn_is_waited_for(small_task, small_painter, monkeypatch):
    name = small_painter.state()["assignment"]["id"]
    with monkeypatch.context() as race:
        race.setattr(submissions, "drawn", lambda *_: small_painter.draw(name, 0, box()) and None)
        for outcome in ("regions", "none"):
            reply = small_painter.hand_in(name, 1, outcome=outcome)
            assert (reply.status_code, error(reply)["code"], error(reply)["next_index"]) == (409, "incomplete", 1)
    assert rows(small_task, Submission) == 0
    assert small_painter.hand_in(name, 1).status_code == 201


def test_nobody_reaches_what_is_anothers(task, painter):
    name, url = painter.state()["assignment"]["id"], painter.state()["assignment"]["picture"]["url"]
    painter.draw(name, 0, box())
    stranger = Painter(task)
    stranger.consent()
    for reply in (
        stranger.draw(name, 1, box()),
        stranger.hand_in(name, 1),
        stranger.get(f"assignments/{name}"),
        stranger.get(url),
        stranger.get(url.replace("pictures", "masks")),
    ):
        assert (reply.status_code, error(reply)["code"]) == (404, "not found")
    assert stranger.get("done").get_json() == {"pictures": []}
    assert (rows(task, Stroke), rows(task, Submission)) == (1, 0)


def test_who_has_no_cookie_of_an_annotator_gets_nothing(task, painter):
    nobody = Painter(task)
    for path in ("state", "done", "assignments/a-1", "pictures/x", "masks/x"):
        assert nobody.get(path).status_code == 401
    reply = nobody.draw(painter.state()["assignment"]["id"], 0, box())
    assert (reply.status_code, error(reply)["code"]) == (401, "no annotator")
    assert rows(task, Stroke) == 0


def point(x=1, y=1, t=0, pressure=0.5):
    return {"tool": "brush", "size": 2, "points": [[x, y, t, pressure]]}


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (point(x=500), "expected them in the picture of 24×16 pixels or at most 2 pixels outside"),
        (point(y=-3), "expected them in the picture"),
        (point(x=float("nan")), r"expected \[x, y, t_ms, pressure\]"),
        (point(x=float("inf")), r"expected \[x, y, t_ms, pressure\]"),
        (point(pressure=2), "expected pressures from 0 to 1"),
        ({"tool": "brush", "size": 2, "points": []}, "expected a list of points"),
        ({"tool": "spray", "t_ms": 0}, "expected one of brush"),
        ({"tool": "polygon", "mode": "add", "points": [[1, 1, 0], [2, 2, 1]]}, "expected at least 3"),
        ({"tool": "undo", "t_ms": 0, "more": 1}, "unknown key"),
        ({"tool": "brush", "size": 2, "points": [[1, 1, 0, 0.5]] * 20_001}, "expected at most 20,000"),
    ],
)  # fmt: skip
def test_an_operation_that_is_none_is_refused_with_its_reason_and_nothing_is_stored(
    small_task, small_painter, operation, words
):
    name = small_painter.state()["assignment"]["id"]
    reply = small_painter.draw(name, 0, operation)
    assert (reply.status_code, error(reply)["code"]) == (422, "invalid")
    assert re.search(words, error(reply)["message"]), error(reply)["message"]
    assert rows(small_task, Stroke) == 0


def test_a_million_points_are_refused_before_they_are_read(small_task, small_painter):
    name = small_painter.state()["assignment"]["id"]
    reply = small_painter.draw(name, 0, {"tool": "brush", "size": 2, "points": [[1, 1, 0, 0.5]] * 1_000_000})
    assert (reply.status_code, reply.headers["Content-Type"]) == (413, "application/json")
    assert rows(small_task, Stroke) == 0
    large = {"tool": "brush", "size": 2, "points": [[12.125, 8.25, place, 0.5] for place in range(20_000)]}
    assert len(json.dumps(large)) > 400_000
    assert small_painter.draw(name, 0, large).status_code == 201, "as many points as are allowed fit into the limit"
    other = small_painter.hand_in(name, 1, skip_reason="x" * 70_000, outcome="skipped")
    assert other.status_code == 413, "other requests keep the small limit"


def test_strokes_that_would_take_too_long_to_draw_are_refused(small_task, small_painter):
    name = small_painter.state()["assignment"]["id"]
    with database_of(small_task).writing() as writer:
        writer.execute(update(Assignment).values(work=99_999_999))
    reply = small_painter.draw(name, 0, brush((3, 3), (9, 8)))
    assert (reply.status_code, error(reply)["code"]) == (422, "too much")
    assert rows(small_task, Stroke) == 0


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], None),
        ({}, {"assignment", "index", "client_uuid", "operation", "active_ms"}),
        ({"assignment": 3, "index": -1, "client_uuid": "x", "operation": [], "active_ms": 1.5, "more": 0},
         {"assignment", "index", "client_uuid", "operation", "active_ms", "more"}),
    ],
)  # fmt: skip
def test_a_body_that_is_no_stroke_is_refused_field_by_field(small_task, small_painter, body, fields):
    reply = small_painter.client.post("/annotate/api/v1/strokes", json=body, headers=small_painter.headers)
    assert reply.status_code == 422
    assert set(error(reply).get("fields", {})) == (fields or set())


def test_a_picture_that_was_not_looked_at_for_long_enough_is_not_taken(annotation_sqlite_app, annotation_pictures):
    register(annotation_sqlite_app, annotation_pictures, task_text(seconds=30))
    painter = Painter(annotation_sqlite_app)
    painter.consent()
    name = painter.state()["assignment"]["id"]
    painter.draw(name, 0, box())
    for outcome in ("regions", "none"):
        reply = painter.hand_in(name, 1, outcome=outcome, active_ms=86_000_000)
        assert (reply.status_code, error(reply)["code"]) == (422, "too soon")
        assert 29 <= error(reply)["seconds_left"] <= 30
    with database_of(annotation_sqlite_app).writing() as writer:
        reserved = writer.scalar(select(Assignment.reserved_at))
        writer.execute(update(Assignment).values(reserved_at=reserved - timedelta(seconds=31)))
    assert painter.hand_in(name, 1).status_code == 201
    other = painter.state()["assignment"]["id"]
    assert painter.hand_in(other, 0, outcome="skipped", skip_reason="unclear").status_code == 201, (
        "skipping may be quick"
    )


def test_time_on_task_is_at_most_what_has_passed(small_task, small_painter):
    name = small_painter.state()["assignment"]["id"]
    small_painter.draw(name, 0, box(), active_ms=80_000_000)
    assert small_painter.state()["assignment"]["seconds"] < 60


def test_an_outcome_must_fit_what_was_painted(small_task, small_painter):
    name = small_painter.state()["assignment"]["id"]
    reply = small_painter.hand_in(name, 0)
    assert (reply.status_code, error(reply)["code"]) == (422, "nothing painted")
    small_painter.draw(name, 0, box())
    reply = small_painter.hand_in(name, 1, outcome="none")
    assert (reply.status_code, error(reply)["code"]) == (422, "painted")
    small_painter.draw(name, 1, {"tool": "clear", "t_ms": 5})
    for wrong in ({"outcome": "skipped"}, {"outcome": "skipped", "skip_reason": "hungry"}, {"skip_reason": "unclear"}):
        reply = small_painter.hand_in(name, 2, **wrong)
        assert (reply.status_code, error(reply)["code"]) == (422, "invalid")
    assert rows(small_task, Submission) == 0
    assert small_painter.hand_in(name, 2, outcome="none").status_code == 201
    assert not masks(small_task)[0].any()


def test_practice_comes_first_and_shows_what_was_expected_once_it_is_handed_in(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(more="[practice]\npictures = 1"), gold=True)
    painter = Painter(annotation_app)
    painter.consent()
    first = painter.state()["assignment"]
    assert first["practice"]
    hidden = first["picture"]["url"].replace("pictures", "masks")
    assert painter.get(hidden).status_code == 404, "not before"
    painter.draw(first["id"], 0, box(right=12))  # the left half of the known regions
    feedback = painter.hand_in(first["id"], 1).get_json()["feedback"]
    assert feedback["iou"] == 0.5
    assert feedback["mask_url"] == hidden
    mask = decode_mask(painter.get(hidden).data, "mask", (WIDTH, HEIGHT))
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    expected[SQUARE] = True
    np.testing.assert_array_equal(mask, expected)
    late = painter.draw(first["id"], 1, box())
    assert (late.status_code, error(late)["code"]) == (409, "submitted")
    second = painter.state()["assignment"]
    assert not second["practice"]
    painter.draw(second["id"], 0, box())
    assert "feedback" not in painter.hand_in(second["id"], 1).get_json()
    assert painter.get(second["picture"]["url"].replace("pictures", "masks")).status_code == 404


def test_a_picture_is_taken_up_again_until_everything_is_done(task, painter):
    name = painter.paint()["id"]
    listed = painter.get("done").get_json()["pictures"]
    assert [(each["id"], each["outcome"]) for each in listed] == [(name, "regions")]
    again = painter.get(f"assignments/{name}").get_json()["assignment"]
    assert (again["submitted"], len(again["operations"])) == (True, 1)
    assert painter.draw(name, 1, box(left=0)).status_code == 201
    assert painter.hand_in(name, 2).status_code == 201
    while painter.state()["assignment"] is not None:
        painter.paint()
    state = painter.state()
    assert (state["finished"], state["done"], state["total"]) == (True, 6, 6)
    late = painter.draw(name, 2, box())
    assert (late.status_code, error(late)["code"]) == (409, "submitted")
    assert painter.get(f"assignments/{name}").status_code == 409
    with database_of(task).reading() as reader:
        code = reader.scalar(select(Annotator.completion_code))
    assert code in painter.get("/annotate/finish").text
    assert rows(task, Submission) == 7


def test_two_clicks_on_consent_make_one_annotator(task):
    someone = Painter(task)
    first = someone.consent(robot="yes")
    assert (first.status_code, first.headers["Location"]) == (303, "/annotate/work")
    assert someone.consent().status_code == 303
    assert rows(task, Annotator) == 1
    cookie = someone.client.get_cookie(ANNOTATOR)
    assert (cookie.http_only, cookie.same_site) == (True, "Lax")


def test_consent_without_the_tick_begins_nothing(small_task):
    someone = Painter(small_task)
    reply = someone.client.post("/annotate/consent", data={}, headers=someone.headers)
    assert reply.headers["Location"] == "/annotate/"
    assert rows(small_task, Annotator) == 0


@pytest.mark.parametrize(
    "harm", [{"Origin": "http://elsewhere.example"}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": ""}]
)
def test_a_forged_request_changes_nothing(small_task, small_painter, harm):
    name = small_painter.state()["assignment"]["id"]
    headers = {**small_painter.headers, **harm}
    body = {"assignment": name, "index": 0, "client_uuid": str(uuid.uuid4()), "operation": box(), "active_ms": 1}
    reply = small_painter.client.post("/annotate/api/v1/strokes", json=body, headers=headers)
    assert reply.status_code == 403
    form = small_painter.client.post("/annotate/api/v1/strokes", data={"csrf": "x"}, headers=small_painter.headers)
    assert (form.status_code, error(form)["code"]) == (403, "json")
    withdrawn = small_painter.client.post("/annotate/withdraw", data={"sure": "yes"}, headers=headers)
    assert withdrawn.status_code == 403
    assert (rows(small_task, Stroke), rows(small_task, Assignment)) == (0, 1)


def test_a_withdrawal_deletes_everything_and_frees_the_places(task, painter):
    painter.paint()
    second = painter.state()["assignment"]["id"]
    painter.draw(second, 0, box())
    other = Painter(task)
    other.consent()
    other.paint()
    unsure = painter.client.post("/annotate/withdraw", data={}, headers=painter.headers)
    assert unsure.status_code == 422
    assert rows(task, Stroke) == 3
    sure = painter.client.post("/annotate/withdraw", data={"sure": "yes"}, headers=painter.headers)
    assert sure.status_code == 303
    assert (rows(task, Stroke), rows(task, Submission), rows(task, Assignment)) == (1, 1, 1), "the other's stay"
    with database_of(task).reading() as reader:
        assert reader.scalar(select(func.sum(TaskPicture.held))) == 1
        gone = reader.scalars(select(Annotator).where(Annotator.withdrawn_at.is_not(None))).one()
        assert gone.locale == ""
    reply = painter.get("state")
    assert (reply.status_code, error(reply)["next"]) == (409, "/annotate/")
    assert painter.draw(second, 1, box()).status_code == 409
    page = painter.get("/annotate/")
    assert (page.status_code, "deleted" in page.text) == (410, True)


def test_a_paused_task_hands_nothing_out_and_a_closed_one_stores_nothing(task, painter):
    open_one = painter.state()["assignment"]["id"]
    painter.draw(open_one, 0, box())
    run(task, "annotation-pause")
    assert painter.hand_in(open_one, 1).status_code == 201, "what is open may be handed in"
    assert painter.state()["assignment"] is None
    assert not painter.state()["finished"]
    assert painter.get("/annotate/finish").status_code == 503
    newcomer = Painter(task)
    assert newcomer.get("/annotate/").status_code == 503
    assert newcomer.consent().status_code == 503
    run(task, "annotation-resume")
    second = painter.state()["assignment"]["id"]
    run(task, "annotation-close")
    for reply in (painter.draw(second, 0, box()), painter.hand_in(second, 0, outcome="skipped", skip_reason="other")):
        assert (reply.status_code, error(reply)["code"]) == (403, "closed")
    assert newcomer.consent().status_code == 410
    assert (rows(task, Stroke), rows(task, Annotator)) == (1, 1)
    run(task, "annotation-reopen")
    assert painter.draw(second, 0, box()).status_code == 201


def test_too_many_strokes_in_an_hour_are_turned_away(small_task, small_painter, monkeypatch):
    monkeypatch.setattr(api, "MOST_STROKES", 2)
    name = small_painter.state()["assignment"]["id"]
    statuses = [small_painter.draw(name, index, box()).status_code for index in range(3)]
    assert statuses == [201, 201, 429]
    assert rows(small_task, Stroke) == 2


def test_a_server_without_a_task_says_so_and_the_other_study_goes_on(study):
    assert Painter(study).get("/annotate/").status_code == 503
    assert Painter(study).consent().status_code == 503
    assert Visitor(study).consent().status_code == 303


@pytest.mark.parametrize(("accept", "words"), [("de", "Ich erkenne nicht, was es zeigt"), ("en", "I cannot tell")])
def test_pages_and_messages_are_in_the_annotators_language(small_task, accept, words):
    someone = Painter(small_task)
    assert f'<html lang="{accept}"' in someone.client.get("/annotate/", headers={"Accept-Language": accept}).text
    assert someone.consent(language=accept).status_code == 303
    page = someone.client.get("/annotate/work", headers={"Accept-Language": "en"}).text
    assert f'<html lang="{accept}"' in page
    assert words in page


def test_the_metrics_count_strokes(small_task, small_painter):
    small_painter.paint(box(), brush((3, 3), (9, 8)))
    text = small_painter.client.get("/metrics").text
    assert 'percepsilon_strokes{task="small"} 2.0' in text
