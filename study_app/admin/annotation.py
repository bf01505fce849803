"""The pages of the annotation task: progress and annotators, the review queue, one annotation, pause and close."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

from flask import Response, make_response, request
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from core import pictures
from study_app.admin.access import admin, go, member, needs, page
from study_app.annotation import conduct, registering, reviewing
from study_app.annotation.conduct import Act
from study_app.annotation.reviewing import Verdict
from study_app.annotation.tables import Assignment, TaskRow
from study_app.refusals import Refusal
from study_app.state import database


@admin.get("/annotation")
@needs("viewer")
def annotation() -> Response:
    """How far the task is, and its annotators."""
    with database().reading() as reader:
        row = registering.current_task(reader)
        if row is None:
            return page("annotation_nothing.html")
        return page(
            "annotation.html", row=row, seen=reviewing.progress(reader, row),
            found=reviewing.people(reader, row, _page_number()), picture_set=row.set.name,
        )  # fmt: skip


@admin.get("/annotation/queue")
@needs("viewer")
def annotation_queue() -> Response:
    """What was handed in, to be looked at."""
    state = request.args.get("state", "waiting")
    state = state if state in reviewing.STATES else "waiting"
    with database().reading() as reader:
        found = reviewing.queue(reader, _row(reader), state, _page_number())
        return page("annotation_queue.html", found=found, state=state, states=reviewing.STATES)


@admin.get("/annotation/of/<public_id>")
@needs("viewer")
def annotation_one(public_id: str) -> Response:
    """One annotation, with the picture and what was painted on it."""
    with database().reading() as reader:
        assignment = _assignment(reader, public_id)
        submission = reviewing.last_submission(reader, assignment)
        shared = reviewing.agreement_with_others(reader, assignment)
        return page(
            "annotation_one.html", assignment=assignment, submission=submission, shared=shared,
            most_note=reviewing.MOST_NOTE,
        )  # fmt: skip


@admin.get("/annotation/of/<public_id>/overlay.png")
@needs("viewer")
def annotation_overlay(public_id: str) -> Response:
    """The picture with the mask laid over it."""
    with database().reading() as reader:
        pixels = reviewing.overlay(reader, _assignment(reader, public_id))
    response = make_response(pictures.encode_png(pixels))
    response.headers["Content-Type"] = "image/png"
    return response


@admin.post("/annotation/of/<public_id>/review")
@needs("researcher")
def review_annotation(public_id: str) -> Response:
    """Accepts an annotation, or returns it with a note."""
    verdict = request.form.get("verdict", "")
    if verdict not in get_args(Verdict):
        raise Refusal(422, "verdict", "expected a verdict: accepted or returned")
    with database().writing() as writer:
        assignment = _assignment(writer, public_id, lock=True)
        by, now = (member().id, member().email), datetime.now(UTC)
        reviewing.judge(writer, assignment, verdict, request.form.get("note", ""), by=by, now=now)  # type: ignore[arg-type]
    return go("annotation_queue", verdict)


@admin.post("/annotation/<any(pause, resume, close):what>")
@needs("researcher")
def run_annotation(what: Act) -> Response:
    """Pauses, resumes or closes the task; closing needs a second look."""
    if what == "close" and request.form.get("sure") != "yes":
        raise Refusal(422, "sure", "tick the box to close the task: nothing more is stored then")
    return _act(what)


@admin.post("/annotation/reopen")
@needs("owner")
def reopen_annotation() -> Response:
    """Takes a closing back."""
    return _act("reopen")


def _act(what: Act) -> Response:
    with database().writing() as writer:
        conduct.act(writer, what, by=member().email, now=datetime.now(UTC))
    return go("annotation", f"task-{what}")


def _row(reader: DatabaseSession) -> TaskRow:
    row = registering.current_task(reader)
    if row is None:
        raise Refusal(404, "no task", "no annotation task is registered yet; the command is: register-annotation")
    return row


def _assignment(session: DatabaseSession, public_id: str, *, lock: bool = False) -> Assignment:
    found = reviewing.find(session, _row(session), public_id)
    if found is None:
        raise Refusal(404, "not found", "no such annotation in the current task")
    if lock:  # against its annotator, who may be handing it in again
        held = select(Assignment).where(Assignment.id == found.id).with_for_update(key_share=True)
        session.scalar(held.execution_options(populate_existing=True))
    return found


def _page_number() -> int:
    text = request.args.get("page", "1")
    return int(text) if text.isascii() and text.isdecimal() and 1 <= int(text[:9]) < 1_000_000 else 1
