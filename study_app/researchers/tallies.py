"""Counts for the dashboard, added up by the database: what comes out grows with cells, not with trials.

Previews and participants who withdrew are never counted. Whom a researcher excluded is left out of everything that is
said of answers, and counted among the sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    case,
    cast,
    exists,
    extract,
    func,
    literal,
    select,
)
from sqlalchemy.orm import Session as DatabaseSession

from study_app.models import CheckResult, Participant, PlannedTrial, Response, Session, StimulusRow
from study_app.researchers.dashboard import Quota, SessionTally, Tally
from study_app.staff import Exclusion

Who = Literal["everybody", "people", "robots"]
RT_BIN_MS = 100
SAME_TRIAL = and_(Response.session_id == PlannedTrial.session_id, Response.trial_index == PlannedTrial.trial_index)


@dataclass(frozen=True)
class Chosen:
    """Whose answers are counted."""

    protocol_id: int
    who: Who = "everybody"

    @property
    def participants(self) -> ColumnElement[bool]:
        """The condition on ``Participant``."""
        chosen = (Participant.protocol_id == self.protocol_id) & Participant.preview.is_(False)
        return chosen if self.who == "everybody" else chosen & Participant.robot.is_(self.who == "robots")

    @property
    def analysed(self) -> ColumnElement[bool]:
        """The condition on ``Participant`` for what is said of answers."""
        excluded = exists().where(Exclusion.participant_id == Participant.id)
        return self.participants & ~excluded & Participant.withdrawn_at.is_(None)


def _answers(chosen: Chosen, *columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(Response)
        .join(PlannedTrial, SAME_TRIAL)
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(chosen.analysed)
    )


def main_answers(reader: DatabaseSession, chosen: Chosen) -> list[Tally]:
    """Returns the answers to main trials other than catch trials, by source model and ε."""
    said = case((Response.correct == PlannedTrial.signal, 1), else_=0)  # right on signal or wrong on noise: a "yes"
    run, eps = StimulusRow.run, StimulusRow.eps_asked
    query = (
        _answers(chosen, run, eps, func.sum(said), func.count())
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .where(PlannedTrial.phase == "main", PlannedTrial.catch.is_(None))
        .group_by(run, eps)
    )
    return [Tally(name, level, yes, trials) for name, level, yes, trials in reader.execute(query)]


def catch_answers(reader: DatabaseSession, chosen: Chosen) -> dict[str, tuple[int, int]]:
    """Returns passed and answered catch trials by kind."""
    passed = func.sum(case((Response.correct.is_(True), 1), else_=0))
    query = (
        _answers(chosen, PlannedTrial.catch, passed, func.count())
        .where(PlannedTrial.catch.is_not(None))
        .group_by(PlannedTrial.catch)
    )
    return {kind: (right, trials) for kind, right, trials in reader.execute(query)}


def response_times(reader: DatabaseSession, chosen: Chosen) -> dict[int, int]:
    """Returns main answers by response time in bins of ``RT_BIN_MS``, from the bin's number."""
    number = cast(func.floor(Response.rt_ms / RT_BIN_MS), Integer).label("bin")
    inside = _answers(chosen, number).where(PlannedTrial.phase == "main", PlannedTrial.catch.is_(None)).subquery()
    query = select(inside.c.bin, func.count()).group_by(inside.c.bin)
    return _pairs(reader, query)


def answers_by_minute(reader: DatabaseSession, chosen: Chosen, now: datetime, minutes: int) -> list[int]:
    """Returns how many answers arrived in each of the last ``minutes`` minutes, the last one still running."""
    first = int(now.timestamp()) // 60 - minutes + 1
    seconds = cast(func.floor(extract("epoch", Response.received_at)), Integer)
    since = datetime.fromtimestamp(first * 60, tz=now.tzinfo)
    inside = (
        select((seconds // 60).label("minute"))
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(chosen.participants, Response.received_at >= since)
        .subquery()
    )
    found = _pairs(reader, select(inside.c.minute, func.count()).group_by(inside.c.minute))
    return [found.get(first + index, 0) for index in range(minutes)]


def _pairs(reader: DatabaseSession, query: Select[Any]) -> dict[int, int]:
    return {int(index): count for index, count in reader.execute(query)}


def _progress(chosen: Chosen) -> Subquery:
    """Block of the last answer and answers of each session that has any."""
    return (
        select(
            Response.session_id,
            func.count().label("answers"),
            func.max(PlannedTrial.block).label("block"),
        )
        .join(PlannedTrial, SAME_TRIAL)
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(chosen.participants)
        .group_by(Response.session_id)
        .subquery()
    )


def sessions(reader: DatabaseSession, chosen: Chosen, silent_since: datetime) -> list[SessionTally]:
    """Returns how many sessions stand where; silent are those not heard of since ``silent_since``."""
    progress = _progress(chosen)
    passed = (
        select(CheckResult.session_id, func.count().label("steps"))
        .where(CheckResult.passed)
        .group_by(CheckResult.session_id)
        .subquery()
    )
    each = (
        select(
            Session.finished_at.is_not(None).label("finished"),
            case((Participant.withdrawn_at.is_not(None), "withdrawn"), else_=Session.end_reason).label("end_reason"),
            (Session.last_seen_at < silent_since).label("silent"),
            progress.c.block,
            func.coalesce(passed.c.steps, 0).label("steps"),
        )
        .join(Participant, Session.participant_id == Participant.id)
        .outerjoin(progress, progress.c.session_id == Session.id)
        .outerjoin(passed, passed.c.session_id == Session.id)
        .where(chosen.participants)
        .subquery()
    )
    columns: list[Any] = list(each.c)
    query: Select[Any] = select(*columns, func.count()).group_by(*columns)
    return [
        SessionTally(bool(finished), reason, bool(silent), block, steps, count)
        for finished, reason, silent, block, steps, count in reader.execute(query)
    ]


def silent_in_mid_block(
    reader: DatabaseSession, chosen: Chosen, now: datetime, after: timedelta, until: datetime
) -> int:
    """Returns how many open sessions were not heard of for ``after`` in the middle of a block.

    Those not heard of since ``until`` are abandoned and not counted.
    """
    progress = _progress(chosen)
    rest = (
        select(literal(1))
        .select_from(PlannedTrial)
        .outerjoin(Response, SAME_TRIAL)
        .where(
            PlannedTrial.session_id == Session.id,
            PlannedTrial.block == progress.c.block,
            PlannedTrial.aborted_at.is_(None),
            Response.id.is_(None),
        )
        .exists()
    )
    query = (
        select(func.count())
        .select_from(Session)
        .join(progress, progress.c.session_id == Session.id)
        .where(
            Session.finished_at.is_(None),
            Session.ended_at.is_(None),
            Session.last_seen_at < now - after,
            Session.last_seen_at >= until,
            rest,
        )
    )
    return reader.scalar(query) or 0


def pending(reader: DatabaseSession, chosen: Chosen, silent_since: datetime) -> dict[tuple[str, int], int]:
    """Returns main trials by source model and ε that open sessions have still before them."""
    query = (
        select(StimulusRow.run, StimulusRow.eps_asked, func.count())
        .select_from(PlannedTrial)
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .join(Session, PlannedTrial.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .outerjoin(Response, SAME_TRIAL)
        .where(
            chosen.analysed,
            Session.finished_at.is_(None),
            Session.ended_at.is_(None),
            Session.last_seen_at >= silent_since,
            PlannedTrial.phase == "main",
            PlannedTrial.catch.is_(None),
            PlannedTrial.placed,
            PlannedTrial.aborted_at.is_(None),
            PlannedTrial.signal,
            Response.id.is_(None),
        )
        .group_by(StimulusRow.run, StimulusRow.eps_asked)
    )
    return {(str(run), eps): count for run, eps, count in reader.execute(query)}


def quotas(
    cells: list[tuple[str, int]], answered: list[Tally], waiting: dict[tuple[str, int], int], aim: int
) -> list[Quota]:
    """Returns every cell's answers, in the order of ``cells``."""
    counts = {(each.run, each.eps): each.trials for each in answered}
    return [Quota(run, eps, counts.get((run, eps), 0), waiting.get((run, eps), 0), aim) for run, eps in cells]


def special(reader: DatabaseSession, protocol_id: int) -> dict[str, int]:
    """Returns how many of a protocol's participants are robots, previews, excluded and withdrawn."""
    excluded = exists().where(Exclusion.participant_id == Participant.id)
    kinds = {
        "robots": Participant.robot & ~Participant.preview,
        "previews": Participant.preview,
        "excluded": excluded,
        "withdrawn": Participant.withdrawn_at.is_not(None),
    }
    counts = [func.coalesce(func.sum(case((condition, 1), else_=0)), 0) for condition in kinds.values()]
    row = reader.execute(select(*counts).where(Participant.protocol_id == protocol_id)).one()
    return dict(zip(kinds, row, strict=True))
