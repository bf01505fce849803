"""Writes the export: Psych-DS tables with their data dictionary, the frozen protocol, the manifest, the audit log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session as DatabaseSession

from core import files, manifest
from core.errors import ExportError, StudyError
from study_app import columns, detection, registration
from study_app.columns import PARTICIPANTS, TRIALS, Column
from study_app.models import AuditEvent, Participant, PlannedTrial, Protocol, Response, Session, StimulusRow
from study_app.settings import app_version

Answered = Row[Response, PlannedTrial, StimulusRow, Session, Participant]
STIMULUS_COLUMNS = (
    "stimulus_id", "source_id", "source_class", "run", "method", "attack", "region", "eps_asked", "eps_measured",
    "sha256",
)  # fmt: skip
RESPONSE_COLUMNS = (
    "response", "correct", "rt_ms", "onset_ms", "frames_planned", "frames_shown", "long_frames", "refresh_hz",
    "device_pixel_ratio", "css_px", "scale", "input_type", "blur_count", "hidden_count", "attempt", "client_uuid",
)  # fmt: skip


def export(database: DatabaseSession, directory: Path) -> dict[str, int]:
    """Writes the export of the current protocol to ``directory``; returns the rows of each table.

    Raises:
        ExportError: ``directory`` exists already.
        StudyError: no protocol is registered.
        StimulusError: the set's manifest is no longer the one that was registered.
    """
    if directory.exists():
        raise ExportError(f"{directory}: expected no such directory, found one; name another, or move it away first")
    protocol = registration.current_protocol(database)
    if protocol is None:
        raise StudyError("no protocol is registered, so there is nothing to export")
    stimuli = manifest.read_set(Path(protocol.set.directory))
    tables = {"trials": trial_rows(database, protocol), "participants": participant_rows(database, protocol)}
    with files.atomic_directory(directory) as temporary:
        _write_tables(temporary / "data", tables)
        files.write_json(temporary / "dataset_description.json", _description(protocol))
        files.write_text(temporary / "protocol.toml", protocol.source)
        for name in ("set.json", "manifest.jsonl"):
            files.write_bytes(
                temporary / "stimuli" / stimuli.record.name / name, (stimuli.directory / name).read_bytes()
            )
        files.write_text(temporary / "audit.jsonl", "".join(_audit_lines(database, protocol)))
    return {name: len(rows) for name, rows in tables.items()}


def trial_rows(database: DatabaseSession, protocol: Protocol) -> list[dict[str, Any]]:
    """Returns a row per answered trial, by participant and place in the session."""
    task = detection.parse(protocol.source, protocol.name).task
    query = (
        select(Response, PlannedTrial, StimulusRow, Session, Participant)
        .join(
            PlannedTrial,
            (PlannedTrial.session_id == Response.session_id) & (PlannedTrial.trial_index == Response.trial_index),
        )
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id)
        .order_by(Participant.number, Response.trial_index)
    )
    return [_trial_row(row, protocol.sha256, task) for row in database.execute(query)]


def _trial_row(row: Answered, protocol_hash: str, task: str) -> dict[str, Any]:
    response, planned, stimulus, session, participant = row
    return {
        "session_id": session.public_id,
        "participant_id": participant.public_id,
        "protocol_hash": protocol_hash,
        "app_version": session.app_version,
        "task": task,
        "phase": planned.phase,
        "block": planned.block,
        "trial_index": planned.trial_index,
        "signal": planned.signal,
        "yes_side": participant.yes_side,
        "received_at": _moment(response.received_at),
        **{name: getattr(stimulus, name) for name in STIMULUS_COLUMNS},
        **{name: getattr(response, name) for name in RESPONSE_COLUMNS},
    }


def participant_rows(database: DatabaseSession, protocol: Protocol) -> list[dict[str, Any]]:
    """Returns a row per session, in the order of consent."""
    limit = timedelta(hours=detection.parse(protocol.source, protocol.name).abandoned_after_hours)
    counts = _answer_counts(database, protocol)
    query = (
        select(Session, Participant)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id)
        .order_by(Participant.number)
    )
    return [
        _participant_row(session, participant, protocol.sha256, counts, datetime.now(UTC) - limit)
        for session, participant in database.execute(query)
    ]


def _participant_row(
    session: Session,
    participant: Participant,
    protocol_hash: str,
    counts: dict[tuple[int, str], tuple[int, datetime]],
    silent_since: datetime,
) -> dict[str, Any]:
    practice, main = (counts.get((session.id, phase), (0, session.started_at)) for phase in ("practice", "main"))
    return {
        "participant_id": participant.public_id,
        "session_id": session.public_id,
        "protocol_hash": protocol_hash,
        "status": status_of(session, max(practice[1], main[1]), silent_since),
        "locale": participant.locale,
        "consented_at": _moment(participant.consented_at),
        "started_at": _moment(session.started_at),
        "finished_at": _moment(session.finished_at) if session.finished_at else None,
        "practice_trials": practice[0],
        "main_trials": main[0],
        "robot": participant.robot,
    }


def status_of(session: Session, last_seen: datetime, silent_since: datetime) -> str:
    """Returns ``finished``, ``started``, or ``abandoned`` when the last sign of life is older than ``silent_since``."""
    if session.finished_at is not None:
        return "finished"
    return "started" if last_seen >= silent_since else "abandoned"


def _answer_counts(database: DatabaseSession, protocol: Protocol) -> dict[tuple[int, str], tuple[int, datetime]]:
    query = (
        select(Response.session_id, PlannedTrial.phase, func.count(), func.max(Response.received_at))
        .join(
            PlannedTrial,
            (PlannedTrial.session_id == Response.session_id) & (PlannedTrial.trial_index == Response.trial_index),
        )
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id)
        .group_by(Response.session_id, PlannedTrial.phase)
    )
    return {(session_id, phase): (count, last) for session_id, phase, count, last in database.execute(query)}


def _write_tables(directory: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    directory.mkdir()
    described: Iterable[tuple[str, Sequence[Column]]] = (("trials", TRIALS), ("participants", PARTICIPANTS))
    for name, described_columns in described:
        table = pa.Table.from_pylist(tables[name], schema=columns.schema(tuple(described_columns)))
        stem = f"table-{name}_data"
        pyarrow.csv.write_csv(table, directory / f"{stem}.csv", pyarrow.csv.WriteOptions(quoting_style="needed"))
        pyarrow.parquet.write_table(table, directory / f"{stem}.parquet")


def _description(protocol: Protocol) -> dict[str, Any]:
    settings = detection.parse(protocol.source, protocol.name)
    return {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": f"percepsilon-{settings.name}",
        "description": (
            "Answers to the question whether a picture was changed by an adversarial perturbation. "
            f"Protocol SHA-256 {protocol.sha256}, stimulus set {protocol.set.name}, "
            f"manifest SHA-256 {protocol.set.manifest_sha256}, written by Percepsilon {app_version()}."
        ),
        "variableMeasured": columns.dictionary(TRIALS, PARTICIPANTS),
    }


def _audit_lines(database: DatabaseSession, protocol: Protocol) -> Iterable[str]:
    query = (
        select(AuditEvent, Session.public_id)
        .join(Session, AuditEvent.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(Participant.protocol_id == protocol.id)
        .order_by(AuditEvent.id)
    )
    for event, session_id in database.execute(query):
        line = {"at": _moment(event.at), "event": event.event, "session_id": session_id, **event.detail}
        yield json.dumps(line, allow_nan=False) + "\n"


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds")
