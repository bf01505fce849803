"""The rows of the export's tables, read from the database in chunks, so that their number costs no memory.

A chunk is a list of tuples in the order of the table's columns. Previews are in no table; a participant who withdrew
is a row of the participants without anything else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    SQLColumnExpression,
    Subquery,
    and_,
    case,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.orm import Session as DatabaseSession
from sqlalchemy.orm import aliased

from study_app import detection
from study_app.detection import DetectionProtocol
from study_app.export.columns import CHECKS, EXCLUSIONS, PARTICIPANTS, TRIALS, VISITS, Column
from study_app.models import (
    CheckResult,
    Participant,
    PlannedTrial,
    Protocol,
    Response,
    Session,
    StimulusRow,
    Visit,
)
from study_app.staff import Exclusion

CHUNK_ROWS = 5000
Chunk = list[tuple[Any, ...]]
Query = Select[*tuple[Any, ...]]
STIMULUS_COLUMNS = (
    "stimulus_id", "source_id", "source_class", "run", "method", "attack", "region", "eps_asked", "eps_measured",
    "sha256",
)  # fmt: skip
PLANNED_COLUMNS = ("phase", "block", "trial_index", "signal", "target_side", "catch", "instructed")
RESPONSE_COLUMNS = (
    "response", "correct", "confidence", "confidence_rt_ms", "rt_ms", "onset_ms", "frames_planned", "frames_shown",
    "mask_frames", "long_frames", "refresh_hz", "device_pixel_ratio", "css_px", "scale", "input_type", "blur_count",
    "hidden_count", "attempt", "client_uuid", "received_at",
)  # fmt: skip
SAME_TRIAL = (PlannedTrial.session_id == Response.session_id) & (PlannedTrial.trial_index == Response.trial_index)


def trial_chunks(database: DatabaseSession, protocol: Protocol) -> Iterator[Chunk]:
    """Yields a row per answered trial, by participant and in the order of showing."""
    values = _trial_values(protocol)
    pair = aliased(StimulusRow)
    query = (
        select(*(values[column.name] for column in TRIALS if column.name not in ("position", "pair")))
        .add_columns(pair.stimulus_id)
        .select_from(Participant)
        .join(Session, Session.participant_id == Participant.id)
        .join(PlannedTrial, PlannedTrial.session_id == Session.id)
        .join(Response, SAME_TRIAL)
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .outerjoin(pair, PlannedTrial.pair_stimulus_id == pair.id)
        .where(exported(protocol))
        .order_by(Participant.number, PlannedTrial.position)
    )
    names = [*(column.name for column in TRIALS if column.name not in ("position", "pair")), "pair"]
    yield from _chunks(database, query, TRIALS, names, _numbered())


def _trial_values(protocol: Protocol) -> dict[str, Any]:
    settings = detection.parse(protocol.source, protocol.name)
    return {
        "session_id": Session.public_id,
        "participant_id": Participant.public_id,
        "protocol_hash": literal(protocol.sha256),
        "app_version": Session.app_version,
        "task": literal(settings.task),
        "yes_side": null() if settings.task == "2afc" else Participant.yes_side,
        "adaptive": _adaptive(settings),
        **{name: getattr(StimulusRow, name) for name in STIMULUS_COLUMNS},
        **{name: getattr(PlannedTrial, name) for name in PLANNED_COLUMNS},
        **{name: getattr(Response, name) for name in RESPONSE_COLUMNS},
    }


def _adaptive(settings: DetectionProtocol) -> ColumnElement[bool]:
    chosen = (PlannedTrial.phase == "main") & PlannedTrial.catch.is_(None)
    return literal(value=False) if settings.adaptive.method == "none" else chosen


def _numbered() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Returns a function that adds to rows, which come session by session, their place in the session."""
    places: dict[str, Iterator[int]] = {}

    def number(row: dict[str, Any]) -> dict[str, Any]:
        if row["session_id"] not in places:
            places.clear()
            places[row["session_id"]] = count()
        return {**row, "position": next(places[row["session_id"]])}

    return number


def participant_chunks(database: DatabaseSession, protocol: Protocol) -> Iterator[Chunk]:
    """Yields a row per participant, in the order of consent."""
    query = _participant_query(protocol)
    hours = detection.parse(protocol.source, protocol.name).abandoned_after_hours
    silent_since = datetime.now(UTC) - timedelta(hours=hours)
    names = [column["name"] for column in query.column_descriptions]
    yield from _chunks(
        database, query, PARTICIPANTS, names, lambda row: _participant(row, protocol.sha256, silent_since)
    )


def _participant_query(protocol: Protocol) -> Query:
    answers, visits, checks = _answers(), _visits(), _checks()
    device, calibration = aliased(CheckResult), aliased(CheckResult)
    return (
        select(
            Participant.public_id.label("participant_id"),
            Session.public_id.label("session_id"),
            Exclusion.reason.label("excluded"),
            Participant.place,
            Participant.locale.label("language"),
            Participant.robot,
            Participant.consented_at,
            Participant.withdrawn_at,
            Session.started_at,
            Session.last_seen_at,
            Session.finished_at,
            Session.ended_at,
            Session.end_reason,
            *_counted(answers, "session_id"),
            *_counted(checks, "session_id"),
            *(column for column in visits.c if column.name != "session_id"),
            device.detail.label("device"),
            calibration.detail.label("calibration"),
        )
        .select_from(Participant)
        .join(Session, Session.participant_id == Participant.id)
        .outerjoin(Exclusion, Exclusion.participant_id == Participant.id)
        .outerjoin(answers, answers.c.session_id == Session.id)
        .outerjoin(visits, visits.c.session_id == Session.id)
        .outerjoin(checks, checks.c.session_id == Session.id)
        .outerjoin(device, and_(device.session_id == Session.id, device.name == "device"))
        .outerjoin(calibration, and_(calibration.session_id == Session.id, calibration.name == "calibration"))
        .where(Participant.protocol_id == protocol.id, ~Participant.preview)
        .order_by(Participant.number)
    )


def _counted(table: Subquery, but: str) -> list[ColumnElement[int]]:
    """Returns a table's counts, 0 for a session without any."""
    return [func.coalesce(column, 0).label(column.name) for column in table.c if column.name != but]


def _answers() -> Subquery:
    """What each session answered and what of it was aborted, by kind."""
    answered = Response.id.is_not(None)
    kinds = {
        "practice_trials": answered & (PlannedTrial.phase == "practice"),
        "warm_up_trials": answered & (PlannedTrial.phase == "warm-up"),
        "main_trials": answered & (PlannedTrial.phase == "main"),
        "aborted_trials": PlannedTrial.aborted_at.is_not(None),
        "gross_trials": answered & (PlannedTrial.catch == "gross"),
        "gross_correct": Response.correct & (PlannedTrial.catch == "gross"),
        "instructed_trials": answered & (PlannedTrial.catch == "instructed"),
        "instructed_correct": Response.correct & (PlannedTrial.catch == "instructed"),
    }
    query = select(PlannedTrial.session_id, *(_how_many(rule).label(name) for name, rule in kinds.items()))
    return query.outerjoin(Response, SAME_TRIAL).group_by(PlannedTrial.session_id).subquery()


def _visits() -> Subquery:
    visits, longest = func.count().label("visits"), func.max(Visit.gap_s).label("longest_gap_s")
    return select(Visit.session_id, visits, longest).group_by(Visit.session_id).subquery()


def _checks() -> Subquery:
    passed, failed = _how_many(CheckResult.passed), _how_many(~CheckResult.passed)
    query = select(CheckResult.session_id, passed.label("checks_passed"), failed.label("checks_failed"))
    return query.group_by(CheckResult.session_id).subquery()


def _how_many(rule: SQLColumnExpression[bool]) -> ColumnElement[int]:
    return func.sum(case((rule, 1), else_=0))


def _participant(row: dict[str, Any], protocol_hash: str, silent_since: datetime) -> dict[str, Any]:
    known = {
        "participant_id": row["participant_id"],
        "session_id": row["session_id"],
        "protocol_hash": protocol_hash,
        "status": status_of(row, silent_since),
    }
    if known["status"] == "withdrawn":
        return known
    device, calibration = row["device"] or {}, row["calibration"] or {}
    return {
        **row,
        **known,
        "window_width": _number(device, "width"),
        "window_height": _number(device, "height"),
        "css_px_per_mm": _number(calibration, "css_px_per_mm"),
        "distance_cm": _number(calibration, "distance_cm"),
    }


def status_of(row: dict[str, Any], silent_since: datetime) -> str:
    """Returns how far a participant came, from the moments of the participant and the session.

    ``row`` has ``withdrawn_at``, ``end_reason``, ``finished_at`` and ``last_seen_at``; whoever did not finish and was
    silent since ``silent_since`` has abandoned the study.
    """
    if row["withdrawn_at"] is not None:
        return "withdrawn"
    if row["end_reason"] is not None:
        return str(row["end_reason"])
    if row["finished_at"] is not None:
        return "finished"
    return "started" if row["last_seen_at"] >= silent_since else "abandoned"


def statuses(database: DatabaseSession, protocol: Protocol) -> Counter[str]:
    """Returns how many participants have each status."""
    place = [column.name for column in PARTICIPANTS].index("status")
    return Counter(row[place] for chunk in participant_chunks(database, protocol) for row in chunk)


def _number(detail: dict[str, Any], name: str) -> float | None:
    value = detail.get(name)
    return float(value) if isinstance(value, int | float) else None


def visit_chunks(database: DatabaseSession, protocol: Protocol) -> Iterator[Chunk]:
    """Yields a row per page load of the task, by participant and in the order of time."""
    query = (
        select(Session.public_id, Participant.public_id, Visit.at, Visit.gap_s, Visit.seen_index, Visit.client_uuid)
        .join(Session, Visit.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(exported(protocol))
        .order_by(Participant.number, Visit.id)
    )
    yield from _chunks(database, query, VISITS, [column.name for column in VISITS])


def check_chunks(database: DatabaseSession, protocol: Protocol) -> Iterator[Chunk]:
    """Yields a row per step before the task, by participant and in the order of time."""
    query = (
        select(
            Session.public_id,
            Participant.public_id,
            CheckResult.name,
            CheckResult.passed,
            CheckResult.detail,
            CheckResult.at,
        )
        .join(Session, CheckResult.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(exported(protocol))
        .order_by(Participant.number, CheckResult.id)
    )
    yield from _chunks(database, query, CHECKS, [column.name for column in CHECKS])


def exclusion_chunks(database: DatabaseSession, protocol: Protocol) -> Iterator[Chunk]:
    """Yields a row per participant whom a researcher left out, without the note, which may say anything."""
    query = (
        select(Participant.public_id, Exclusion.reason, Exclusion.at)
        .join(Participant, Exclusion.participant_id == Participant.id)
        .where(exported(protocol))
        .order_by(Participant.number)
    )
    yield from _chunks(database, query, EXCLUSIONS, [column.name for column in EXCLUSIONS])


def exported(protocol: Protocol) -> ColumnElement[bool]:
    """Returns the rule by which a participant's data are exported."""
    return and_(Participant.protocol_id == protocol.id, ~Participant.preview, Participant.withdrawn_at.is_(None))


def _chunks(
    database: DatabaseSession,
    query: Query,
    columns: Sequence[Column],
    names: Sequence[str],
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Iterator[Chunk]:
    """Yields the rows of a query, whose columns have these ``names``, completed and in the order of ``columns``."""
    order = [column.name for column in columns]
    result = database.execute(query.execution_options(yield_per=CHUNK_ROWS))
    for rows in result.partitions():
        yield [_in_order(complete(dict(zip(names, row, strict=True))), order) for row in rows]


def _in_order(values: dict[str, Any] | Row[Any], order: Sequence[str]) -> tuple[Any, ...]:
    return tuple(_plain(values.get(name)) for name in order)


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return moment(value)
        case dict():
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
        case _:
            return value


def moment(value: datetime) -> str:
    """Returns a moment as the export writes it."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds")
