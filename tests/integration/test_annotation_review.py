"""What researchers see of annotations and what they say of them; what comes back to the annotator."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from study_app.annotation import registering, reviewing
from study_app.annotation.tables import Assignment, Overlap, Review
from study_app.researchers import ledger
from study_app.staff import Action
from tests.annotation_site import HEIGHT, WIDTH, Painter, box, register, run, task_text
from tests.staff_site import Staff, database_of, member


@pytest.fixture
def app(annotation_sqlite_app, annotation_pictures):
    register(annotation_sqlite_app, annotation_pictures, task_text(k=3, more="[gold]\nshare = 0.1"), gold=True)
    return annotation_sqlite_app


def painter_of(app) -> Painter:
    painter = Painter(app)
    assert painter.consent().status_code == 303
    return painter


def people(app) -> list[reviewing.Person]:
    with database_of(app).reading() as reader:
        return reviewing.people(reader, registering.needed_task(reader), 1).rows


def ledger_of(app) -> list[str]:
    with database_of(app).reading() as reader:
        ledger.verify(reader)
        return list(reader.scalars(select(Action.action).order_by(Action.sequence)))


def one(painter: Painter, *operations) -> str:
    return painter.paint(*operations)["id"]


def test_what_is_returned_comes_back_with_the_note_and_is_handed_in_as_a_new_round(app):
    painter, researcher = painter_of(app), member(app, "researcher")
    name = one(painter)
    later = painter.state()["assignment"]["id"]
    page = researcher.text("/admin/annotation/queue")
    assert f"/admin/annotation/of/{name}" in page
    path = f"/admin/annotation/of/{name}"
    assert "Return with this note" in researcher.text(path)
    assert researcher.post(f"{path}/review", verdict="returned", note=" the tail too ").status_code == 303
    state = painter.state()
    back = state["assignment"]
    assert (back["id"], back["note"], back["round"], back["submitted"]) == (name, "the tail too", 2, False)
    assert [each["index"] for each in back["operations"]] == [0]
    assert state["done"] == 0
    assert painter.draw(name, 1, box(left=0)).status_code == 201
    assert painter.hand_in(name, 2).status_code == 201
    assert painter.state()["assignment"]["id"] == later
    assert researcher.post(f"{path}/review", verdict="accepted").status_code == 303
    late = painter.draw(name, 2, box())
    assert (late.status_code, late.get_json()["error"]["code"]) == (409, "submitted")
    with database_of(app).reading() as reader:
        kept = [(row.round, row.verdict, row.note) for row in reader.scalars(select(Review).order_by(Review.round))]
    assert kept == [(1, "returned", "the tail too"), (2, "accepted", "")]
    assert ledger_of(app)[-2:] == ["annotation returned", "annotation accepted"]


def test_who_was_finished_goes_on_with_what_is_returned_and_keeps_the_code(app):
    painter, researcher = painter_of(app), member(app, "researcher")
    name = one(painter)
    while painter.state()["assignment"] is not None:
        one(painter)
    before = painter.get("/annotate/finish").text
    researcher.post(f"/admin/annotation/of/{name}/review", verdict="returned", note="again, please")
    assert painter.get("/annotate/").headers["Location"] == "/annotate/work"
    assert painter.get("/annotate/finish").headers["Location"] == "/annotate/work"
    assert painter.state()["assignment"]["id"] == name
    assert painter.draw(name, 1, box(left=2)).status_code == 201
    assert painter.hand_in(name, 2).status_code == 201
    assert painter.state()["assignment"] is None
    assert painter.get("/annotate/finish").text == before


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"verdict": "returned", "note": "  "}, "expected 1 to 1000 letters that tell the annotator what to change"),
        ({"verdict": "returned", "note": "x" * 1001}, "expected 1 to 1000 letters"),
        ({"verdict": "perfect"}, "expected a verdict: accepted or returned"),
    ],
)
def test_a_verdict_that_is_none_changes_nothing(app, form, words):
    name = one(painter_of(app))
    reply = member(app, "researcher").post(f"/admin/annotation/of/{name}/review", **form)
    assert (reply.status_code, words in reply.text.lower()) == (422, True)
    with database_of(app).reading() as reader:
        assert reader.scalar(select(Assignment.review).where(Assignment.public_id == name)) is None
        assert reader.scalar(select(Review)) is None


def test_what_waits_for_its_annotator_is_not_judged_and_a_closed_task_returns_nothing(app):
    painter, researcher = painter_of(app), member(app, "researcher")
    first, second = one(painter), one(painter)
    researcher.post(f"/admin/annotation/of/{first}/review", verdict="returned", note="more")
    reply = researcher.post(f"/admin/annotation/of/{first}/review", verdict="accepted")
    assert "was returned and is not handed in again yet" in reply.text
    run(app, "annotation-close")
    reply = researcher.post(f"/admin/annotation/of/{second}/review", verdict="returned", note="more")
    assert "nobody could go on with what is returned" in reply.text
    assert researcher.post(f"/admin/annotation/of/{second}/review", verdict="accepted").status_code == 303


def test_a_task_with_review_keeps_what_was_handed_in_pending(annotation_sqlite_app, annotation_pictures):
    register(annotation_sqlite_app, annotation_pictures, task_text(more="review = true"))
    name = one(painter_of(annotation_sqlite_app))
    text = member(annotation_sqlite_app, "viewer").text("/admin/annotation/queue?state=pending")
    assert name in text


def test_agreement_is_the_mean_iou_of_the_pictures_shared_and_follows_what_is_handed_in_again(app):
    first, second, third = (painter_of(app) for _ in range(3))
    names = {}
    for painter, right in ((first, 18), (second, 12), (third, 18)):
        while (assignment := painter.state()["assignment"]) is not None:
            painter.draw(assignment["id"], 0, box(right=right))
            assert painter.hand_in(assignment["id"], 1).status_code == 201
            names.setdefault(painter, []).append(assignment["id"])
    found = {person.annotator.number: person for person in people(app)}
    assert [found[number].agreement for number in range(3)] == [0.75, 0.5, 0.75]
    gold = sum(person.gold for person in found.values())
    assert gold == sum(person.pictures for person in found.values()) - 12, "four main pictures by three"
    assert all(person.gold_iou in (1.0, 0.5) for person in found.values() if person.gold)
    with database_of(app).reading() as reader:
        assert sorted(reader.scalars(select(Overlap.iou))) == [0.5] * 8 + [1.0] * 4
    run(app, "annotation-status")


def test_gold_below_the_minimum_is_marked(annotation_sqlite_app, annotation_pictures):
    text = task_text(k=1, each=2, more="[gold]\nshare = 1.0\nminimum_iou = 0.6")
    register(annotation_sqlite_app, annotation_pictures, text, gold=True)
    painter = painter_of(annotation_sqlite_app)
    one(painter, box(right=12))
    (person,) = people(annotation_sqlite_app)
    assert (person.gold, person.gold_iou, person.below) == (1, 0.5, True)
    assert ">low<" in member(annotation_sqlite_app, "viewer").text("/admin/annotation")


def test_the_overlay_shows_what_was_painted(app):
    painter = painter_of(app)
    assignment = painter.paint(box(0, 0, 10, 10))
    name = assignment["id"]
    bare = np.asarray(Image.open(io.BytesIO(painter.get(assignment["picture"]["url"]).data)), dtype=int)
    reply = member(app, "viewer").get(f"/admin/annotation/of/{name}/overlay.png")
    assert reply.headers["Content-Type"] == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(reply.data)), dtype=int)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(shown[11:, 11:], bare[11:, 11:])
    assert (shown[2:8, 2:8, 2] <= bare[2:8, 2:8, 2] / 2 + 64).all(), "half orange"
    assert (shown[2:8, 2:8] != bare[2:8, 2:8]).any(axis=2).all()


@pytest.mark.parametrize("role", ["viewer", "researcher", "owner"])
def test_each_role_may_do_what_is_its_own(app, role):
    name, someone = one(painter_of(app)), member(app, role)
    for path in ("", "/queue", "/queue?state=nonsense&page=x", f"/of/{name}", f"/of/{name}/overlay.png"):
        assert someone.get(f"/admin/annotation{path}").status_code == 200
    may = 303 if role != "viewer" else 403
    assert someone.post(f"/admin/annotation/of/{name}/review", verdict="accepted").status_code == may
    assert someone.post("/admin/annotation/pause").status_code == may
    assert someone.post("/admin/annotation/close").status_code == (422 if may == 303 else 403)
    assert someone.post("/admin/annotation/close", sure="yes").status_code == may
    if role != "viewer":
        assert someone.post("/admin/annotation/reopen").status_code == (303 if role == "owner" else 403)
        assert ledger_of(app)[-3:][0].startswith("annotation")


def test_strangers_are_sent_to_sign_in_and_an_annotators_cookie_opens_no_page_of_researchers(app):
    name = one(painter_of(app))
    for path in ("", "/queue", f"/of/{name}", f"/of/{name}/overlay.png"):
        reply = Staff(app).get(f"/admin/annotation{path}")
        assert (reply.status_code, reply.headers["Location"]) == (303, "/admin/sign-in")
    painter = painter_of(app)
    reply = painter.client.post(
        f"/admin/annotation/of/{name}/review", data={"verdict": "accepted"}, headers=painter.headers
    )
    assert reply.status_code in (303, 401)
    with database_of(app).reading() as reader:
        assert reader.scalar(select(Review)) is None


def test_practice_and_unknown_annotations_are_not_to_be_reviewed(annotation_sqlite_app, annotation_pictures):
    text = task_text(more="[practice]\npictures = 1")
    register(annotation_sqlite_app, annotation_pictures, text, gold=True)
    practice, viewer = one(painter_of(annotation_sqlite_app)), member(annotation_sqlite_app, "viewer")
    for name in (practice, "a-nothing"):
        assert viewer.get(f"/admin/annotation/of/{name}").status_code == 404
    assert practice not in viewer.text("/admin/annotation/queue?state=all")


def test_a_study_without_a_task_says_how_to_get_one(annotation_sqlite_app):
    viewer = member(annotation_sqlite_app, "viewer")
    assert "register-annotation" in viewer.text("/admin/annotation")
    assert viewer.get("/admin/annotation/queue").status_code == 404
    refused = member(annotation_sqlite_app, "researcher").post("/admin/annotation/pause")
    assert "no annotation task is registered" in refused.text.lower()


def test_a_task_is_paused_once(app):
    researcher = member(app, "researcher")
    assert researcher.post("/admin/annotation/pause").status_code == 303
    refused = researcher.post("/admin/annotation/pause")
    assert "expected a task that is open, found one that is paused" in refused.text


def test_a_picture_whose_file_is_gone_is_said_to_be(app, monkeypatch):
    name = one(painter_of(app))
    monkeypatch.setattr(reviewing, "png_name", lambda sha256: f"elsewhere/{sha256}")
    reply = member(app, "viewer").get(f"/admin/annotation/of/{name}/overlay.png")
    assert (reply.status_code, "its file is gone; put picture set" in reply.text) == (422, True)
