"""Who holds which slice of the design: places are handed out once, given back, and counted under a lock.

The caller holds the protocol's row (``registration.current_protocol(lock=True)``), so that two who enrol at once are
one after the other. A place is held by its participant until the session is over without being finished, or until it
was silent for so long that it counts as abandoned and somebody else needs the place; who comes back then may go on,
without a place. Nothing of theirs is lost.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import aliased

from core.errors import StudyError
from study_app.detection import DetectionProtocol
from study_app.models import Participant, Protocol, Session

PREVIEW_PLACES = 1_000_000  # the first of the places whose slices are for previews alone


class StudyFull(StudyError):  # noqa: N818  (named for what a participant reads)
    """Every place is held by somebody."""


class StudyClosed(StudyError):  # noqa: N818  (named for what a participant reads)
    """The study is paused or closed: nobody can begin."""


def take(database: DatabaseSession, protocol: Protocol, settings: DetectionProtocol, now: datetime) -> int:
    """Returns the lowest place that is free, was given back, or is held by an abandoned session, which loses it.

    Raises:
        StudyFull: the protocol has a number of places, and all are held.
    """
    free = _lowest_free(database, protocol)
    holder = database.scalar(_given_up(protocol, settings, now))
    if holder is not None and holder.place is not None and holder.place < free:
        free, holder.place = holder.place, None
        database.flush()
    if settings.recruitment.places and free >= settings.recruitment.places:
        raise StudyFull(
            f"the study is full: all its {settings.recruitment.places} places are taken; more need another protocol "
            "with a larger recruitment.places"
        )
    return free


def give_back(participant: Participant) -> None:
    """Frees the place of a participant who will not finish: screened out, timed out, withdrawn."""
    participant.place = None


def refuse_unless_open(protocol: Protocol) -> None:
    """Returns if somebody may begin.

    Raises:
        StudyClosed: the study is paused or closed.
    """
    if protocol.closed_at is not None:
        raise StudyClosed(f"protocol {protocol.name!r} was closed on {protocol.closed_at:%Y-%m-%d}: nobody can begin")
    if protocol.paused_at is not None:
        raise StudyClosed(f"protocol {protocol.name!r} is paused since {protocol.paused_at:%Y-%m-%d}: resume it first")


def held(database: DatabaseSession, protocol: Protocol) -> int:
    """Returns how many places are held."""
    query = select(func.count()).where(Participant.protocol_id == protocol.id, Participant.place.is_not(None))
    return database.scalar(query) or 0


def _lowest_free(database: DatabaseSession, protocol: Protocol) -> int:
    """Returns the lowest place that nobody holds."""
    other = aliased(Participant)
    of_it = Participant.protocol_id == protocol.id
    if database.scalar(select(Participant.id).where(of_it, Participant.place == 0)) is None:
        return 0
    followed = exists().where(other.protocol_id == protocol.id, other.place == Participant.place + 1)
    before = database.scalar(select(func.min(Participant.place)).where(of_it, ~followed))
    return 0 if before is None else before + 1


def _given_up(protocol: Protocol, settings: DetectionProtocol, now: datetime) -> Select[Participant]:
    """Returns the query for the holder of the lowest place whose session ended or is abandoned."""
    silent_since = now - timedelta(hours=settings.abandoned_after_hours)
    abandoned = and_(Session.finished_at.is_(None), Session.last_seen_at < silent_since)
    return (
        select(Participant)
        .join(Session, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id, Participant.place.is_not(None))
        .where(or_(Session.ended_at.is_not(None), abandoned))
        .order_by(Participant.place)
        .limit(1)
    )
