"""How a study is run: paused, resumed, closed, opened again, and played as a preview. Each act is in the ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app import registration
from study_app.models import (
    Arrival,
    AuditEvent,
    CheckResult,
    Participant,
    PlannedTrial,
    Protocol,
    Response,
    Session,
    Visit,
)
from study_app.researchers import ledger
from study_app.staff import Exclusion

OF_SESSION = (Response, PlannedTrial, Visit, CheckResult, AuditEvent)  # in an order in which they can be deleted
OF_PARTICIPANT = (Session, Arrival, Exclusion)


def current(database: DatabaseSession) -> Protocol:
    """Returns the current protocol, and holds its row: nobody begins while it is paused or closed.

    Raises:
        StudyError: none is registered.
    """
    protocol = registration.current_protocol(database, lock=True)
    if protocol is None:
        raise StudyError(
            "no protocol is registered; do it with: flask --app study_app register-protocol FILE --set NAME"
        )
    return protocol


def pause(database: DatabaseSession, *, by: str, now: datetime) -> None:
    """Lets nobody begin; who is in goes on.

    Raises:
        StudyError: the study is paused or closed already.
    """
    protocol = current(database)
    if protocol.paused_at is not None or protocol.closed_at is not None:
        raise StudyError(f"{protocol.name}: expected a study that is open, found one that is {_standing(protocol)}")
    protocol.paused_at = now
    ledger.write(database, by, "study paused", protocol=protocol.name)


def resume(database: DatabaseSession, *, by: str) -> None:
    """Lets people begin again.

    Raises:
        StudyError: the study is not paused.
    """
    protocol = current(database)
    if protocol.paused_at is None or protocol.closed_at is not None:
        raise StudyError(f"{protocol.name}: expected a study that is paused, found one that is {_standing(protocol)}")
    protocol.paused_at = None
    ledger.write(database, by, "study resumed", protocol=protocol.name)


def close(database: DatabaseSession, *, by: str, now: datetime) -> None:
    """Ends the study: nobody begins, and nobody goes on.

    Raises:
        StudyError: it is closed already.
    """
    protocol = current(database)
    if protocol.closed_at is not None:
        raise StudyError(f"{protocol.name}: expected a study that is open or paused, found one that is closed")
    protocol.closed_at = now
    ledger.write(database, by, "study closed", protocol=protocol.name)


def reopen(database: DatabaseSession, *, by: str) -> None:
    """Takes a closing back.

    Raises:
        StudyError: the study is not closed.
    """
    protocol = current(database)
    if protocol.closed_at is None:
        raise StudyError(f"{protocol.name}: expected a study that is closed, found one that is {_standing(protocol)}")
    protocol.closed_at = None
    ledger.write(database, by, "study opened again", protocol=protocol.name)


def _standing(protocol: Protocol) -> str:
    return "closed" if protocol.closed_at else "paused" if protocol.paused_at else "open"


def delete_previews(database: DatabaseSession, *, by: str) -> int:
    """Deletes all previews of the current protocol with everything that belongs to them; returns how many."""
    protocol = current(database)
    chosen = select(Participant.id).where(Participant.protocol_id == protocol.id, Participant.preview)
    people = list(database.scalars(chosen))
    sessions = list(database.scalars(select(Session.id).where(Session.participant_id.in_(people))))
    for table in OF_SESSION:
        database.execute(delete(table).where(table.session_id.in_(sessions)))
    for row in OF_PARTICIPANT:
        database.execute(delete(row).where(row.participant_id.in_(people)))
    database.execute(delete(Participant).where(Participant.id.in_(people)))
    ledger.write(database, by, "previews deleted", protocol=protocol.name, previews=len(people))
    return len(people)
