"""Answers: what a browser may post for a trial, and how it is stored once."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import aliased

from study_app.detection import ANSWERS, DetectionProtocol
from study_app.models import PlannedTrial, Response, Session
from study_app.participants.participation import audit, end_if_late, next_trial, protocol_of
from study_app.refusals import Refusal
from study_app.scheduling.placement import place_next

INPUT_TYPES = ("keyboard", "mouse", "touch", "pen", "robot")
Check = Callable[[Any], str | None]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a browser posts for one trial; times in milliseconds, sizes in CSS or device pixels."""

    trial_index: int
    client_uuid: str
    response: str
    confidence: int | None
    confidence_rt_ms: float | None
    rt_ms: float
    onset_ms: float
    frames_planned: int | None
    frames_shown: int
    mask_frames: int | None
    long_frames: int
    refresh_hz: float | None
    device_pixel_ratio: float
    css_px: float
    scale: int
    input_type: str
    blur_count: int
    hidden_count: int
    attempt: int

    @cached_property
    def sha256(self) -> str:
        """Hash by which a repeated post is told from a changed one."""
        values = {name: getattr(self, name) for name in CHECKS}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a posted answer; ``correct`` and ``signal`` are given in practice only."""

    duplicate: bool
    correct: bool | None
    signal: bool | None


def _number(low: float, high: float) -> Check:
    def check(value: Any) -> str | None:
        known = isinstance(value, int | float) and not isinstance(value, bool)
        return (
            None
            if known and math.isfinite(value) and low <= value <= high
            else f"expected a number from {low:g} to {high:g}"
        )

    return check


def whole(low: int, high: int) -> Check:
    """Returns the check that a value is a whole number from ``low`` to ``high``."""

    def check(value: Any) -> str | None:
        known = isinstance(value, int) and not isinstance(value, bool)
        return None if known and low <= value <= high else f"expected a whole number from {low} to {high}"

    return check


def one_of(*allowed: str) -> Check:
    """Returns the check that a value is one of those that are allowed."""
    return lambda value: None if value in allowed else f"expected one of {', '.join(allowed)}"


def optional(check: Check) -> Check:
    """Returns the check that lets ``None`` pass, and what ``check`` lets pass."""
    return lambda value: None if value is None else check(value)


def uuid_text(value: Any) -> str | None:
    """Returns what is wrong with a UUID; ``None`` if nothing."""
    try:
        return None if str(uuid.UUID(value)) == value else "expected a UUID in its canonical form"
    except (ValueError, AttributeError, TypeError):
        return "expected a UUID in its canonical form"


CHECKS: dict[str, Check] = {
    "trial_index": whole(0, 100_000),
    "client_uuid": uuid_text,
    "response": one_of(*(answer for pair in ANSWERS.values() for answer in pair)),
    "confidence": optional(whole(1, 9)),
    "confidence_rt_ms": optional(_number(0, 86_400_000)),
    "rt_ms": _number(0, 86_400_000),
    "onset_ms": _number(0, 1e12),
    "frames_planned": optional(whole(0, 1_000_000)),
    "frames_shown": whole(0, 100_000_000),
    "mask_frames": optional(whole(0, 1_000_000)),
    "long_frames": whole(0, 100_000_000),
    "refresh_hz": optional(_number(1, 2000)),
    "device_pixel_ratio": _number(0.1, 20),
    "css_px": _number(1, 20_000),
    "scale": whole(1, 1000),
    "input_type": one_of(*INPUT_TYPES),
    "blur_count": whole(0, 1_000_000),
    "hidden_count": whole(0, 1_000_000),
    "attempt": whole(1, 1_000_000),
}
_SHOWN_BEFORE, _ANSWER_BEFORE = aliased(PlannedTrial), aliased(Response)
_IN_TURN = (  # whether the trial that is shown before it is answered; null for the first
    select(_ANSWER_BEFORE.id.is_not(None))
    .select_from(_SHOWN_BEFORE)
    .outerjoin(
        _ANSWER_BEFORE,
        (_ANSWER_BEFORE.session_id == _SHOWN_BEFORE.session_id)
        & (_ANSWER_BEFORE.trial_index == _SHOWN_BEFORE.trial_index),
    )
    .where(
        _SHOWN_BEFORE.session_id == PlannedTrial.session_id,
        _SHOWN_BEFORE.position < PlannedTrial.position,
        _SHOWN_BEFORE.aborted_at.is_(None),
    )
    .order_by(_SHOWN_BEFORE.position.desc())
    .limit(1)
    .correlate(PlannedTrial)
    .scalar_subquery()
)
_LOOKUP = (
    select(PlannedTrial, Response.payload_sha256, Response.correct, _IN_TURN)
    .outerjoin(
        Response,
        (Response.session_id == PlannedTrial.session_id) & (Response.trial_index == PlannedTrial.trial_index),
    )
    .where(PlannedTrial.session_id == bindparam("session"), PlannedTrial.trial_index == bindparam("trial"))
)
_KEPT, _SESSIONS = cast("Table", Response.__table__), cast("Table", Session.__table__)
_SEEN = update(_SESSIONS).where(_SESSIONS.c.id == bindparam("session")).values(last_seen_at=bindparam("now"))
_INSERTS = {
    name: dialect.insert(_KEPT).on_conflict_do_nothing(index_elements=["client_uuid"]).returning(_KEPT.c.id)
    for name, dialect in (("sqlite", sqlite), ("postgresql", postgresql))
}  # no row comes back where the client_uuid is known, even if another session is storing it at this moment
FLOATS = ("confidence_rt_ms", "rt_ms", "onset_ms", "refresh_hz", "device_pixel_ratio", "css_px")


def parse(body: Any) -> Answer:
    """Returns the answer in a JSON body.

    Raises:
        Refusal: 422 with a message for each field that is missing, unknown or wrong.
    """
    if not isinstance(body, Mapping):
        raise Refusal(422, "invalid", "expected a JSON object")
    wrong = {name: "unknown field" for name in body if name not in CHECKS}
    for name, check in CHECKS.items():
        problem = check(body[name]) if name in body else "missing"
        if problem:
            wrong[name] = problem
    if wrong:
        raise Refusal(422, "invalid", "the answer has fields that cannot be used", fields=wrong)
    floats = {name: float(body[name]) for name in FLOATS if body[name] is not None}
    return Answer(**{**body, **floats})


def store(database: DatabaseSession, session: Session, answer: Answer) -> Outcome | Refusal:
    """Stores an answer once and says what became of it; the session's row is locked by the caller.

    The same answer again is a duplicate; another answer to the same trial is refused and noted in the audit log: the
    first one stands. Answers come in the order of the trials; after the session's time there are none. A refusal is
    returned, not raised, where it leaves something that must be committed.
    """
    found = database.execute(_LOOKUP, {"session": session.id, "trial": answer.trial_index}).one_or_none()
    if found is None:
        raise Refusal(422, "invalid", "no such trial", fields={"trial_index": "not in the plan of this session"})
    planned, kept_sha256, correct, in_turn = found
    protocol = protocol_of(session)
    if wrong := _against_protocol(protocol, planned, answer):
        raise Refusal(422, "invalid", "the answer has fields that cannot be used", fields=wrong)
    if kept_sha256 == answer.sha256:
        return _outcome(planned, correct, duplicate=True)
    if kept_sha256 is not None:
        audit(
            database, "changed answer refused", session, trial_index=answer.trial_index, client_uuid=answer.client_uuid
        )
        return Refusal(409, "answered", "this trial was answered before, differently; the first answer stands")
    if session.ended_at is not None:
        raise Refusal(409, "ended", "this session is over", next="/ended")
    if session.participant.protocol.closed_at is not None:
        raise Refusal(403, "closed", "this study is closed: nobody can go on", next="/study")
    if planned.aborted_at is not None or in_turn is False:
        ahead = next_trial(database, session)
        index = None if ahead is None else ahead.trial_index
        raise Refusal(409, "out of order", "answers come in the order of the trials", next_index=index)
    if end_if_late(database, session, protocol, datetime.now(UTC)):
        return Refusal(409, "ended", "this session is over", next="/ended")
    return _add(database, session, protocol, planned, answer)


def _against_protocol(protocol: DetectionProtocol, planned: PlannedTrial, answer: Answer) -> dict[str, str]:
    """Returns what is wrong with the fields whose values depend on the protocol."""
    wrong = {}
    if answer.response not in ANSWERS[protocol.task]:
        wrong["response"] = f"expected one of {', '.join(ANSWERS[protocol.task])}"
    levels = 0 if planned.catch == "instructed" else protocol.answer.confidence
    if (answer.confidence or 0) > levels or (levels and answer.confidence is None):
        wrong["confidence"] = f"expected a whole number from 1 to {levels}" if levels else "expected null"
    return wrong


def _correct(protocol: DetectionProtocol, planned: PlannedTrial, response: str) -> bool | None:
    """Returns whether an answer is right; ``None`` where no answer is: 2afc without a perturbed picture."""
    if planned.instructed is not None:
        return response == planned.instructed
    if protocol.task == "2afc":
        return response == planned.target_side if planned.signal else None
    return (response == ANSWERS[protocol.task][0]) == planned.signal


def _add(
    database: DatabaseSession, session: Session, protocol: DetectionProtocol, planned: PlannedTrial, answer: Answer
) -> Outcome | Refusal:
    correct, now = _correct(protocol, planned, answer.response), datetime.now(UTC)
    values = {name: getattr(answer, name) for name in CHECKS} | {
        "session_id": session.id, "payload_sha256": answer.sha256, "correct": correct, "received_at": now,
    }  # fmt: skip
    if database.scalar(_INSERTS[database.get_bind().dialect.name], values) is None:
        audit(database, "reused client_uuid refused", session, trial_index=answer.trial_index)
        return Refusal(409, "reused", "this client_uuid belongs to another answer")
    database.execute(_SEEN, {"session": session.id, "now": now})
    if protocol.adaptive.method != "none":
        place_next(database, session, protocol)
    return _outcome(planned, correct, duplicate=False)


def _outcome(planned: PlannedTrial, correct: bool | None, *, duplicate: bool) -> Outcome:
    if planned.phase == "practice":
        return Outcome(duplicate, correct, planned.signal)
    return Outcome(duplicate, None, None)
