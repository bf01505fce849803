"""Gives the next trial of an adaptive study its ε, once the answer before it is stored."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from study_app.detection import DetectionProtocol
from study_app.models import PlannedTrial, Response, Session, StimulusRow
from study_app.participants.participation import next_trial
from study_app.scheduling import adaptive, planning
from study_app.scheduling.adaptive import Seen


def place_next(database: DatabaseSession, session: Session, protocol: DetectionProtocol) -> None:
    """Places the session's next trial if it waits for that; the session's row is locked by the caller."""
    ahead = next_trial(database, session)
    if ahead is None or ahead.placed:
        return
    provisional = database.get_one(StimulusRow, ahead.stimulus_id)
    choices = _choices(database, protocol, provisional)
    law = planning.law(protocol, choices)
    ahead.stimulus_id = choices[adaptive.next_level(law, _seen(database, session, provisional.run))]
    ahead.placed = True


def _choices(database: DatabaseSession, protocol: DetectionProtocol, like: StimulusRow) -> dict[int, int]:
    """Returns the row of each level of the same source and source model."""
    query = select(StimulusRow.eps_asked, StimulusRow.id).where(
        StimulusRow.set_id == like.set_id,
        StimulusRow.source_id == like.source_id,
        StimulusRow.run == like.run,
        StimulusRow.region == like.region,
        StimulusRow.attack == like.attack,
    )
    return {eps: row_id for eps, row_id in database.execute(query) if not protocol.eps or eps in protocol.eps}


def _seen(database: DatabaseSession, session: Session, run: str | None) -> list[Seen]:
    """Returns the session's answers to the perturbed main trials of one source model."""
    query = (
        select(StimulusRow.eps_asked, Response.correct)
        .join(PlannedTrial, PlannedTrial.stimulus_id == StimulusRow.id)
        .join(
            Response,
            (Response.session_id == PlannedTrial.session_id) & (Response.trial_index == PlannedTrial.trial_index),
        )
        .where(
            PlannedTrial.session_id == session.id,
            PlannedTrial.phase == "main",
            PlannedTrial.catch.is_(None),
            PlannedTrial.signal,
            StimulusRow.run == run,
        )
    )
    return [Seen(eps, bool(correct)) for eps, correct in database.execute(query)]
