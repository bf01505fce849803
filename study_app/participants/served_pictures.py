"""Which file a picture's opaque name stands for, and from when on a session may have it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import aliased

from core.manifest import png_name
from study_app.models import PlannedTrial, Response, Session, StimulusRow, StimulusSet

BLOCKS_AHEAD = 1  # of the block with the first open trial
_BEFORE, _ANSWER = aliased(PlannedTrial), aliased(Response)
_NEAR = (  # whether the last trial of the blocks that must be over is answered; null where there is none
    select(_ANSWER.id.is_not(None))
    .select_from(_BEFORE)
    .outerjoin(_ANSWER, and_(_ANSWER.session_id == _BEFORE.session_id, _ANSWER.trial_index == _BEFORE.trial_index))
    .where(
        _BEFORE.session_id == PlannedTrial.session_id,
        _BEFORE.position < PlannedTrial.position,
        _BEFORE.block < PlannedTrial.block - BLOCKS_AHEAD,
        _BEFORE.aborted_at.is_(None),
    )
    .order_by(_BEFORE.position.desc())
    .limit(1)
    .correlate(PlannedTrial)
    .scalar_subquery()
)
_NAMED = or_(
    and_(PlannedTrial.token == bindparam("token"), PlannedTrial.stimulus_id == StimulusRow.id),
    and_(PlannedTrial.pair_token == bindparam("token"), PlannedTrial.pair_stimulus_id == StimulusRow.id),
)
_PICTURE = (
    select(StimulusRow.sha256, StimulusSet.directory, _NEAR)
    .select_from(PlannedTrial)
    .join(StimulusRow, _NAMED)
    .join(StimulusSet, StimulusRow.set_id == StimulusSet.id)
    .where(PlannedTrial.session_id == bindparam("session"), PlannedTrial.placed)
)


def find(database: DatabaseSession, session: Session, token: str) -> Path | None:
    """Returns the file of one of the session's own pictures that is near enough to be shown; else ``None``.

    Trials are answered in their order, so that what comes before an answered one is answered too.
    """
    found = database.execute(_PICTURE, {"token": token, "session": session.id}).one_or_none()
    if found is None or found[2] is False:
        return None
    return Path(found.directory) / png_name(found.sha256)
