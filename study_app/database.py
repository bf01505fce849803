"""Engine, sessions and migrations of the study's database: SQLite or PostgreSQL.

SQLite keeps what it acknowledged through a power cut (WAL with ``synchronous=FULL``) and takes its write lock at the
beginning of a transaction (``BEGIN IMMEDIATE``), because a lock that is upgraded later fails at once under load; who
writes next is settled before that, in fair turns (``study_app.turns``). On PostgreSQL no statement, no wait for a lock
and no forgotten transaction lasts for ever. Connections are not shared with a child process.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from core.errors import StudyError
from study_app.turns import Turns

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
BUSY_TIMEOUT_MS = 30_000
POOL = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 10, "pool_pre_ping": True}
POSTGRES_OPTIONS = {
    "statement_timeout": 30_000,
    "lock_timeout": 10_000,
    "idle_in_transaction_session_timeout": 60_000,
}  # ms; options in the URL come in their place
HIDDEN = True  # parameters of statements in error messages, which go into the log
_WRITES = "percepsilon_writes"


class Database:
    """A lazily opened database; nothing is connected before the first use.

    Attributes:
        url: as given, ``sqlite:///PATH`` or ``postgresql://…``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        _open_after_fork().add(self)

    @cached_property
    def engine(self) -> Engine:
        """The engine, made on first use.

        Raises:
            StudyError: ``url`` is not one that we can use.
        """
        url = parse_url(self.url)
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url)
        return _postgres_engine(url)

    @cached_property
    def _turns(self) -> Turns | None:
        url = parse_url(self.url)
        if url.get_backend_name() != "sqlite":
            return None
        return Turns(Path(f"{url.database}-turns"), patience_s=BUSY_TIMEOUT_MS / 1000)

    def forget_connections(self) -> None:
        """Leaves the connections to the process that opened them; this one opens its own."""
        if "engine" in self.__dict__:
            self.engine.dispose(close=False)
        self.__dict__.pop("_turns", None)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yields a session for queries; what it changed is thrown away."""
        with Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yields a session whose transaction is committed at the end of the block, or rolled back on an error."""
        writer = self.engine.execution_options(**{_WRITES: True})
        turn: AbstractContextManager[None] = self._turns.taken() if self._turns else nullcontext()
        with turn, Session(writer, expire_on_commit=False) as session, session.begin():
            yield session

    def migrate(self, revision: str = "head", *, down: bool = False) -> None:
        """Brings the schema up (or ``down``) to ``revision``, making the database file if there is none."""
        self._make_directory()
        move = command.downgrade if down else command.upgrade
        with self._connection() as connection, _unreferenced(connection), connection.begin():
            without_limits(connection)
            move(alembic_config(connection), revision)
            _check_references(connection)

    def check(self) -> None:
        """Returns if the database can be reached and has the schema of this version.

        Raises:
            StudyError: it cannot, or has not.
        """
        url = parse_url(self.url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise StudyError(f"{url.database}: no such database; make it with: flask --app study_app init-db")
        with self._connection() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        if found != (head := ScriptDirectory(str(MIGRATIONS)).get_current_head()):
            raise StudyError(
                f"{url.render_as_string()}: expected schema {head}, found {found or 'none'}; "
                "bring it up to date with: flask --app study_app init-db"
            )

    def _make_directory(self) -> None:
        url = parse_url(self.url)
        if url.get_backend_name() == "sqlite" and url.database:
            try:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StudyError(f"DATABASE_URL: cannot make the directory of {url.database}: {error}") from None

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        try:
            connection = self.engine.execution_options(**{_WRITES: True}).connect()
        except DBAPIError as error:
            shown = parse_url(self.url).render_as_string()
            reason = str(error.orig).strip().splitlines()[0]
            raise StudyError(
                f"DATABASE_URL: cannot open {shown}: {reason}; start that database or set DATABASE_URL to another "
                "(without it, SQLite in instance/ is used)"
            ) from None
        with connection:
            yield connection


def parse_url(text: str) -> URL:
    """Returns the URL with the driver that we use.

    Raises:
        StudyError: not a URL, or of a database that we do not support.
    """
    expected = "expected sqlite:///PATH or postgresql://USER@HOST/NAME"
    try:
        url = make_url(text)
    except ArgumentError:
        raise StudyError(f"DATABASE_URL: {expected}, got a text that is no database URL") from None
    match url.get_backend_name():
        case "sqlite" if url.database and url.database != ":memory:":
            return url
        case "postgresql":
            return url.set(drivername="postgresql+psycopg")
        case name:
            raise StudyError(f"DATABASE_URL: {expected}, got {name!r} ({url.render_as_string()})")


def alembic_config(connection: Connection) -> Config:
    """Returns the configuration of the migrations on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=HIDDEN, pool_size=16, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgres_engine(url: URL) -> Engine:
    options = " ".join(f"-c {name}={value}" for name, value in POSTGRES_OPTIONS.items())
    ours = {"options": options, "connect_timeout": 10, "application_name": "percepsilon"}
    ours = {name: value for name, value in ours.items() if name not in url.query}
    return create_engine(url, hide_parameters=HIDDEN, connect_args=ours, **POOL)


@cache
def _open_after_fork() -> weakref.WeakSet[Database]:
    """Returns the databases of this process; each forgets its connections in a child process."""
    known: weakref.WeakSet[Database] = weakref.WeakSet()

    def forget() -> None:
        for database in known:
            database.forget_connections()

    os.register_at_fork(after_in_child=forget)
    return known


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _unreferenced(connection: Connection) -> Iterator[None]:
    """Lets SQLite rebuild a table that others refer to, which is how it changes one; elsewhere does nothing."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def without_limits(connection: Connection) -> None:
    """Lifts PostgreSQL's limits until the transaction ends: a migration or an export takes as long as it takes."""
    if connection.dialect.name == "postgresql":
        for name in POSTGRES_OPTIONS:
            connection.exec_driver_sql(f"SET LOCAL {name} = 0")


def _check_references(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise StudyError(f"the migration would leave rows that refer to nothing ({broken[:3]}); nothing was changed")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
