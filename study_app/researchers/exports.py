"""Exports made by the server in the background and kept for a day, as zip files, with their progress.

An export is a folder of the server's instance directory; what is in it tells how far it is, so that every worker can
answer for it: ``progress.json`` while it is made, the zip at the end, ``failed.txt`` where it went wrong. It is made by
a thread; if its worker ends, the progress stands still and counts as interrupted.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

from core import files
from core.errors import ExportError, PercepsilonError
from study_app import export
from study_app.database import Database

NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
KEPT_S = 24 * 3600
SILENT_S = 60.0  # without progress for so long, an export counts as interrupted
WRITE_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Job:
    """An export that was asked for.

    Attributes:
        name: of its folder, from the time at which it was asked for.
        state: ``running``, ``done``, ``failed`` or ``interrupted``.
        done: rows written.
        total: rows to write; 0 until they were counted.
        problem: why it failed.
        size: bytes of the zip.
    """

    name: str
    state: str
    done: int = 0
    total: int = 0
    problem: str = ""
    size: int = 0

    @property
    def share(self) -> float:
        """Done, from 0 to 1."""
        return 1.0 if self.state == "done" else self.done / self.total if self.total else 0.0

    @property
    def asked_at(self) -> datetime:
        """The moment at which it was asked for."""
        return datetime.strptime(self.name[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def start(folder: Path, database: Database, protocol: str) -> Job:
    """Returns an export that has just begun."""
    forget_old(folder)
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    (folder / name).mkdir(parents=True)
    _note(folder / name, 0, 0)
    Thread(target=_make, args=(folder / name, database, protocol), name=f"export {name}", daemon=True).start()
    return Job(name=name, state="running")


def _make(place: Path, database: Database, protocol: str) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix="making-") as directory:
            _write(place, Path(directory) / _file_name(protocol), database)
    except (PercepsilonError, OSError) as error:
        files.write_text(place / "failed.txt", str(error))
    finally:
        if archive(place.parent, place.name) is None and not (place / "failed.txt").exists():
            files.write_text(place / "failed.txt", "something went wrong on the server; its log says what")


def _file_name(protocol: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", protocol).strip("-") or "study"


def _write(place: Path, directory: Path, database: Database) -> None:
    written = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal written
        if time.monotonic() - written > WRITE_EVERY_S:
            written = time.monotonic()
            _note(place, done, total)

    with database.reading() as reader:
        export.export(reader, directory, progress=progress)
    with files.atomic_path(place / f"{directory.name}.zip") as path:
        _zip(directory, path)


def _zip(directory: Path, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for file in sorted(directory.rglob("*")):
            archive.write(file, Path(directory.name) / file.relative_to(directory))


def _note(place: Path, done: int, total: int) -> None:
    files.write_json(place / "progress.json", {"done": done, "total": total})


def jobs(folder: Path) -> list[Job]:
    """Returns the exports of the last day, latest first."""
    found = (job(folder, path.name) for path in sorted(folder.glob("*"), reverse=True) if NAME.fullmatch(path.name))
    return [each for each in found if each is not None]


def job(folder: Path, name: str) -> Job | None:
    """Returns an export by its name."""
    place = folder / name
    if not NAME.fullmatch(name) or not (place / "progress.json").is_file():
        return None
    if (made := archive(folder, name)) is not None:
        return Job(name=name, state="done", size=made.stat().st_size)
    if (place / "failed.txt").is_file():
        return Job(name=name, state="failed", problem=(place / "failed.txt").read_text(encoding="utf-8"))
    counts: dict[str, Any] = files.read_json(place / "progress.json", ExportError, "ask for another export")
    return Job(name=name, state=_state(place), done=counts["done"], total=counts["total"])


def _state(place: Path) -> str:
    """Returns whether something was written just now, the files in the making included."""
    inside = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    latest = max(_modified(path) for path in (place, *inside))
    return "running" if time.time() - latest < SILENT_S else "interrupted"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # put in its place or removed meanwhile
        return 0.0


def archive(folder: Path, name: str) -> Path | None:
    """Returns the zip of an export that is done."""
    if not NAME.fullmatch(name):
        return None
    return next((folder / name).glob("*.zip"), None)


def forget_old(folder: Path) -> None:
    """Deletes exports that were made more than a day ago."""
    for path in folder.glob("*"):
        if NAME.fullmatch(path.name) and time.time() - _modified(path) > KEPT_S:
            shutil.rmtree(path, ignore_errors=True)
