"""From consent to completion code: what happens to a participant, as functions of a database session."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import contains_eager

from core.errors import StudyError
from study_app import detection, registration, scheduling, security
from study_app.detection import DetectionProtocol
from study_app.models import AuditEvent, Participant, PlannedTrial, Response, Session
from study_app.scheduling import places, planning
from study_app.settings import app_version

_FOUND = (
    select(Session)
    .join(Session.participant)
    .join(Participant.protocol)
    .options(contains_eager(Session.participant).contains_eager(Participant.protocol))
    .where(Session.token_sha256 == bindparam("token_sha256"))
)  # one statement, made once: every request of a participant begins with it
_LOCKED = _FOUND.with_for_update(of=Session, key_share=True)  # rows that refer to it may be added meanwhile
CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # none that are taken for one another


@dataclass(frozen=True)
class Enrolment:
    """A new session and the token that its cookie carries; only the token's hash is stored."""

    session: Session
    token: str


def enrol(database: DatabaseSession, *, locale: str, robot: bool, preview: bool = False) -> Enrolment:
    """Adds a participant who consented, with a session and its whole plan; freezes the protocol if it is the first.

    A preview takes no place and freezes nothing; it may begin while the study is paused.

    Raises:
        StudyFull: every place is held by somebody.
        StudyClosed: the study is paused or closed.
        StudyError: no protocol is registered.
    """
    protocol = registration.current_protocol(database, lock=True)
    if protocol is None:
        raise StudyError(
            "no protocol is registered; do it with: flask --app study_app register-protocol FILE --set NAME"
        )
    now, number = datetime.now(UTC), registration.participants_of(database, protocol.id)
    if preview:
        place, slice_number = None, places.PREVIEW_PLACES + number
    else:
        places.refuse_unless_open(protocol)
        place = slice_number = places.take(database, protocol, detection.parse(protocol.source, protocol.name), now)
        protocol.frozen_at = protocol.frozen_at or now
    material = planning.material(database, protocol)
    participant = Participant(
        public_id=f"p-{secrets.token_hex(8)}",
        protocol=protocol,
        number=number,
        place=place,
        yes_side=scheduling.yes_side(material.settings.seed, slice_number),
        locale=locale,
        robot=robot,
        preview=preview,
        consented_at=now,
    )
    return _begin(database, participant, planning.planned(material, slice_number), now)


def _begin(database: DatabaseSession, participant: Participant, trials: list[PlannedTrial], now: datetime) -> Enrolment:
    token = security.new_token()
    session = Session(
        public_id=f"s-{secrets.token_hex(8)}",
        participant=participant,
        token_sha256=security.hash_token(token),
        app_version=app_version(),
        started_at=now,
        last_seen_at=now,
        trials=trials,
    )
    database.add(session)
    audit(database, "consent", session, robot=participant.robot, protocol=participant.protocol.sha256)
    return Enrolment(session, token)


def find_session(database: DatabaseSession, token: str | None, *, lock: bool = False) -> Session | None:
    """Returns the session of a cookie's token; ``lock`` holds its row until the transaction ends."""
    if not token:
        return None
    return database.scalar(_LOCKED if lock else _FOUND, {"token_sha256": security.hash_token(token)})


def protocol_of(session: Session) -> DetectionProtocol:
    """Returns the protocol that a session follows."""
    protocol = session.participant.protocol
    return detection.parse(protocol.source, protocol.name)


def missing(database: DatabaseSession, session: Session) -> list[int]:
    """Returns the indexes of the session's trials that have no answer yet, in order."""
    answered = select(Response.trial_index).where(Response.session_id == session.id)
    query = (
        select(PlannedTrial.trial_index)
        .where(
            PlannedTrial.session_id == session.id,
            PlannedTrial.aborted_at.is_(None),
            PlannedTrial.trial_index.not_in(answered),
        )
        .order_by(PlannedTrial.position)
    )
    return list(database.scalars(query))


def next_trial(database: DatabaseSession, session: Session) -> PlannedTrial | None:
    """Returns the first trial of the session that has no answer yet."""
    same_trial = (Response.session_id == PlannedTrial.session_id) & (Response.trial_index == PlannedTrial.trial_index)
    query = (
        select(PlannedTrial)
        .outerjoin(Response, same_trial)
        .where(PlannedTrial.session_id == session.id, PlannedTrial.aborted_at.is_(None), Response.id.is_(None))
        .order_by(PlannedTrial.position)
        .limit(1)
    )
    return database.scalar(query)


def finish(database: DatabaseSession, session: Session) -> str:
    """Returns the completion code of a session whose trials are all answered, making it at the first call."""
    if session.completion_code is None:
        session.completion_code = "-".join("".join(secrets.choice(CODE_LETTERS) for _ in range(4)) for _ in range(3))
        session.finished_at = datetime.now(UTC)
        audit(database, "finish", session)
    return session.completion_code


def end(database: DatabaseSession, session: Session, reason: str, **detail: Any) -> None:
    """Ends a session that is not finished, for one of the reasons of ``Session.end_reason``; its place becomes free."""
    session.ended_at, session.end_reason = datetime.now(UTC), reason
    places.give_back(session.participant)
    audit(database, reason, session, **detail)


def end_if_late(database: DatabaseSession, session: Session, protocol: DetectionProtocol, now: datetime) -> bool:
    """Ends a session whose time is over, unless only its code is missing; returns whether it did."""
    limit = session.participant.consented_at + timedelta(hours=protocol.pause.limit_hours)
    if now <= limit or not missing(database, session):
        return False
    end(database, session, "timed-out")
    return True


def audit(database: DatabaseSession, event: str, session: Session | None, **detail: Any) -> None:
    """Adds a line to the audit log."""
    database.add(AuditEvent(at=datetime.now(UTC), event=event, session=session, detail=detail))
