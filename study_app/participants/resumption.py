"""What happens when a session goes on at another page load: after a reload, a crash, or a night.

A trial whose picture was seen and not answered is aborted, and another picture of the same cell stands in for it. After
a long gap there are warm-up trials first, which nobody analyses. After the protocol's limit the session is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as DatabaseSession

from study_app import scheduling
from study_app.detection import DetectionProtocol
from study_app.models import PlannedTrial, Session, StimulusRow, Visit
from study_app.participants.answers import CHECKS, Check
from study_app.participants.participation import audit, end_if_late, next_trial, protocol_of
from study_app.refusals import Refusal
from study_app.scheduling import Cell, planning
from study_app.scheduling.planning import Material

_INSERTS = {
    "sqlite": sqlite.insert(Visit).on_conflict_do_nothing(index_elements=["client_uuid"]).returning(Visit.id),
    "postgresql": postgresql.insert(Visit).on_conflict_do_nothing(index_elements=["client_uuid"]).returning(Visit.id),
}


def _seen_index(value: Any) -> str | None:
    return None if value is None else CHECKS["trial_index"](value)


FIELDS: dict[str, Check] = {"client_uuid": CHECKS["client_uuid"], "seen_index": _seen_index}


@dataclass(frozen=True)
class PageLoad:
    """What a browser posts when the page of the task is loaded.

    Attributes:
        client_uuid: random id of this load.
        seen_index: the trial that an earlier page had begun, if it was not answered.
    """

    client_uuid: str
    seen_index: int | None


@dataclass(frozen=True)
class Outcome:
    """What became of a page load.

    Attributes:
        new: false when it had been noted before.
        gap_s: seconds since the session's last sign of life.
        warm_up: whether instructions are shown again, and warm-up trials follow where practice does not.
        replaced: whether another picture stands in for the one that was seen.
    """

    new: bool
    gap_s: float
    warm_up: bool
    replaced: bool


def parse(body: Any) -> PageLoad:
    """Returns the page load in a JSON body.

    Raises:
        Refusal: 422 with a message for each field that is missing, unknown or wrong.
    """
    if not isinstance(body, Mapping):
        raise Refusal(422, "invalid", "expected a JSON object")
    wrong = {name: "unknown field" for name in body if name not in FIELDS}
    for name, check in FIELDS.items():
        problem = check(body[name]) if name in body else "missing"
        if problem:
            wrong[name] = problem
    if wrong:
        raise Refusal(422, "invalid", "the visit has fields that cannot be used", fields=wrong)
    return PageLoad(body["client_uuid"], body["seen_index"])


def note(database: DatabaseSession, session: Session, load: PageLoad) -> Outcome | Refusal:
    """Notes a page load once and does what it asks for; the session's row is locked by the caller.

    The same load again has the same outcome. A refusal is returned, not raised, where what was done must be committed.
    """
    protocol, now = protocol_of(session), datetime.now(UTC)
    if session.finished_at is not None:
        return Outcome(new=False, gap_s=0.0, warm_up=False, replaced=False)
    known = database.scalar(select(Visit).where(Visit.client_uuid == load.client_uuid))
    if known is not None and known.session_id == session.id:
        return _again(database, session, protocol, known)
    if session.ended_at is not None or end_if_late(database, session, protocol, now):
        return Refusal(409, "ended", "this session is over", next="/ended")
    gap_s = (now - session.last_seen_at).total_seconds()
    if not _noted(database, session, load, gap_s, now):
        return Refusal(409, "reused", "this client_uuid belongs to another visit")
    session.last_seen_at = now
    return _go_on(database, session, protocol, load, gap_s)


def _go_on(
    database: DatabaseSession, session: Session, protocol: DetectionProtocol, load: PageLoad, gap_s: float
) -> Outcome:
    material: Material | None = None
    ahead, replaced = next_trial(database, session), False
    if ahead is not None and ahead.phase == "main" and ahead.trial_index == load.seen_index:
        material = planning.material(database, session.participant.protocol)
        replaced = _replace(database, session, material, ahead)
        ahead = next_trial(database, session)
    if _is_long(protocol, gap_s) and ahead is not None and ahead.phase == "main":
        material = material or planning.material(database, session.participant.protocol)
        _warm_up(database, session, material, ahead)
        ahead = next_trial(database, session)
    return Outcome(new=True, gap_s=gap_s, warm_up=_shows_instructions(protocol, gap_s, ahead), replaced=replaced)


def _again(database: DatabaseSession, session: Session, protocol: DetectionProtocol, known: Visit) -> Outcome:
    """Returns the outcome of a load that was noted before, as it can be read off what was done then."""
    aborted = select(PlannedTrial.aborted_at).where(
        PlannedTrial.session_id == session.id, PlannedTrial.trial_index == known.seen_index
    )
    warm_up = _shows_instructions(protocol, known.gap_s, next_trial(database, session))
    return Outcome(new=False, gap_s=known.gap_s, warm_up=warm_up, replaced=database.scalar(aborted) is not None)


def _is_long(protocol: DetectionProtocol, gap_s: float) -> bool:
    return gap_s > 60 * protocol.pause.warm_up_after_minutes


def _shows_instructions(protocol: DetectionProtocol, gap_s: float, ahead: PlannedTrial | None) -> bool:
    return ahead is not None and (_is_long(protocol, gap_s) or ahead.phase == "warm-up")


def _noted(database: DatabaseSession, session: Session, load: PageLoad, gap_s: float, now: datetime) -> bool:
    values = {
        "session_id": session.id, "client_uuid": load.client_uuid, "at": now, "gap_s": gap_s,
        "seen_index": load.seen_index,
    }  # fmt: skip
    return database.scalar(_INSERTS[database.get_bind().dialect.name], values) is not None


def _replace(database: DatabaseSession, session: Session, material: Material, seen: PlannedTrial) -> bool:
    """Puts another picture of the same cell in the place of one that was seen; false where none is left."""
    used = _sources(database, session)
    spare = next(iter(scheduling.spares(material.design, session.participant.number, used)), None)
    if spare is None:
        audit(database, "no spare picture", session, trial_index=seen.trial_index)
        return False
    cell = _cell(database, seen)
    paired = seen.pair_stimulus_id is not None
    new = PlannedTrial(
        session_id=session.id,
        trial_index=_next_index(database, session),
        position=seen.position + planning.REPLACED_STEP,
        phase=seen.phase,
        block=seen.block,
        stimulus_id=material.rows[spare, cell],
        signal=seen.signal,
        target_side=seen.target_side,
        catch=seen.catch,
        instructed=seen.instructed,
        placed=True,
        pair_stimulus_id=material.rows[spare, None] if paired else None,
        **planning.new_tokens(paired=paired),
    )
    seen.aborted_at = datetime.now(UTC)
    database.add(new)
    audit(database, "trial replaced", session, trial_index=seen.trial_index, by=new.trial_index)
    return True


def _warm_up(database: DatabaseSession, session: Session, material: Material, ahead: PlannedTrial) -> None:
    """Puts warm-up trials before the next main trial."""
    of_session = PlannedTrial.session_id == session.id
    shown = select(func.count()).where(of_session, PlannedTrial.phase == "warm-up")
    before = select(func.max(PlannedTrial.position)).where(of_session, PlannedTrial.position < ahead.position)
    number, index = database.scalar(shown) or 0, _next_index(database, session)
    last = database.scalar(before)
    first = 1 + (ahead.position - planning.POSITION_STEP if last is None else last)
    trials = scheduling.warm_up(material.design, session.participant.number, number)
    if first + len(trials) > ahead.position:
        return  # dozens of long gaps at one trial
    for step, trial in enumerate(trials):
        row = planning.planned_trial(material, trial, index + step, first + step)
        row.session_id, row.block = session.id, ahead.block
        database.add(row)
    audit(database, "warm-up", session, trials=len(trials))


def _sources(database: DatabaseSession, session: Session) -> list[str]:
    query = (
        select(StimulusRow.source_id)
        .join(PlannedTrial, PlannedTrial.stimulus_id == StimulusRow.id)
        .where(PlannedTrial.session_id == session.id)
    )
    return list(database.scalars(query))


def _cell(database: DatabaseSession, trial: PlannedTrial) -> Cell | None:
    row = database.get_one(StimulusRow, trial.stimulus_id)
    return Cell(row.run, row.eps_asked) if row.run else None


def _next_index(database: DatabaseSession, session: Session) -> int:
    highest = database.scalar(select(func.max(PlannedTrial.trial_index)).where(PlannedTrial.session_id == session.id))
    return 0 if highest is None else highest + 1
