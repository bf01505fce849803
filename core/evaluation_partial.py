"""What an evaluation under way has finished: kept unit by unit beside the card, read back after a kill."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from core.errors import ConfigError, DataError, RunError

_log = logging.getLogger(__name__)
_TABLES = """
CREATE TABLE IF NOT EXISTS identity (sha256 TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unit (name TEXT PRIMARY KEY, tensors BLOB NOT NULL, worst BLOB) WITHOUT ROWID;
"""


class Partial:
    """Finished units of one run's evaluation: each is written whole or not at all, and survives a kill."""

    def __init__(self, folder: Path, identity: str, device: torch.device) -> None:
        """Opens ``folder``; begins anew if it holds units of another evaluation.

        Args:
            folder: beside the card.
            identity: hash of all that decides the outcomes: settings, weights, pictures, maps, machine.
            device: where tensors are wanted.

        Raises:
            RunError: the folder holds something else.
        """
        self.folder, self.device = folder, device
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._database = self._open(identity)
        except sqlite3.DatabaseError as error:
            raise RunError(f"{folder}: cannot be read ({error}); remove it, and the evaluation begins anew") from None

    def read(self, unit: str) -> dict[str, Tensor] | None:
        """Returns the tensors of a finished unit, ``worst`` only of the last of its ladder; ``None``: not finished."""
        row = self._database.execute("SELECT tensors, worst FROM unit WHERE name = ?", (unit,)).fetchone()
        if row is None:
            return None
        tensors = safetensors.torch.load(row[0]) | ({} if row[1] is None else safetensors.torch.load(row[1]))
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def write(self, unit: str, tensors: Mapping[str, Tensor], *, replaces: str) -> None:
        """Keeps a finished unit; the pictures of the unit that it ``replaces`` are needed no more."""
        rest = {name: tensor for name, tensor in tensors.items() if name != "worst"}
        worst = _bytes({"worst": tensors["worst"]}) if "worst" in tensors else None
        with self._database:
            self._database.execute("INSERT OR REPLACE INTO unit VALUES (?, ?, ?)", (unit, _bytes(rest), worst))
            self._database.execute("UPDATE unit SET worst = NULL WHERE name = ?", (replaces,))
        self.state(unit).unlink(missing_ok=True)

    def state(self, unit: str) -> Path:
        """Returns the file in which an ensemble keeps what it has done of a unit."""
        return self.folder / f"{hashlib.sha256(unit.encode()).hexdigest()[:16]}.safetensors"

    def finished(self) -> int:
        """Returns the number of finished units."""
        return int(self._database.execute("SELECT count(*) FROM unit").fetchone()[0])

    def close(self) -> None:
        """Closes the database and keeps it."""
        self._database.close()

    def delete(self) -> None:
        """Forgets everything; for when the card is written."""
        self.close()
        shutil.rmtree(self.folder)

    def _open(self, identity: str) -> sqlite3.Connection:
        path = self.folder / "units.sqlite"
        database = sqlite3.connect(path)
        database.executescript(_TABLES)
        found = database.execute("SELECT sha256 FROM identity").fetchone()
        if found is not None and found[0] != identity:
            _log.warning("%s: is of an evaluation with other settings or weights; beginning anew", self.folder)
            database.close()
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            return self._open(identity)
        if found is None:
            with database:
                database.execute("INSERT INTO identity VALUES (?)", (identity,))
        return database


@contextmanager
def until_written(partials: Sequence[Partial]) -> Iterator[None]:
    """Forgets all of ``partials`` when the cards are written, and when the evaluation is refused.

    What is refused would be refused again. Kept is what a kill, a full disk or a mistake of ours breaks off.
    """
    try:
        yield
    except (ConfigError, DataError, RunError):
        _delete(partials)
        raise
    _delete(partials)


def _delete(partials: Sequence[Partial]) -> None:
    for partial in partials:
        partial.delete()


def _bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return bytes(safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
