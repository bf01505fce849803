"""From consent to completion code: what happens to an annotator, as functions of a database session."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import contains_eager

from study_app import security
from study_app.annotation import handing_out, registering
from study_app.annotation.tables import (
    AnnotationEvent,
    Annotator,
    Assignment,
    Overlap,
    Review,
    Stroke,
    Submission,
    TaskRow,
)
from study_app.participants.participation import CODE_LETTERS

_FOUND = (
    select(Annotator)
    .join(Annotator.task)
    .options(contains_eager(Annotator.task))
    .where(Annotator.token_sha256 == bindparam("token_sha256"))
)
_LOCKED = _FOUND.with_for_update(of=Annotator, key_share=True)  # rows that refer to it may be added meanwhile


def enrol(database: DatabaseSession, row: TaskRow, *, token: str, locale: str, robot: bool) -> Annotator:
    """Adds an annotator who consented; freezes the task if it is the first. The caller holds the task's row."""
    now = datetime.now(UTC)
    annotator = Annotator(
        public_id=f"w-{secrets.token_hex(8)}",
        task=row,
        number=registering.next_number(database, row),
        token_sha256=security.hash_token(token),
        locale=locale,
        robot=robot,
        consented_at=now,
        last_seen_at=now,
    )
    row.frozen_at = row.frozen_at or now
    database.add(annotator)
    database.flush()
    note(database, annotator, "consent", robot=robot, task=row.sha256)
    return annotator


def find(database: DatabaseSession, token: str | None, *, lock: bool = False) -> Annotator | None:
    """Returns the annotator of a cookie's token; ``lock`` holds their row until the transaction ends."""
    if not token:
        return None
    return database.scalar(_LOCKED if lock else _FOUND, {"token_sha256": security.hash_token(token)})


def own_assignment(database: DatabaseSession, annotator: Annotator, public_id: str) -> Assignment | None:
    """Returns one of the annotator's own assignments by its name; another's is as unknown as none at all."""
    query = select(Assignment).where(Assignment.public_id == public_id, Assignment.annotator_id == annotator.id)
    return database.scalar(query)


def done(database: DatabaseSession, annotator: Annotator) -> int:
    """Returns how many pictures an annotator has handed in."""
    query = select(func.count()).where(
        Assignment.annotator_id == annotator.id,
        Assignment.submitted_at.is_not(None),
        Assignment.review.is_distinct_from("returned"),
    )
    return database.scalar(query) or 0


def finish(database: DatabaseSession, annotator: Annotator) -> None:
    """Gives an annotator for whom nothing is left the completion code."""
    if annotator.completion_code is None:
        annotator.completion_code = "-".join("".join(secrets.choice(CODE_LETTERS) for _ in range(4)) for _ in range(3))
        annotator.finished_at = datetime.now(UTC)
        note(database, annotator, "finish")


def withdraw(database: DatabaseSession, annotator: Annotator) -> None:
    """Deletes what an annotator drew and handed in; a row without content says that there was one."""
    database.scalar(select(TaskRow.id).where(TaskRow.id == annotator.task_id).with_for_update(key_share=True))
    theirs = list(database.scalars(select(Assignment).where(Assignment.annotator_id == annotator.id)))
    for assignment in theirs:
        handing_out.give_up(database, assignment)
    ids = [assignment.id for assignment in theirs]
    database.flush()
    database.execute(delete(Overlap).where(or_(Overlap.first_id.in_(ids), Overlap.second_id.in_(ids))))
    for table in (Review, Submission, Stroke):
        database.execute(delete(table).where(table.assignment_id.in_(ids)))
    database.execute(delete(Assignment).where(Assignment.annotator_id == annotator.id))
    database.execute(update(AnnotationEvent).where(AnnotationEvent.annotator_id == annotator.id).values(detail={}))
    annotator.withdrawn_at, annotator.locale = datetime.now(UTC), ""
    note(database, annotator, "withdrawn")


def note(database: DatabaseSession, annotator: Annotator, event: str, **detail: Any) -> None:
    """Adds a line to the log of what happened to annotators."""
    database.add(AnnotationEvent(at=datetime.now(UTC), event=event, annotator_id=annotator.id, detail=detail))
