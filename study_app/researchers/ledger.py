"""What researchers and commands did, as a chain of hashes: each row holds the hash of the row before it.

A row's hash is the SHA-256 of its canonical JSON, in which the hash before it stands. A row that is changed, taken out,
put in or moved later breaks the chain at that place. Rows taken off the end leave an unbroken chain: note the last hash
elsewhere now and then, and ask whether the chain still holds it (``audit verify --head``).
"""

from __future__ import annotations

import getpass
import hashlib
import json
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app.staff import Action

START = "0" * 64  # what the first row holds in place of a hash before it


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A verified chain: how many rows it has, and the hash of the last one."""

    actions: int
    head: str


def write(database: DatabaseSession, actor: str, action: str, **detail: Any) -> Action:
    """Adds a row in the caller's transaction, and with it stays or goes; other writers wait until that has ended."""
    if database.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        database.execute(text("LOCK TABLE action IN SHARE ROW EXCLUSIVE MODE"))
    last = database.scalar(select(Action).order_by(Action.sequence.desc()).limit(1))
    row = Action(
        sequence=0 if last is None else last.sequence + 1,
        at=datetime.now(UTC),
        actor=actor,
        action=action,
        detail=detail,
        previous_sha256=START if last is None else last.sha256,
    )
    row.sha256 = sha256(row)
    database.add(row)
    database.flush()
    return row


def sha256(row: Action) -> str:
    """Returns the hash that a row should have: of its canonical JSON (sorted keys, no blanks, UTF-8)."""
    content = {
        "sequence": row.sequence,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": row.actor,
        "action": row.action,
        "detail": row.detail,
        "previous_sha256": row.previous_sha256,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def verify(database: DatabaseSession, head: str | None = None) -> Chain:
    """Returns the chain's length and last hash, once every row was checked; ``head`` must be the hash of one of them.

    Raises:
        StudyError: a row was changed, taken out, put in or moved, or no row has the hash ``head``.
    """
    query = select(Action).order_by(Action.sequence).execution_options(yield_per=1000)
    with closing(database.scalars(query)) as rows:
        return check(rows, head)


def check(rows: Iterable[Action], head: str | None = None) -> Chain:
    """Returns what ``verify`` returns, of rows in the order of their sequence."""
    count, previous, found = 0, START, head is None
    for row in rows:
        if row.sequence != count:
            raise StudyError(
                f"audit: expected action {count}, found action {row.sequence}: a row was taken out or moved"
            )
        if row.previous_sha256 != previous:
            raise StudyError(f"audit: action {count} does not follow the one before it: a row was replaced or moved")
        if row.sha256 != sha256(row):
            raise StudyError(f"audit: action {count} ({row.action}) was changed after it was written")
        count, previous, found = count + 1, row.sha256, found or row.sha256 == head
    if not found:
        raise StudyError(f"audit: no action has the hash {head}: rows were taken off the end, or it is another study's")
    return Chain(actions=count, head=previous)


def on_server() -> str:
    """Returns the actor of a command: the operating system's user, who needs no account."""
    try:
        return f"command line ({getpass.getuser()})"
    except (KeyError, OSError):  # a user without a name, as in containers
        return "command line"
