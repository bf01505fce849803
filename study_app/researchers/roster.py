"""Participants as a researcher sees them: a list, and everything that is known of one. No platform id is read here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session as DatabaseSession

from study_app.models import CheckResult, Participant, PlannedTrial, Response, Session, StimulusRow, Visit
from study_app.researchers import dashboard, flags
from study_app.researchers.flags import Flag, Shown
from study_app.researchers.tallies import SAME_TRIAL
from study_app.staff import Exclusion

PAGE = 25
KINDS = ("everybody", "people", "robots", "previews", "left out")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the list of participants."""

    participant: Participant
    session: Session
    status: str
    answered: int
    planned: int
    median_rt_ms: float | None
    flags: tuple[Flag, ...]
    excluded: str | None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One page of the list; ``total`` entries in all."""

    entries: list[Entry]
    page: int
    total: int

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // PAGE))


def listing(
    database: DatabaseSession, protocol_id: int, kind: str, status: str, page: int, silent_since: datetime
) -> Listing:
    """Returns a page (from 1) of a protocol's participants, the latest first."""
    found = _chosen(protocol_id, kind, status, silent_since)
    total = database.scalar(select(func.count()).select_from(found.subquery())) or 0
    rows = database.execute(found.order_by(Participant.number.desc()).limit(PAGE).offset((page - 1) * PAGE)).all()
    shown = _shown(database, [session.id for _, session, _ in rows])
    planned = _planned(database, [session.id for _, session, _ in rows])
    entries = [
        _entry(participant, session, reason, shown[session.id], planned.get(session.id, 0), silent_since)
        for participant, session, reason in rows
    ]
    return Listing(entries=entries, page=page, total=total)


def _chosen(protocol_id: int, kind: str, status: str, silent_since: datetime) -> Select[Participant, Session, str]:
    query = (
        select(Participant, Session, Exclusion.reason)
        .join(Session, Session.participant_id == Participant.id)
        .outerjoin(Exclusion, Exclusion.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol_id)
    )
    kinds = {
        "everybody": Participant.preview.is_(False),
        "people": Participant.preview.is_(False) & Participant.robot.is_(False),
        "robots": Participant.preview.is_(False) & Participant.robot,
        "previews": Participant.preview,
        "left out": Exclusion.id.is_not(None),
    }
    query = query.where(kinds.get(kind, kinds["everybody"]))
    ended, finished = Session.end_reason.is_not(None), Session.finished_at.is_not(None)
    going = and_(~ended, ~finished)
    silent = Session.last_seen_at < silent_since
    conditions = {"finished": and_(finished, ~ended), "started": and_(going, ~silent), "abandoned": and_(going, silent)}
    for reason in ("screened-out", "timed-out", "withdrawn"):
        conditions[reason] = Session.end_reason == reason
    return query.where(conditions[status]) if status in conditions else query


def _shown(database: DatabaseSession, session_ids: list[int]) -> dict[int, list[Shown]]:
    query = (
        select(
            Response.session_id, Response.response, Response.correct, PlannedTrial.catch, Response.rt_ms,
            Response.blur_count, Response.hidden_count, Response.long_frames, Response.device_pixel_ratio,
        )
        .join(PlannedTrial, SAME_TRIAL)
        .where(Response.session_id.in_(session_ids))
        .order_by(Response.session_id, PlannedTrial.position)
    )  # fmt: skip
    names = ("response", "correct", "catch", "rt_ms", "blur_count", "hidden_count", "long_frames", "device_pixel_ratio")
    found = defaultdict[int, list[Shown]](list)
    for row in database.execute(query).mappings():
        found[row["session_id"]].append(Shown(**{name: row[name] for name in names}))
    return found


def _planned(database: DatabaseSession, session_ids: list[int]) -> dict[int, int]:
    query = (
        select(PlannedTrial.session_id, func.count())
        .where(PlannedTrial.session_id.in_(session_ids), PlannedTrial.aborted_at.is_(None))
        .group_by(PlannedTrial.session_id)
    )
    return {session_id: count for session_id, count in database.execute(query)}  # noqa: C416  (rows are no pairs to mypy)


def _entry(
    participant: Participant,
    session: Session,
    excluded: str | None,
    shown: list[Shown],
    planned: int,
    silent_since: datetime,
) -> Entry:
    return Entry(
        participant=participant,
        session=session,
        status=status_of(participant, session, silent_since),
        answered=len(shown),
        planned=planned,
        median_rt_ms=median([trial.rt_ms for trial in shown]),
        flags=flags.flags(shown),
        excluded=excluded,
    )


def status_of(participant: Participant, session: Session, silent_since: datetime) -> str:
    """Returns how far a participant came."""
    reason = "withdrawn" if participant.withdrawn_at is not None else session.end_reason
    finished, silent = session.finished_at is not None, session.last_seen_at < silent_since
    return dashboard.status(finished=finished, end_reason=reason, silent=silent)


def median(values: list[float]) -> float | None:
    """Returns the median, ``None`` of nothing."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return None
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything that is known of one participant; each trial with its stimulus and its answer, if it has one."""

    entry: Entry
    trials: list[tuple[PlannedTrial, StimulusRow, Response | None]]
    visits: list[Visit]
    checks: list[CheckResult]
    exclusion: Exclusion | None


def find(database: DatabaseSession, protocol_id: int, public_id: str) -> Participant | None:
    """Returns the participant with this id in a protocol."""
    query = select(Participant).where(Participant.protocol_id == protocol_id, Participant.public_id == public_id)
    return database.scalar(query)


def person(database: DatabaseSession, participant: Participant, silent_since: datetime) -> Person | None:
    """Returns what is known of a participant; ``None`` once nothing is, after a withdrawal."""
    session = database.scalar(select(Session).where(Session.participant_id == participant.id))
    if session is None:
        return None
    exclusion = database.scalar(select(Exclusion).where(Exclusion.participant_id == participant.id))
    shown, planned = _shown(database, [session.id]), _planned(database, [session.id])
    reason = exclusion.reason if exclusion else None
    return Person(
        entry=_entry(participant, session, reason, shown[session.id], planned.get(session.id, 0), silent_since),
        trials=_trials(database, session),
        visits=list(database.scalars(select(Visit).where(Visit.session_id == session.id).order_by(Visit.id))),
        checks=list(
            database.scalars(select(CheckResult).where(CheckResult.session_id == session.id).order_by(CheckResult.id))
        ),
        exclusion=exclusion,
    )


def _trials(database: DatabaseSession, session: Session) -> list[tuple[PlannedTrial, StimulusRow, Response | None]]:
    query = (
        select(PlannedTrial, StimulusRow, Response)
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .outerjoin(Response, SAME_TRIAL)
        .where(PlannedTrial.session_id == session.id)
        .where(or_(Response.id.is_not(None), PlannedTrial.aborted_at.is_not(None)))
        .order_by(PlannedTrial.position)
    )
    return [(planned, stimulus, response) for planned, stimulus, response in database.execute(query)]
