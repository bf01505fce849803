"""What names and files a set has, kept in a temporary file and not in memory, so that sets may be of any length."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Index:
    """Names and files that were noted; asked whether one was there already."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        for table in ("names", "files"):
            connection.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def note_name(self, name: str) -> bool:
        """Notes a name; returns whether it is new."""
        return self._connection.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount == 1

    def note_file(self, name: str) -> None:
        """Notes a file by its path inside the set; it may be noted before."""
        self._connection.execute("INSERT OR IGNORE INTO files VALUES (?)", (name,))

    def strangers(self, directory: Path) -> Iterator[Path]:
        """Yields the files below ``png/`` and ``maps/`` of a set that were not noted."""
        for folder in ("png", "maps"):
            for path in sorted((directory / folder).iterdir()) if (directory / folder).is_dir() else []:
                for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                    if not self._has(file.relative_to(directory).as_posix()):
                        yield file

    def _has(self, name: str) -> bool:
        return self._connection.execute("SELECT 1 FROM files WHERE key = ?", (name,)).fetchone() is not None


@contextmanager
def index() -> Iterator[Index]:
    """Yields an empty index; its file is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="percepsilon-") as folder:
        connection = sqlite3.connect(Path(folder) / "index.sqlite")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        try:
            yield Index(connection)
        finally:
            connection.close()
