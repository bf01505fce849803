"""The pages that a participant sees: consent, the study, the end."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from core.errors import StudyError
from study_app import detection, participation, registration, security
from study_app.models import Session
from study_app.state import database, settings

pages = Blueprint("pages", __name__)


@pages.get("/")
def consent() -> AnyResponse:
    """The consent page; a browser that has a session goes on with it."""
    with database().reading() as reader:
        session = participation.find_session(reader, security.cookie(security.SESSION))
        if session is not None:
            return redirect(_next_page(session))
        protocol = registration.current_protocol(reader)
        if protocol is None:
            return make_response(render_template("study/closed.html"), 503)
        shown = detection.parse(protocol.source, protocol.name)
    return _page("study/consent.html", protocol=shown, refused=False)


@pages.post("/consent")
def give_consent() -> AnyResponse:
    """Starts a session for somebody who agreed; a second click finds the first session."""
    if request.form.get("consent") != "yes":
        return redirect(url_for("pages.consent"), 303)
    with database().writing() as writer:
        session = participation.find_session(writer, security.cookie(security.SESSION))
        if session is not None:
            return redirect(_next_page(session), 303)
        try:
            locale = request.accept_languages.best or ""
            enrolment = participation.enrol(writer, locale=locale[:20], robot=request.form.get("robot") == "yes")
        except StudyError:
            current_app.logger.exception("a participant could not be enrolled")
            return make_response(render_template("study/closed.html"), 503)
    response = make_response(redirect(url_for("pages.study"), 303))
    security.set_cookie(response, security.SESSION, enrolment.token, days=settings().session_days)
    return response


@pages.get("/study")
def study() -> AnyResponse:
    """The page in which the task runs."""
    with database().reading() as reader:
        session = participation.find_session(reader, security.cookie(security.SESSION))
        if session is None or session.finished_at is not None:
            return redirect(url_for("pages.consent") if session is None else url_for("pages.finished"))
        protocol = participation.protocol_of(session)
    return _page("study/study.html", protocol=protocol)


@pages.get("/finish")
def finished() -> AnyResponse:
    """The last page, with the completion code."""
    with database().reading() as reader:
        session = participation.find_session(reader, security.cookie(security.SESSION))
        if session is None or session.completion_code is None:
            return redirect(url_for("pages.consent") if session is None else url_for("pages.study"))
        protocol, code = participation.protocol_of(session), session.completion_code
    return _page("study/finish.html", protocol=protocol, code=code)


def _next_page(session: Session) -> str:
    return url_for("pages.study" if session.finished_at is None else "pages.finished")


def _page(template: str, **values: object) -> Response:
    return make_response(render_template(template, **values))
