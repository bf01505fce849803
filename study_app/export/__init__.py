"""Writes the export: Psych-DS tables with their data dictionary, the frozen protocol, the manifest, the audit log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session as DatabaseSession

from core import files, manifest
from core.errors import ExportError, StimulusError, StudyError
from study_app import detection, registration
from study_app.database import without_limits
from study_app.export import columns, export_rows, table_files
from study_app.export.columns import TABLES
from study_app.models import AuditEvent, CheckResult, Participant, Protocol, Response, Session, Visit
from study_app.settings import app_version
from study_app.staff import Exclusion

Progress = Callable[[int, int], object]
READERS = {
    "trials": export_rows.trial_chunks,
    "participants": export_rows.participant_chunks,
    "visits": export_rows.visit_chunks,
    "checks": export_rows.check_chunks,
    "exclusions": export_rows.exclusion_chunks,
}
IGNORED = ("*.parquet", "protocol.toml", "audit.jsonl", "stimuli/")  # files that Psych-DS does not know


def export(database: DatabaseSession, directory: Path, *, progress: Progress | None = None) -> dict[str, int]:
    """Writes the export of the current protocol to ``directory``; returns the rows of each table.

    All tables show the database at one moment, whatever is answered meanwhile. The memory that it takes does not grow
    with the number of trials. ``directory`` appears whole or not at all.

    Args:
        database: names the database; what is read is read in a transaction of its own.
        directory: where to write; must not exist.
        progress: called as ``progress(done, total)`` with numbers of rows, from time to time.

    Raises:
        ExportError: ``directory`` exists already.
        StudyError: no protocol is registered.
        StimulusError: the set's manifest is no longer the one that was registered.
    """
    if directory.exists():
        raise ExportError(f"{directory}: expected no such directory, found one; name another, or move it away first")
    with _snapshot(database) as reader:
        protocol = registration.current_protocol(reader)
        if protocol is None:
            raise StudyError("no protocol is registered, so there is nothing to export")
        stimuli = Path(protocol.set.directory)
        _check_manifest(stimuli, protocol.set.manifest_sha256)
        with files.atomic_directory(directory) as temporary:
            counts = _write_tables(reader, protocol, temporary / "data", progress or _silent)
            _write_companions(reader, protocol, temporary)
            for name in ("set.json", "manifest.jsonl"):
                with files.atomic_path(temporary / "stimuli" / protocol.set.name / name) as kept:
                    shutil.copyfile(stimuli / name, kept)
    return counts


def _check_manifest(directory: Path, registered: str) -> None:
    found = manifest.read_record(directory).manifest_sha256
    if found != registered:
        raise StimulusError(
            f"{directory}: expected the stimulus set that was registered (manifest {registered[:12]}…), got another "
            f"(manifest {found[:12]}…); put the registered one back in its place"
        )


@contextmanager
def _snapshot(database: DatabaseSession) -> Iterator[DatabaseSession]:
    """Yields a session whose queries all see one moment; SQLite's transactions do so anyway."""
    engine = database.get_bind().engine
    with DatabaseSession(_repeatable(engine)) as session:
        without_limits(session.connection())
        yield session


def _repeatable(engine: Engine) -> Engine:
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _silent(_done: int, _total: int) -> None:
    pass


def _write_tables(database: DatabaseSession, protocol: Protocol, directory: Path, progress: Progress) -> dict[str, int]:
    directory.mkdir()
    done, total = 0, _rows(database, protocol)

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    return {
        name: table_files.write(directory / f"table-{name}_data", TABLES[name], read(database, protocol), advance)
        for name, read in READERS.items()
    }


def _rows(database: DatabaseSession, protocol: Protocol) -> int:
    """Returns how many rows there are to write, in all tables together."""
    counted = select(func.count()).select_from(Participant)
    mine = export_rows.exported(protocol)
    queries = [
        counted.where(Participant.protocol_id == protocol.id, ~Participant.preview),
        counted.join(Exclusion, Exclusion.participant_id == Participant.id).where(mine),
    ]
    of_sessions = counted.join(Session, Session.participant_id == Participant.id).where(mine)
    queries += [of_sessions.join(table, table.session_id == Session.id) for table in (Response, Visit, CheckResult)]
    return sum(database.scalar(query) or 0 for query in queries)


def _write_companions(database: DatabaseSession, protocol: Protocol, directory: Path) -> None:
    files.write_json(directory / "dataset_description.json", _description(protocol))
    files.write_text(directory / "README.md", _readme(protocol))
    files.write_text(directory / "CHANGES.md", f"# Changes\n\nWritten by Percepsilon {app_version()}.\n")
    files.write_text(directory / ".psychds-ignore", "".join(f"{pattern}\n" for pattern in IGNORED))
    files.write_text(directory / "protocol.toml", protocol.source)
    with files.atomic_path(directory / "audit.jsonl") as path, path.open("w", encoding="utf-8") as file:
        file.writelines(_audit_lines(database, protocol))


def _description(protocol: Protocol) -> dict[str, Any]:
    settings = detection.parse(protocol.source, protocol.name)
    return {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": f"percepsilon-{settings.name}",
        "description": (
            "Answers to the question whether a picture was changed by an adversarial perturbation. "
            f"Task {settings.task}, protocol SHA-256 {protocol.sha256}, stimulus set {protocol.set.name}, "
            f"manifest SHA-256 {protocol.set.manifest_sha256}, written by Percepsilon {app_version()}."
        ),
        "variableMeasured": columns.dictionary(*TABLES.values()),
    }


def _readme(protocol: Protocol) -> str:
    settings = detection.parse(protocol.source, protocol.name)
    return (
        f"# {settings.name}\n\n"
        f"Data of a {settings.task} study of how visible adversarial perturbations are, in the layout of Psych-DS.\n\n"
        "- `dataset_description.json`: every column with its meaning, type, unit and allowed values.\n"
        "- `data/table-trials_data`: a row an answered trial. `position` is the order of showing.\n"
        "- `data/table-participants_data`: a row a participant; who withdrew is there without data.\n"
        "- `data/table-visits_data`: page loads of the task. `data/table-checks_data`: steps before it.\n"
        "- `data/table-exclusions_data`: whom a researcher left out, and why; their trials are there all the same.\n"
        "- `protocol.toml`: what was asked, byte for byte. `stimuli/`: what was shown, without the pictures.\n"
        "- `audit.jsonl`: what happened when.\n\n"
        "Each table is there as CSV and as Parquet. There is no platform id, address or browser name in these files.\n"
    )


def _audit_lines(database: DatabaseSession, protocol: Protocol) -> Iterator[str]:
    query = (
        select(AuditEvent.at, AuditEvent.event, AuditEvent.detail, Session.public_id)
        .join(Session, AuditEvent.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(export_rows.exported(protocol))
        .order_by(AuditEvent.id)
        .execution_options(yield_per=export_rows.CHUNK_ROWS)
    )
    for at, event, detail, session_id in database.execute(query):
        line = {"at": export_rows.moment(at), "event": event, "session_id": session_id, **detail}
        yield json.dumps(line, allow_nan=False) + "\n"
