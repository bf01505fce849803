"""A study's database with many answered sessions, put in by the database itself: for what depends on numbers alone."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from operator import add

from sqlalchemy import CTE, String, cast, func, insert, literal, null, select

from study_app.database import Database
from study_app.models import Participant, PlannedTrial, Protocol, Response, Session, StimulusRow

START = datetime(2026, 11, 1, tzinfo=UTC)


def fill(url: str, *, sessions: int, trials: int) -> None:
    """Adds finished sessions with ``trials`` answered main trials each to the registered protocol."""
    database = Database(url)
    with database.writing() as writer:
        first = (writer.scalar(select(func.max(Participant.id))) or 0) + 1
        session, trial = numbers("session", first, sessions), numbers("trial", 0, trials)
        stimuli = select(StimulusRow.id, (StimulusRow.eps_asked > 0).label("signal"))
        stimuli = stimuli.add_columns((func.row_number().over(order_by=StimulusRow.id) - 1).label("place")).subquery()
        kinds = writer.scalar(select(func.count()).select_from(stimuli))
        shown = stimuli.c.place == (session.c.n * 31 + trial.c.n) % kinds
        of_trials = select().select_from(session).join(trial, literal(True)).join(stimuli, shown)
        put(
            writer,
            Participant,
            select().select_from(session),
            participant(session.c.n, writer.scalar(select(Protocol.id))),
        )
        put(writer, Session, select().select_from(session), run(session.c.n))
        put(writer, PlannedTrial, of_trials, planned(session.c.n, trial.c.n, stimuli.c))
        put(writer, Response, of_trials, answer(session.c.n, trial.c.n, stimuli.c))
    database.engine.dispose()


def numbers(name: str, first: int, how_many: int) -> CTE:
    """The table of the numbers from ``first`` on."""
    start = select(literal(first).label("n")).cte(name, recursive=True)
    return start.union_all(select(start.c.n + 1).where(start.c.n < first + how_many - 1))


def put(writer, table, source, values: dict) -> None:
    columns = [value if hasattr(value, "compile") else literal(value) for value in values.values()]
    writer.execute(insert(table).from_select(list(values), source.add_columns(*columns)))


def named(*parts):
    """A text made of words and numbers."""
    texts = [cast(part, String) if hasattr(part, "compile") else literal(part) for part in parts]
    return reduce(add, texts)


def participant(number, protocol: int) -> dict:
    return {
        "id": number, "public_id": named("p-", number), "protocol_id": protocol, "number": number, "place": number,
        "yes_side": "left", "locale": "en", "robot": True, "preview": False, "consented_at": moment(),
    }  # fmt: skip


def run(number) -> dict:
    return {
        "id": number, "public_id": named("s-", number), "participant_id": number,
        "token_sha256": named("token-", number), "app_version": "0.1.0", "started_at": moment(),
        "last_seen_at": moment(), "finished_at": moment(), "completion_code": named("code-", number),
    }  # fmt: skip


def planned(number, index, stimulus) -> dict:
    return {
        "session_id": number, "trial_index": index, "position": 1000 * index, "phase": "main", "block": 0,
        "stimulus_id": stimulus.id, "signal": stimulus.signal, "token": named("t", number, "-", index), "placed": True,
    }  # fmt: skip


def answer(number, index, stimulus) -> dict:
    return {
        "session_id": number, "trial_index": index, "client_uuid": named("a", number, "-", index),
        "payload_sha256": "0" * 64, "response": "yes", "correct": stimulus.signal, "rt_ms": 400.0 + index,
        "onset_ms": 1000.0 * index, "frames_shown": 30, "long_frames": 0, "refresh_hz": null(),
        "device_pixel_ratio": 1.0, "css_px": 320.0, "scale": 10, "input_type": "robot", "blur_count": 0,
        "hidden_count": 0, "attempt": 1, "received_at": moment(),
    }  # fmt: skip


def moment():
    return literal(START, Participant.consented_at.type)
