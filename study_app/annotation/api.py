"""The JSON interface of the drawing page: state, pictures, strokes, submissions; nobody reaches what is not theirs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, request, url_for
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as AnyResponse

from core.picture_sets import png_name
from study_app import languages, limits, logs, security
from study_app.annotation import annotators, handing_out, registering, strokes, submissions
from study_app.annotation.strokes import needed
from study_app.annotation.tables import Annotator, Assignment, PictureRow, PictureSetRow, Stroke, TaskPicture, TaskRow
from study_app.refusals import Refusal
from study_app.state import database

annotate_api = Blueprint("annotate_api", __name__, url_prefix="/annotate/api/v1")
PICTURE_CACHE = "private, max-age=86400, immutable, no-transform"
PICTURE_TAG = "unchanged"
MOST_STROKES, MOST_SUBMISSIONS, MOST_LISTED = 20_000, 2_000, 500  # of an annotator: in an hour, in an hour, in a list
HOUR = 3600


@annotate_api.get("/state")
def state() -> Response:
    """What the drawing page needs to go on. Hands the next picture out, if none is open."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        if (assignment := handing_out.open_assignment(reader, annotator)) is not None or _over(annotator):
            return jsonify(_state(reader, annotator, assignment))
    with database().writing() as writer:
        annotator = _annotator(writer, lock=True)
        assignment = _hand_out(writer, annotator)
        return jsonify(_state(writer, annotator, assignment))


def _over(annotator: Annotator) -> bool:
    task = annotator.task
    return annotator.finished_at is not None or task.paused_at is not None or task.closed_at is not None


def _hand_out(writer: DatabaseSession, annotator: Annotator) -> Assignment | None:
    writer.scalar(select(TaskRow.id).where(TaskRow.id == annotator.task_id).with_for_update(key_share=True))
    writer.refresh(annotator.task)
    if (known := handing_out.open_assignment(writer, annotator)) is not None or _over(annotator):
        return known
    settings = registering.settings_of(annotator.task)
    assignment = handing_out.reserve(writer, annotator, settings, datetime.now(UTC))
    if assignment is None:
        annotators.finish(writer, annotator)
    return assignment


def _state(reader: DatabaseSession, annotator: Annotator, assignment: Assignment | None) -> dict[str, Any]:
    settings, done = registering.settings_of(annotator.task), annotators.done(reader, annotator)
    return {
        "annotator": annotator.public_id,
        "csrf": page_token(),
        "finished": annotator.finished_at is not None,
        "done": done,
        "total": done if annotator.finished_at is not None else handing_out.planned(settings),
        "task": {
            "title": settings.title,
            "tools": settings.tools,
            "brush_sizes": settings.brush_sizes,
            "minimum_seconds": settings.minimum_seconds,
            "skip_reasons": settings.skip_reasons,
        },
        "assignment": None if assignment is None else _shown(reader, assignment),
    }


def _shown(reader: DatabaseSession, assignment: Assignment) -> dict[str, Any]:
    columns = (Stroke.stroke_index, Stroke.client_uuid, Stroke.operation)
    kept = reader.execute(select(*columns).where(Stroke.assignment_id == assignment.id).order_by(Stroke.stroke_index))
    picture = assignment.of.picture
    return {
        "id": assignment.public_id,
        "picture": {
            "url": url_for("annotate_api.picture", token=assignment.token),
            "width": picture.width,
            "height": picture.height,
        },
        "round": assignment.round + (assignment.review == "returned"),
        "note": assignment.note,
        "practice": assignment.of.role == "practice",
        "operations": [
            {"index": index, "client_uuid": client_uuid, "operation": operation}
            for index, client_uuid, operation in kept
        ],
        "seconds": assignment.active_ms / 1000,
        "submitted": assignment.submitted_at is not None and assignment.review != "returned",
    }


@annotate_api.get("/pictures/<token>")
def picture(token: str) -> AnyResponse:
    """The PNG of one of the annotator's own assignments."""
    with database().reading() as reader:
        query = (
            select(PictureRow.sha256, PictureSetRow.directory)
            .select_from(Assignment)
            .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
            .join(PictureRow, TaskPicture.picture_id == PictureRow.id)
            .join(PictureSetRow, PictureRow.set_id == PictureSetRow.id)
            .where(Assignment.token == token, Assignment.annotator_id == _annotator(reader).id)
        )
        found = reader.execute(query).one_or_none()
    if found is None:
        raise Refusal(404, "not found", "no such picture")
    return _png((Path(found.directory) / png_name(found.sha256)).read_bytes())


@annotate_api.get("/masks/<token>")
def expected_mask(token: str) -> AnyResponse:
    """The known regions of a practice picture, once it was handed in."""
    with database().reading() as reader:
        query = select(Assignment).where(Assignment.token == token, Assignment.annotator_id == _annotator(reader).id)
        found = reader.scalar(query)
        over = found is not None and found.of.role == "practice" and found.submitted_at is not None
        if found is None or not over or found.of.mask is None:
            raise Refusal(404, "not found", "no such mask")
        return _png(found.of.mask)


def _png(data: bytes) -> AnyResponse:
    response = make_response(data)
    response.headers["Content-Type"] = "image/png"
    response.headers["Cache-Control"] = PICTURE_CACHE
    response.set_etag(PICTURE_TAG)
    return response.make_conditional(request)


@annotate_api.post("/strokes")
def post_stroke() -> Response:
    """Stores an operation: 201 new, 200 the same again, 409 another one or out of order, 422 not understood."""
    posted = strokes.parse(request.get_json(silent=True))
    with database().writing() as writer:
        annotator = _annotator(writer, lock=True)
        limits.check_within(writer, "strokes", annotator.public_id, MOST_STROKES, HOUR)
        outcome = strokes.store(writer, annotator, posted)
    if isinstance(outcome, Refusal):
        raise outcome
    return make_response(jsonify(index=posted.index, duplicate=outcome.duplicate), 200 if outcome.duplicate else 201)


@annotate_api.post("/submissions")
def post_submission() -> Response:
    """Takes a picture as done: 201 new, 200 the same again, 409 incomplete or over, 422 too soon or not understood."""
    posted = submissions.parse(request.get_json(silent=True))
    with database().reading() as reader:
        mask = submissions.drawn(reader, _annotator(reader), posted)
    with database().writing() as writer:
        annotator = _annotator(writer, lock=True)
        limits.check_within(writer, "submissions", annotator.public_id, MOST_SUBMISSIONS, HOUR)
        outcome = submissions.store(writer, annotator, posted, mask)
    if isinstance(outcome, Refusal):
        raise outcome
    return make_response(jsonify({**outcome.body, "duplicate": outcome.duplicate}), 200 if outcome.duplicate else 201)


@annotate_api.get("/done")
def done() -> Response:
    """The annotator's own past pictures, the latest first; those of practice are not among them."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        query = (
            select(Assignment)
            .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
            .where(
                Assignment.annotator_id == annotator.id,
                Assignment.submitted_at.is_not(None),
                TaskPicture.role != "practice",
            )
            .order_by(Assignment.submitted_at.desc(), Assignment.id.desc())
            .limit(MOST_LISTED)
        )
        return jsonify(pictures=[_listed(assignment) for assignment in reader.scalars(query)])


def _listed(assignment: Assignment) -> dict[str, Any]:
    url = url_for("annotate_api.picture", token=assignment.token)
    return {"id": assignment.public_id, "url": url, "outcome": assignment.outcome}


@annotate_api.get("/assignments/<public_id>")
def assignment(public_id: str) -> Response:
    """One of the annotator's own pictures, to look at it again and to go on with it."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        found = needed(reader, annotator, public_id)
        strokes.refuse_unless_open(annotator, found)
        return jsonify(assignment=_shown(reader, found))


def page_token() -> str:
    """Returns the CSRF token of an annotator's pages: of the annotator, or of the browser before there is one."""
    return security.csrf_token(security.cookie(security.ANNOTATOR) or security.visitor_token())


def _annotator(session: DatabaseSession, *, lock: bool = False) -> Annotator:
    found = annotators.find(session, security.cookie(security.ANNOTATOR), lock=lock)
    if found is None:
        raise Refusal(401, "no annotator", "expected the cookie of an annotator; open the task's address and consent")
    if found.withdrawn_at is not None:
        raise Refusal(409, "ended", "you have withdrawn", next=url_for("annotate.consent"))
    logs.note_session(found.public_id)
    languages.offer(registering.settings_of(found.task).languages, found.locale)
    return found
