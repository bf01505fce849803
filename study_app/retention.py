"""Retention: what is kept no longer than it is needed. Run once a day; what it deletes it never needs again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Delete, Update, and_, delete, func, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session as DatabaseSession

from study_app import detection, limits
from study_app.models import Arrival, Participant, Protocol, Session
from study_app.staff import StaffSession

STALE_DAYS = 7  # an arrival that nobody followed up by consent


def forget(database: DatabaseSession, now: datetime) -> dict[str, int]:
    """Deletes what is due at ``now``; returns how many rows of each kind were concerned.

    Platform ids go ``keep_ids_days`` after the end of a session, or after it was last heard of where it has none; that
    somebody came, and from which platform, stays. Arrivals without a participant, sessions of researchers that have
    expired, and counts of tries go as a whole.
    """
    ids = sum(_forget_ids(database, protocol, now) for protocol in database.scalars(select(Protocol)))
    stale = and_(Arrival.participant_id.is_(None), Arrival.arrived_at < now - timedelta(days=STALE_DAYS))
    return {
        "platform ids": ids,
        "arrivals without consent": _changed(database, delete(Arrival).where(stale)),
        "researchers' sessions": _changed(database, delete(StaffSession).where(StaffSession.expires_at < now)),
        "counts of tries": limits.forget_past(database),
    }


def _forget_ids(database: DatabaseSession, protocol: Protocol, now: datetime) -> int:
    kept = timedelta(days=detection.parse(protocol.source, protocol.name).keep_ids_days)
    end = func.coalesce(Session.finished_at, Session.ended_at, Session.last_seen_at)
    due = (
        select(Participant.id)
        .join(Session, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id, end < now - kept)
    )
    known = or_(
        Arrival.platform_id.is_not(None), Arrival.platform_study.is_not(None), Arrival.platform_session.is_not(None)
    )
    forgotten = update(Arrival).where(Arrival.participant_id.in_(due), known)
    return _changed(database, forgotten.values(platform_id=None, platform_study=None, platform_session=None))


def _changed(database: DatabaseSession, statement: Delete | Update) -> int:
    result: Any = database.execute(statement, execution_options={"synchronize_session": False})
    assert isinstance(result, CursorResult)
    return result.rowcount
