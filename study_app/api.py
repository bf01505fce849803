"""The JSON interface of the task: state, pictures, answers, the end. A session reaches its own trials and no others."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, make_response, request, url_for
from sqlalchemy.orm import Session as DatabaseSession
from werkzeug.wrappers import Response as AnyResponse

from study_app import detection, limits, logs, security
from study_app.models import PlannedTrial, Session
from study_app.participants import answers, participation, resumption, served_pictures, steps
from study_app.refusals import Refusal
from study_app.state import database

api = Blueprint("api", __name__, url_prefix="/api/v1")
MOST_VISITS = 1000  # page loads of a session in an hour
PICTURE_CACHE = "private, max-age=86400, immutable, no-transform"
PICTURE_TAG = "unchanged"  # of all pictures: what a name stands for never changes, and a tag of the contents would tell


@api.get("/state")
def state() -> Response:
    """Everything that the browser needs to go on: opaque pictures, how many are answered, timing, key mapping."""
    with database().reading() as reader:
        session = _going_on(_session(reader))
        protocol = participation.protocol_of(session)
        unanswered = participation.missing(reader, session)
        return jsonify(
            session_id=session.public_id,
            csrf=security.page_token(),
            finished=session.finished_at is not None,
            task=protocol.task,
            answers=detection.ANSWERS[protocol.task],
            confidence=protocol.answer.confidence,
            adaptive=protocol.adaptive.method != "none",
            language=session.participant.locale,
            preview=session.participant.preview,
            yes_side=session.participant.yes_side,
            signal_share=protocol.main.signal_share,
            minutes=protocol.minutes,
            fixation_ms=protocol.timing.fixation_ms,
            exposure_ms=protocol.timing.exposure_ms,
            mask_ms=protocol.timing.mask_ms,
            feedback_ms=protocol.timing.feedback_ms,
            target_css_px=protocol.display.target_css_px,
            next_index=unanswered[0] if unanswered else None,
            trials=[_trial(trial) for trial in session.trials if trial.aborted_at is None],
        )


def _trial(trial: PlannedTrial) -> dict[str, Any]:
    tokens = [trial.token] if trial.pair_token is None else [trial.token, trial.pair_token]
    if trial.target_side == "right":
        tokens.reverse()
    return {
        "index": trial.trial_index,
        "phase": trial.phase,
        "block": trial.block,
        "pictures": [url_for("api.picture", token=token) for token in tokens],
        "instructed": trial.instructed,
    }


@api.get("/pictures/<token>")
def picture(token: str) -> AnyResponse:
    """The PNG of one trial of this session, up to one block ahead of the next unanswered trial."""
    with database().reading() as reader:
        path = served_pictures.find(reader, _session(reader), token)
    if path is None:
        raise Refusal(404, "not found", "no such picture")
    response = make_response(path.read_bytes())
    response.headers["Content-Type"] = "image/png"
    response.headers["Cache-Control"] = PICTURE_CACHE
    response.set_etag(PICTURE_TAG)
    return response.make_conditional(request)


@api.post("/trials")
def post_trial() -> Response:
    """Stores an answer: 201 new, 200 the same again, 409 another one or out of order, 422 not understood."""
    answer = answers.parse(request.get_json(silent=True))
    with database().writing() as writer:
        outcome = answers.store(writer, _session(writer, lock=True), answer)
    if isinstance(outcome, Refusal):
        raise outcome
    body: dict[str, Any] = {"trial_index": answer.trial_index, "duplicate": outcome.duplicate}
    if outcome.correct is not None:
        body |= {"correct": outcome.correct, "changed": outcome.signal}
    return make_response(jsonify(body), 200 if outcome.duplicate else 201)


@api.post("/visits")
def post_visit() -> Response:
    """Notes a page load and prepares what it goes on with: 201 new, 200 the same again, 409 the session is over."""
    load = resumption.parse(request.get_json(silent=True))
    with database().writing() as writer:
        session = _session(writer, lock=True)
        limits.check_within(writer, "visit", session.public_id, MOST_VISITS, seconds=3600)
        outcome = resumption.note(writer, session, load)
    if isinstance(outcome, Refusal):
        raise outcome
    body = jsonify(gap_s=outcome.gap_s, warm_up=outcome.warm_up, replaced=outcome.replaced)
    return make_response(body, 201 if outcome.new else 200)


@api.post("/finish")
def finish() -> Response:
    """The completion code, once the server holds every answer; 409 with the missing indexes before that."""
    with database().writing() as writer:
        session = _going_on(_session(writer, lock=True))
        if missing := participation.missing(writer, session):
            raise Refusal(409, "incomplete", "some trials are not answered yet", missing=missing)
        code = participation.finish(writer, session)
    return jsonify(completion_code=code, next=url_for("pages.finished"))


def _session(session: DatabaseSession, *, lock: bool = False) -> Session:
    found = participation.find_session(session, security.cookie(security.SESSION), lock=lock)
    if found is None:
        raise Refusal(401, "no session", "expected the cookie of a session; open the study's address and give consent")
    logs.note_session(found.public_id)
    steps.require_passed(session, found)
    return found


def _going_on(session: Session) -> Session:
    """Returns a session that is not over for another reason than that all is answered, in a study that is not closed.

    Raises:
        Refusal: it is over.
    """
    if session.end_reason is not None:
        raise Refusal(409, "ended", "this session is over", next=url_for("pages.ended"))
    if session.participant.protocol.closed_at is not None and session.finished_at is None:
        raise Refusal(403, "closed", "this study is closed: nobody can go on", next=url_for("pages.study"))
    return session
