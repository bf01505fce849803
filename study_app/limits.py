"""How often something may be tried: counted in the database, so that a limit holds over all workers and hosts.

A count belongs to a purpose, a key and a window of time; who comes too often is told when to come again. Keys are never
addresses of the internet: a laboratory shares one, and we promise participants not to keep theirs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from flask import request
from sqlalchemy import BigInteger, CursorResult, String, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm import Session as DatabaseSession

from study_app import security
from study_app.models import Base
from study_app.refusals import Refusal
from study_app.state import database

View = TypeVar("View", bound=Callable[..., Any])


class TryCount(Base):
    """How often something was tried in one window; the key is kept as a hash."""

    __tablename__ = "try_count"

    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    ends_at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tries: Mapped[int]


def browser() -> str:
    """Returns a key for the browser of this request: its session, else itself."""
    return security.cookie(security.SESSION) or security.visitor_token()


def everybody() -> str:
    """Returns the one key that all requests share."""
    return ""


def limited(purpose: str, most: int, seconds: int, key: Callable[[], str] = browser) -> Callable[[View], View]:
    """Returns a decorator for a view that changes something: at most ``most`` tries per ``seconds`` for each key.

    Only requests that can change something are counted; a view may have several limits. Refusal: 429, "too many".
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def limited_view(*arguments: Any, **named: Any) -> Any:
            if request.method in security.CHANGING:
                check(purpose, key(), most, seconds)
            return view(*arguments, **named)

        return limited_view  # type: ignore[return-value]

    return decorate


def check(purpose: str, key: str, most: int, seconds: int) -> None:
    """Counts a try, and returns if there were no more than ``most`` in this window.

    Raises:
        Refusal: 429 with the seconds until the next window.
    """
    ends_at = _window(seconds)
    with database().writing() as writer:
        tries = count(writer, purpose, key, ends_at)
    _refuse_above(most, tries, ends_at)


def check_within(writer: DatabaseSession, purpose: str, key: str, most: int, seconds: int) -> None:
    """Does what ``check`` does, in a transaction that is open already; what is refused is not counted.

    Raises:
        Refusal: 429 with the seconds until the next window.
    """
    ends_at = _window(seconds)
    _refuse_above(most, count(writer, purpose, key, ends_at), ends_at)


def _window(seconds: int) -> int:
    """Returns when the present window ends, Unix time."""
    now = int(time.time())
    return now - now % seconds + seconds


def _refuse_above(most: int, tries: int, ends_at: int) -> None:
    if tries > most:
        wait = max(1, ends_at - int(time.time()))
        raise Refusal(429, "too many", f"too many tries; wait {wait} seconds and try again", retry_after=wait)


def count(writer: DatabaseSession, purpose: str, key: str, ends_at: int) -> int:
    """Adds a try to the window that ends at ``ends_at`` (Unix time, s); returns how many it has."""
    insert: Any = sqlite.insert if writer.get_bind().dialect.name == "sqlite" else postgresql.insert
    values = {"key_sha256": security.hash_token(f"{purpose} {key}"), "ends_at": ends_at, "tries": 1}
    counted = insert(TryCount).values(values)
    counted = counted.on_conflict_do_update(
        index_elements=["key_sha256", "ends_at"], set_={"tries": TryCount.tries + 1}
    ).returning(TryCount.tries)
    tries: int = writer.execute(counted).scalar_one()
    return tries


def forget_past(writer: DatabaseSession) -> int:
    """Deletes the counts of windows that are over; returns how many there were."""
    deleted = writer.execute(delete(TryCount).where(TryCount.ends_at < int(time.time())))
    return cast("CursorResult[Any]", deleted).rowcount
