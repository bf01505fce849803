"""Withdrawal: what is kept of a participant is deleted, for good. A row without content says that there was one."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, update
from sqlalchemy.orm import Session as DatabaseSession

from study_app.models import (
    Arrival,
    AuditEvent,
    CheckResult,
    OneTimeLink,
    PlannedTrial,
    Response,
    Session,
    Visit,
)
from study_app.participants import participation
from study_app.scheduling import places
from study_app.staff import Exclusion


def withdraw(database: DatabaseSession, session: Session) -> None:
    """Deletes a session's answers, plan, steps and visits, and what a platform said of its person.

    A session that was finished keeps its completion code, so that its person is paid all the same. A one-time link
    cannot be used again. A platform's id is gone, and so nothing keeps its person from beginning anew.
    """
    now = datetime.now(UTC)
    for table in (Response, PlannedTrial, CheckResult, Visit):
        database.execute(delete(table).where(table.session_id == session.id))
    _forget_person(database, session.participant_id, now)
    database.execute(update(AuditEvent).where(AuditEvent.session_id == session.id).values(detail={}))
    participant = session.participant
    participant.withdrawn_at, participant.locale = now, ""
    places.give_back(participant)
    session.ended_at, session.end_reason = session.ended_at or now, "withdrawn"
    participation.audit(database, "withdrawn", session)


def _forget_person(database: DatabaseSession, participant_id: int, now: datetime) -> None:
    arrived = delete(Arrival).where(Arrival.participant_id == participant_id).returning(Arrival.link_id)
    if (link_id := database.scalar(arrived)) is not None:
        database.execute(update(OneTimeLink).where(OneTimeLink.id == link_id).values(expires_at=now))
    database.execute(delete(Exclusion).where(Exclusion.participant_id == participant_id))
