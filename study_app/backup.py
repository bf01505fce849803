"""A copy of the database while the study runs.

SQLite's own backup interface copies one moment of the file, whatever is written meanwhile; PostgreSQL's is ``pg_dump``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL

from core import files
from core.errors import MachineError, StudyError
from study_app.database import Database, parse_url


def backup(database: Database, path: Path) -> int:
    """Writes a copy of the database to ``path``, which appears whole or not at all; returns its size in bytes.

    Raises:
        StudyError: ``path`` exists, the database cannot be used, or the copy is damaged.
        MachineError: PostgreSQL's ``pg_dump`` is absent or refused.
    """
    database.check()
    if path.exists():
        raise StudyError(f"{path}: expected no such file, found one; a backup never replaces another: name a new file")
    url = parse_url(database.url)
    with files.atomic_path(path) as temporary:
        if url.get_backend_name() == "sqlite":
            _copy_sqlite(Path(url.database or ""), temporary)
        else:
            _dump_postgres(url, temporary)
    return path.stat().st_size


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
            found = str(copy.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise StudyError(f"{source}: expected a copy without faults, SQLite found: {found}; look after the disk")


def _dump_postgres(url: URL, target: Path) -> None:
    address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    command = ["pg_dump", "--format=custom", "--no-owner", "--file", str(target), address]
    if shutil.which("pg_dump") is None:
        raise MachineError(
            "expected pg_dump of PostgreSQL, found none; where it is installed, the command is: "
            f"pg_dump --format=custom --no-owner --file FILE {address}"
        )
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"pg_dump refused: {done.stderr.strip()}")
