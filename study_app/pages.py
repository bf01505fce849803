"""The pages that a participant sees: consent, the study, the end; ``participants.step_pages`` has the steps between."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request, url_for
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as AnyResponse

from core.errors import StudyError
from study_app import detection, languages, limits, logs, registration, security
from study_app.detection import DetectionProtocol
from study_app.models import Arrival, Protocol, Session
from study_app.participants import arrivals, completion, participation, steps, withdrawal
from study_app.participants.arrivals import Claim
from study_app.scheduling import places
from study_app.state import database, settings

pages = Blueprint("pages", __name__)
HOUR, MINUTE = 3600, 60
ARRIVALS_PER_CONSENT = 4  # an address may be opened more often than somebody begins
PLATFORMS = {"prolific": "Prolific", "mturk": "Amazon Mechanical Turk", "sona": "Sona"}


@pages.get("/")
def consent() -> AnyResponse:
    """The consent page; a browser that has a session goes on with it. What the address says is taken in first."""
    if request.args:
        return _take_in_address()
    with database().reading() as reader:
        if (session := current_session(reader)) is not None:
            return redirect(next_page(reader, session))
        protocol = registration.current_protocol(reader)
        if protocol is None:
            return page("closed", 503)
        arrival = _arrival(reader, protocol)
        return _not_now(protocol, arrival) or _consent_page(parsed(protocol))


def _consent_page(protocol: DetectionProtocol) -> AnyResponse:
    platform = PLATFORMS.get(protocol.recruitment.platform)
    return page("consent", protocol=protocol, platform_name=platform, session_days=settings().session_days)


def _take_in_address() -> AnyResponse:
    """Stores what a platform says under the browser's token, remembers a language, and leads to the clean address."""
    response = redirect(url_for("pages.consent"), 303)
    languages.remember(response, request.args.get("lang", ""))
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
        claim = arrivals.claim_in(request.args, parsed(protocol).recruitment.platform) if protocol else None
    return response if claim is None else _arrive(claim, response)


def _arrive(claim: Claim, response: AnyResponse) -> AnyResponse:
    with database().writing() as writer:
        if most := settings().consents_per_minute:
            limits.check_within(writer, "arrivals", limits.everybody(), ARRIVALS_PER_CONSENT * most, MINUTE)
        protocol = registration.current_protocol(writer)
        arrived = arrivals.arrive(writer, protocol, claim, security.visitor_token()) if protocol else None
        if arrived is None:
            return page("link", 410)
        arrival, token = arrived
        security.become_visitor(token)
        session = current_session(writer)
        if session is not None and session.participant_id != arrival.participant_id:
            security.drop_cookie(response, security.SESSION)
    return response


def _not_now(protocol: Protocol, arrival: Arrival | None) -> AnyResponse | None:
    """Returns the page for somebody who cannot begin, or has begun elsewhere; ``None`` for who can begin here."""
    shown = parsed(protocol)
    if arrival is not None and arrival.participant_id is not None:
        return page("continue", protocol=shown)
    if protocol.closed_at is not None:
        return page("closed", 410)
    if arrival is None and shown.recruitment.platform != "open":
        return page("link", 403)
    return page("paused", 503, protocol=shown) if protocol.paused_at is not None else None


@pages.post("/consent")
@limits.limited("consent", most=30, seconds=HOUR)
def give_consent() -> AnyResponse:
    """Starts a session for somebody who agreed; a second click finds the first session."""
    if request.form.get("consent") != "yes":
        return redirect(url_for("pages.consent"), 303)
    with database().writing() as writer:
        if (session := current_session(writer)) is not None:
            return redirect(next_page(writer, session), 303)
        protocol = registration.current_protocol(writer, lock=True)  # before the arrival, whose row refers to it
        if protocol is None:
            return page("closed", 503)
        arrival = _arrival(writer, protocol, lock=True)
        if arrival is not None and arrival.participant_id is not None:
            return _go_on(writer, arrival)
        return _not_now(protocol, arrival) or _begin(writer, protocol, arrival)


def _begin(writer: DatabaseSession, protocol: Protocol, arrival: Arrival | None) -> AnyResponse:
    """Enrols the browser's person, who has not begun yet."""
    if most := settings().consents_per_minute:
        limits.check_within(writer, "consents", limits.everybody(), most, MINUTE)
    visitor = security.visitor_token()
    arrival = arrival or arrivals.open_arrival(writer, protocol, visitor)
    if arrival.participant_id is not None:  # the same browser's other request was faster
        return _go_on(writer, arrival)
    try:
        robot = request.form.get("robot") == "yes"
        enrolment = participation.enrol(writer, locale=_language(), robot=robot)
    except places.StudyFull:
        return page("full", 410, protocol=parsed(protocol))
    except StudyError:
        current_app.logger.exception("a participant could not be enrolled")
        return page("closed", 503)
    token = security.session_token(visitor)
    enrolment.session.token_sha256 = security.hash_token(token)
    writer.flush()
    arrival.participant_id = enrolment.session.participant_id
    return _with_session(redirect(next_page(writer, enrolment.session), 303), token)


@pages.post("/continue")
@limits.limited("continue", most=30, seconds=HOUR)
def go_on() -> AnyResponse:
    """Takes up a session that was begun in another browser; that one cannot go on with it."""
    with database().writing() as writer:
        if (session := current_session(writer)) is not None:
            return redirect(next_page(writer, session), 303)
        protocol = registration.current_protocol(writer)
        arrival = _arrival(writer, protocol, lock=True) if protocol else None
        if arrival is None or arrival.participant_id is None:
            return redirect(url_for("pages.consent"), 303)
        return _go_on(writer, arrival)


def _go_on(writer: DatabaseSession, arrival: Arrival) -> AnyResponse:
    token = security.session_token(security.visitor_token())
    session = arrivals.session_of(writer, arrival)
    if session.token_sha256 != security.hash_token(token):
        session.token_sha256 = security.hash_token(token)
        participation.audit(writer, "went on in another browser", session)
    return _with_session(redirect(next_page(writer, session), 303), token)


@pages.get("/study")
def study() -> AnyResponse:
    """The page in which the task runs."""
    with database().reading() as reader:
        session = current_session(reader)
        if session is None:
            return redirect(url_for("pages.consent"))
        if (due := next_page(reader, session)) != url_for("pages.study"):
            return redirect(due)
        if session.participant.protocol.closed_at is not None:
            return page("closed", 410)
        return page("study", protocol=participation.protocol_of(session), session_id=session.public_id)


@pages.get("/finish")
def finished() -> AnyResponse:
    """The last page, with the completion code."""
    with database().reading() as reader:
        session = current_session(reader)
        if session is None or session.completion_code is None or session.end_reason is not None:
            return redirect(url_for("pages.consent") if session is None else next_page(reader, session))
        ending = completion.ending(reader, session)
        return page("finish", protocol=participation.protocol_of(session), ending=ending)


@pages.get("/ended")
def ended() -> AnyResponse:
    """Why a session ended otherwise, and the code for it."""
    with database().reading() as reader:
        session = current_session(reader)
        if session is None or session.end_reason is None:
            return redirect(url_for("pages.consent") if session is None else next_page(reader, session))
        ending = completion.ending(reader, session)
        return page("ended", protocol=participation.protocol_of(session), ending=ending, reason=session.end_reason)


@pages.get("/withdraw")
def ask_withdrawal() -> AnyResponse:
    """Asks whether somebody really wants their data to be deleted."""
    with database().reading() as reader:
        session = current_session(reader)
        if session is None or session.participant.withdrawn_at is not None:
            return redirect(url_for("pages.consent") if session is None else url_for("pages.ended"))
        return page("withdraw", protocol=participation.protocol_of(session), unsure=False)


@pages.post("/withdraw")
@limits.limited("withdraw", most=30, seconds=HOUR)
def withdraw() -> AnyResponse:
    """Deletes what is kept of the browser's session, and says so."""
    with database().writing() as writer:
        session = current_session(writer, lock=True)
        if session is None:
            return redirect(url_for("pages.consent"), 303)
        if request.form.get("sure") != "yes":
            return page("withdraw", 422, protocol=participation.protocol_of(session), unsure=True)
        if session.participant.withdrawn_at is None:
            withdrawal.withdraw(writer, session)
    return redirect(url_for("pages.ended"), 303)


def current_session(reader: DatabaseSession, *, lock: bool = False) -> Session | None:
    """Returns the session of the browser, and answers in its language from here on."""
    session = participation.find_session(reader, security.cookie(security.SESSION), lock=lock)
    if session is not None:
        logs.note_session(session.public_id)
        languages.offer(participation.protocol_of(session).languages, session.participant.locale)
    return session


def next_page(reader: DatabaseSession, session: Session) -> str:
    """Returns where a session goes on: a step, the task, or one of its ends."""
    if session.end_reason is not None:
        return url_for("pages.ended")
    if session.finished_at is not None:
        return url_for("pages.finished")
    step = steps.pending(reader, session)
    return url_for("pages.study") if step is None else url_for("steps.show", name=step)


def parsed(protocol: Protocol) -> DetectionProtocol:
    """Returns a protocol's settings, and answers in one of its languages from here on."""
    settings = detection.parse(protocol.source, protocol.name)
    if "languages" not in g:
        languages.offer(settings.languages)
    return settings


def page(name: str, status: int = 200, **values: Any) -> Response:
    """Returns a page of the study."""
    return make_response(render_template(f"study/{name}.html", **values), status)


def _arrival(reader: DatabaseSession, protocol: Protocol, *, lock: bool = False) -> Arrival | None:
    """Returns the arrival of this browser at a protocol."""
    arrival = arrivals.of_browser(reader, security.visitor_token(), lock=lock)
    return arrival if arrival is not None and arrival.protocol_id == protocol.id else None


def _language() -> str:
    wanted = request.form.get("language")
    return wanted if wanted in languages.offered() else languages.current()


def _with_session(response: AnyResponse, token: str) -> AnyResponse:
    security.set_cookie(response, security.SESSION, token, days=settings().session_days)
    return response
