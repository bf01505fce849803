"""Strokes: what a browser may post for one operation, and how it is stored once, in its order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session as DatabaseSession

from core.annotations import operations
from core.annotations.operations import MOST_OPERATIONS, Box, Mark, Operation
from core.errors import DataError
from study_app.annotation import handing_out, registering
from study_app.annotation.annotators import note, own_assignment
from study_app.annotation.tables import Annotator, Assignment, Stroke
from study_app.participants.answers import Check, uuid_text, whole
from study_app.refusals import Refusal

MOST_WORK = 100_000_000  # points × rows that an annotation may cost to rasterise: about 14 s
MOST_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class Posted:
    """One operation as a browser posts it; ``active_ms`` is all the time that went into the picture so far."""

    assignment: str
    index: int
    client_uuid: str
    operation: Any
    active_ms: int

    @cached_property
    def sha256(self) -> str:
        """Hash by which a repeated post is told from a changed one."""
        return payload_sha256({name: getattr(self, name) for name in CHECKS})


class Kept(NamedTuple):
    """What became of a posted stroke."""

    duplicate: bool


def short_text(value: Any) -> str | None:
    """Returns what is wrong with a name of ours; ``None`` if nothing."""
    return None if isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable() else "expected a short text"


CHECKS: dict[str, Check] = {
    "assignment": short_text,
    "index": whole(0, MOST_OPERATIONS),
    "client_uuid": uuid_text,
    "operation": lambda value: None if isinstance(value, Mapping) else "expected an object with a tool",
    "active_ms": whole(0, MOST_MS),
}


def payload_sha256(values: Mapping[str, Any]) -> str:
    """Returns the hash of a payload."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def checked(body: Any, checks: Mapping[str, Callable[[Any], str | None]], what: str) -> dict[str, Any]:
    """Returns the fields of a JSON body.

    Raises:
        Refusal: 422 with a message for each field that is missing, unknown or wrong.
    """
    if not isinstance(body, Mapping):
        raise Refusal(422, "invalid", "expected a JSON object")
    wrong = {str(name)[:100]: "unknown field" for name in body if name not in checks}
    for name, check in checks.items():
        if problem := check(body[name]) if name in body else "missing":
            wrong[name] = problem
    if wrong:
        raise Refusal(422, "invalid", f"{what} has fields that cannot be used", fields=wrong)
    return dict(body)


def parse(body: Any) -> Posted:
    """Returns the stroke in a JSON body, its operation still to be checked against its picture.

    Raises:
        Refusal: 422.
    """
    return Posted(**checked(body, CHECKS, "the stroke"))


def store(database: DatabaseSession, annotator: Annotator, posted: Posted) -> Kept | Refusal:
    """Stores a stroke once and says what became of it; the annotator's row is locked by the caller.

    The same stroke again is a duplicate; another one under the same index is refused and noted: the first one stands. A
    refusal is returned, not raised, where it leaves a line that must be committed.

    Raises:
        Refusal: 404 not theirs, 409 out of order or over, 422 no operation that fits the picture.
    """
    assignment = needed(database, annotator, posted.assignment)
    known = database.execute(
        select(Stroke.payload_sha256).where(Stroke.assignment_id == assignment.id, Stroke.stroke_index == posted.index)
    ).scalar()
    if known == posted.sha256:
        return Kept(duplicate=True)
    if known is not None:
        note(database, annotator, "changed stroke refused", assignment=assignment.public_id, index=posted.index)
        return Refusal(409, "answered", "another stroke has this index; the first one stands")
    refuse_unless_open(annotator, assignment)
    if posted.index != (count := held(database, assignment)):
        raise Refusal(409, "out of order", "strokes come in their order", next_index=count)
    return _add(database, annotator, assignment, posted, _cost(posted, assignment))


def needed(database: DatabaseSession, annotator: Annotator, public_id: str) -> Assignment:
    """Returns one of the annotator's own assignments.

    Raises:
        Refusal: 404; it is not theirs, or there is none: an answer does not tell which.
    """
    assignment = own_assignment(database, annotator, public_id)
    if assignment is None:
        raise Refusal(404, "not found", "no such picture of yours")
    return assignment


def refuse_unless_open(annotator: Annotator, assignment: Assignment) -> None:
    """Returns if an assignment may still be changed by its annotator.

    Raises:
        Refusal: 403 the task is closed, 409 it was practice, was accepted, or the annotator is finished.
    """
    if annotator.task.closed_at is not None:
        raise Refusal(403, "closed", "this task is closed: nothing more is stored", next="/annotate/")
    if assignment.submitted_at is None or assignment.review == "returned":
        return
    over = assignment.of.role == "practice" or assignment.review == "accepted" or annotator.finished_at is not None
    if over:
        raise Refusal(409, "submitted", "this picture was handed in, and cannot be changed any more")


def held(database: DatabaseSession, assignment: Assignment) -> int:
    """Returns how many strokes of an assignment are stored."""
    return database.scalar(select(func.count()).where(Stroke.assignment_id == assignment.id)) or 0


def _cost(posted: Posted, assignment: Assignment) -> int:
    """Returns the operation's part of ``Assignment.work``, after checking it.

    Raises:
        Refusal: 422; the message is that of the operation's check.
    """
    picture = assignment.of.picture
    try:
        operation = operations.parse(posted.operation, picture.width, picture.height)
    except DataError as error:
        raise Refusal(422, "invalid", str(error)) from None
    if posted.index >= MOST_OPERATIONS:
        raise Refusal(422, "too much", f"expected at most {MOST_OPERATIONS:,} strokes on one picture")
    cost = work(operation, picture.height)
    if assignment.work + cost > MOST_WORK:
        raise Refusal(422, "too much", "this picture has as many long strokes with a large brush as can be kept")
    return cost


def work(operation: Operation, height: int) -> int:
    """Returns points × rows that an operation touches at most: what it costs to rasterise."""
    match operation:
        case Mark():
            return 1
        case Box():
            return height
    y = operation.points[:, 1]
    reach = getattr(operation, "size", 0.0)
    rows = min(height, float(reach) + 1 + float(abs(y[1:] - y[:-1]).mean() if len(y) > 1 else 0))
    return int(len(y) * rows) + 1


def _add(
    database: DatabaseSession, annotator: Annotator, assignment: Assignment, posted: Posted, cost: int
) -> Kept | Refusal:
    now = datetime.now(UTC)
    assignment.active_ms = credited(assignment, posted.active_ms, now)
    values = {
        "assignment_id": assignment.id, "stroke_index": posted.index, "client_uuid": posted.client_uuid,
        "payload_sha256": posted.sha256, "operation": dict(posted.operation), "active_ms": assignment.active_ms,
        "received_at": now,
    }  # fmt: skip
    dialect: Any = sqlite if database.get_bind().dialect.name == "sqlite" else postgresql
    added = dialect.insert(Stroke).values(values).on_conflict_do_nothing(index_elements=["client_uuid"])
    if database.scalar(added.returning(Stroke.id)) is None:
        note(database, annotator, "reused client_uuid refused", assignment=assignment.public_id, index=posted.index)
        return Refusal(409, "reused", "this client_uuid belongs to another stroke")
    assignment.work += cost
    if assignment.submitted_at is None:
        handing_out.take_up(database, assignment)
    assignment.expires_at = now + handing_out.lasting(registering.settings_of(annotator.task))
    annotator.last_seen_at = now
    return Kept(duplicate=False)


def credited(assignment: Assignment, active_ms: int, now: datetime) -> int:
    """Returns the active time that is kept: it never falls, and is at most what has passed since the handing out."""
    passed = int(1000 * (now - assignment.reserved_at).total_seconds())
    return max(assignment.active_ms, min(active_ms, passed))
