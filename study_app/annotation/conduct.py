"""How an annotation task is run: paused, resumed, closed, opened again. Each act is in the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app.annotation import registering
from study_app.annotation.tables import TaskRow
from study_app.researchers import ledger

Act = Literal["pause", "resume", "close", "reopen"]
FROM: dict[Act, tuple[str, ...]] = {
    "pause": ("open",),
    "resume": ("paused",),
    "close": ("open", "paused"),
    "reopen": ("closed",),
}
DONE: dict[Act, str] = {"pause": "paused", "resume": "resumed", "close": "closed", "reopen": "opened again"}


def standing(row: TaskRow) -> str:
    """Returns ``closed``, ``paused`` or ``open``."""
    return "closed" if row.closed_at else "paused" if row.paused_at else "open"


def act(database: DatabaseSession, what: Act, *, by: str, now: datetime) -> TaskRow:
    """Pauses, resumes, closes or reopens the current task, and returns it.

    Raises:
        StudyError: no task is registered, or it does not stand so that this can be done.
    """
    row = registering.needed_task(database, lock=True)
    if (found := standing(row)) not in FROM[what]:
        raise StudyError(f"{row.name}: expected a task that is {' or '.join(FROM[what])}, found one that is {found}")
    match what:
        case "pause":
            row.paused_at = now
        case "resume":
            row.paused_at = None
        case "close":
            row.closed_at = now
        case "reopen":
            row.closed_at = None
    ledger.write(database, by, f"annotation task {DONE[what]}", task=row.name)
    return row
