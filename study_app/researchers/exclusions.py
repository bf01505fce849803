"""Whom a researcher leaves out of the analysis, and why: the data stay, the export says so, and it can be undone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app.models import Participant
from study_app.researchers import ledger
from study_app.staff import Exclusion

REASONS = {
    "technical-fault": "Something did not work: display, network, browser",
    "instructions-not-followed": "Did not follow the instructions",
    "inattentive": "Missed attention checks",
    "too-fast": "Answered faster than anybody can decide",
    "one-answer": "Gave one answer over and over",
    "repeated-participation": "Took part before",
    "not-eligible": "Should not have taken part",
    "pilot": "A test run of the team",
    "asked-to-be-left-out": "Asked to be left out",
    "other": "Another reason: say which in the note",
}
NOTE_LIMIT = 1000


def of(database: DatabaseSession, participant: Participant) -> Exclusion | None:
    """Returns a participant's exclusion, if there is one."""
    return database.scalar(select(Exclusion).where(Exclusion.participant_id == participant.id))


def exclude(
    database: DatabaseSession, participant: Participant, reason: str, note: str, *, by: tuple[int, str], now: datetime
) -> None:
    """Leaves a participant out; ``by`` is the researcher's id and address. It is in the ledger, without the note.

    Raises:
        StudyError: the reason is unknown, needs a note, or the participant is left out already or withdrew.
    """
    if participant.withdrawn_at is not None:
        raise StudyError(f"{participant.public_id}: withdrew, and has no data any more that could be left out")
    if reason not in REASONS:
        raise StudyError(f"reason: expected one of {', '.join(REASONS)}, got {reason!r}")
    if len(note) > NOTE_LIMIT or (reason == "other" and not note.strip()):
        raise StudyError(f"note: expected up to {NOTE_LIMIT} characters, and at least one for the reason 'other'")
    if (known := of(database, participant)) is not None:
        raise StudyError(f"{participant.public_id}: is left out already ({known.reason}); undo that first")
    database.add(Exclusion(participant=participant, reason=reason, note=note.strip(), by_id=by[0], at=now))
    database.flush()
    ledger.write(database, by[1], "participant excluded", participant=participant.public_id, reason=reason)


def undo(database: DatabaseSession, participant: Participant, *, by: str) -> None:
    """Takes a participant into the analysis again.

    Raises:
        StudyError: the participant was not left out.
    """
    known = of(database, participant)
    if known is None:
        raise StudyError(f"{participant.public_id}: expected a participant who is left out, found one who is not")
    database.delete(known)
    ledger.write(database, by, "exclusion undone", participant=participant.public_id, reason=known.reason)
