"""The pages that an annotator sees: consent, instructions, the drawing page, the end."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as AnyResponse

from study_app import languages, limits, logs, security
from study_app.annotation import annotators, handing_out, registering
from study_app.annotation.api import page_token
from study_app.annotation.tables import Annotator, TaskRow
from study_app.annotation.task import AnnotationTask
from study_app.state import database, settings

annotate = Blueprint("annotate", __name__, url_prefix="/annotate")
HOUR, MINUTE = 3600, 60


@annotate.context_processor
def shared() -> dict[str, Any]:
    """What all these pages may use: the annotator's token, and the words for a reason to skip a picture."""
    return {"csrf_token": page_token, "skip_reason": skip_reason}


def skip_reason(reason: str) -> str:
    """Returns a reason in the language of the request; a task's own as it stands there."""
    known = {
        "unclear": gettext("I cannot tell what it shows"),
        "broken": gettext("The picture is broken or empty"),
        "distressing": gettext("I do not want to look at it"),
        "other": gettext("Another reason"),
    }
    return known.get(reason, reason)


@annotate.get("/")
def consent() -> AnyResponse:
    """The consent page; a browser that has begun goes on."""
    if request.args:
        response = redirect(url_for("annotate.consent"), 303)
        languages.remember(response, request.args.get("lang", ""))
        return response
    with database().reading() as reader:
        if (annotator := _annotator(reader)) is not None:
            return (
                page("withdrawn", 410, annotator.task) if annotator.withdrawn_at else redirect(_next(reader, annotator))
            )
        row = registering.current_task(reader)
        return _not_now(row) or page("consent", row=row)


def _not_now(row: TaskRow | None) -> AnyResponse | None:
    if row is None:
        return page("closed", 503)
    if row.closed_at is not None:
        return page("closed", 410, row)
    return page("paused", 503, row) if row.paused_at is not None else None


@annotate.post("/consent")
@limits.limited("annotate consent", most=30, seconds=HOUR)
def give_consent() -> AnyResponse:
    """Makes somebody who agreed an annotator; a second click finds the first one."""
    if request.form.get("consent") != "yes":
        return redirect(url_for("annotate.consent"), 303)
    with database().writing() as writer:
        if (annotator := _annotator(writer)) is not None:
            return redirect(_next(writer, annotator), 303)
        row = registering.current_task(writer, lock=True)
        if (instead := _not_now(row)) is not None or row is None:
            return instead or page("closed", 503)
        if most := settings().consents_per_minute:
            limits.check_within(writer, "annotate consents", limits.everybody(), most, MINUTE)
        token = security.annotator_token(security.visitor_token())
        if (annotator := annotators.find(writer, token)) is None:  # the same browser's other request was faster
            offered = registering.settings_of(row).languages
            languages.offer(offered)
            robot = request.form.get("robot") == "yes"
            annotator = annotators.enrol(writer, row, token=token, locale=_language(), robot=robot)
        response = redirect(url_for("annotate.work" if annotator.robot else "annotate.instructions"), 303)
    security.set_cookie(response, security.ANNOTATOR, token, days=settings().session_days)
    return response


@annotate.get("/instructions")
def instructions() -> AnyResponse:
    """How it works, with examples."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        if annotator is None or annotator.withdrawn_at is not None:
            return redirect(url_for("annotate.consent"))
        return page("instructions", row=annotator.task)


@annotate.get("/work")
def work() -> AnyResponse:
    """The drawing page."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        if annotator is None or annotator.withdrawn_at is not None:
            return redirect(url_for("annotate.consent"))
        if annotator.task.closed_at is not None:
            return page("closed", 410, annotator.task)
        return page("work", row=annotator.task)


@annotate.get("/finish")
def finish() -> AnyResponse:
    """The last page, with the code; while the task is paused, a page that says so."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        if annotator is None or annotator.withdrawn_at is not None:
            return redirect(url_for("annotate.consent"))
        if _next(reader, annotator) == url_for("annotate.work"):
            return _not_now(annotator.task) or redirect(url_for("annotate.work"))
        code = registering.settings_of(annotator.task).complete_code or annotator.completion_code
        return page("finish", row=annotator.task, done=annotators.done(reader, annotator), code=code)


@annotate.get("/withdraw")
def ask_withdrawal() -> AnyResponse:
    """Asks whether somebody really wants their work to be deleted."""
    with database().reading() as reader:
        annotator = _annotator(reader)
        if annotator is None or annotator.withdrawn_at is not None:
            return redirect(url_for("annotate.consent"))
        return page("withdraw", row=annotator.task, unsure=False)


@annotate.post("/withdraw")
@limits.limited("annotate withdraw", most=30, seconds=HOUR)
def withdraw() -> AnyResponse:
    """Deletes what is kept of the browser's annotator, and says so."""
    with database().writing() as writer:
        annotator = _annotator(writer, lock=True)
        if annotator is None:
            return redirect(url_for("annotate.consent"), 303)
        if request.form.get("sure") != "yes":
            return page("withdraw", 422, annotator.task, unsure=True)
        if annotator.withdrawn_at is None:
            annotators.withdraw(writer, annotator)
    return redirect(url_for("annotate.consent"), 303)


def page(name: str, status: int = 200, row: TaskRow | None = None, **values: Any) -> Response:
    """Returns a page of the task, in one of its languages."""
    task = None if row is None else registering.settings_of(row)
    if task is not None and "languages" not in g:
        languages.offer(task.languages)
    return make_response(render_template(f"annotate/{name}.html", task=task, **values), status)


def _annotator(reader: DatabaseSession, *, lock: bool = False) -> Annotator | None:
    annotator = annotators.find(reader, security.cookie(security.ANNOTATOR), lock=lock)
    if annotator is not None:
        logs.note_session(annotator.public_id)
        task: AnnotationTask = registering.settings_of(annotator.task)
        languages.offer(task.languages, annotator.locale)
    return annotator


def _next(reader: DatabaseSession, annotator: Annotator) -> str:
    """Returns where an annotator goes on: the drawing page, also for what a reviewer returned, or the end."""
    over = annotator.finished_at is not None and handing_out.open_assignment(reader, annotator) is None
    return url_for("annotate.finish" if over else "annotate.work")


def _language() -> str:
    wanted = request.form.get("language")
    return wanted if wanted in languages.offered() else languages.current()
