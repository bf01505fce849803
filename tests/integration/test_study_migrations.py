"""Migrations of a database with people's data in it: nothing lost on the way up, down and up, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, Table, inspect, select, text, update

from core import files, manifest
from core.errors import StudyError
from study_app import limits, staff
from study_app.annotation import tables as annotation_tables
from study_app.database import MIGRATIONS, Database
from study_app.models import Base
from study_app.registration import COPIED
from study_app.security import SESSION, hash_token
from tests import annotation_site
from tests.study_site import SMALL_PROTOCOL, Visitor, close, make_answer, make_app

assert staff.Base is limits.Base is annotation_tables.Base is Base  # their tables belong to the schema

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
TRIALS = 4
ANSWERED = {1: 4, 2: 3, 3: 0}  # answers by session: finished, in the midst, just begun
HEAD = ScriptDirectory(str(MIGRATIONS)).get_current_head()


@pytest.fixture
def old(empty_url, small_set):
    """A database of the first schema with real rows, put in by SQL alone."""
    database = Database(empty_url)
    database.migrate("0001")
    for table, rows in old_rows(small_set).items():
        put(database, table, rows)
    yield database
    database.engine.dispose()


def put(database: Database, name: str, rows: list[dict]) -> None:
    with database.engine.begin() as connection:
        table = Table(name, MetaData(), autoload_with=connection)
        if connection.dialect.name == "sqlite":
            rows = [{key: value.replace(tzinfo=None) if isinstance(value, datetime) else value
                     for key, value in row.items()} for row in rows]  # fmt: skip
        connection.execute(table.insert(), rows)
        if connection.dialect.name == "postgresql":
            sequence = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT MAX(id) FROM {name}))"
            connection.execute(text(sequence))


def old_rows(directory) -> dict[str, list[dict]]:
    stimuli = manifest.read_set(directory)
    return {
        "stimulus_set": [
            {"id": 1, "name": "noise", "directory": str(directory), "registered_at": START,
             "manifest_sha256": stimuli.record.manifest_sha256}
        ],
        "protocol": [
            {"id": 1, "name": "small", "sha256": files.sha256_bytes(SMALL_PROTOCOL.encode()), "source": SMALL_PROTOCOL,
             "set_id": 1, "registered_at": START, "opened_at": START, "frozen_at": START}
        ],
        "stimulus": [
            {"id": place + 1, "set_id": 1, **{name: getattr(row, name) for name in COPIED}}
            for place, row in enumerate(stimuli.stimuli)
        ],
        "participant": [
            {"id": number, "public_id": f"p-{number}", "protocol_id": 1, "number": number - 1, "yes_side": "left",
             "locale": "de", "robot": False, "consented_at": START}
            for number in ANSWERED
        ],
        "session": [
            {"id": number, "public_id": f"s-{number}", "participant_id": number, "app_version": "0.1.0",
             "token_sha256": hash_token(f"token-{number}"), "started_at": START,
             "finished_at": START if answers == TRIALS else None,
             "completion_code": f"CODE-{number}" if answers == TRIALS else None}
            for number, answers in ANSWERED.items()
        ],
        "audit_event": [
            {"id": 1, "at": START, "event": "consent", "session_id": 1, "detail": {"robot": False}},
            {"id": 2, "at": START, "event": "by nobody", "session_id": None, "detail": {}},
        ],
        "planned_trial": [old_trial(number, index) for number in ANSWERED for index in range(TRIALS)],
        "response": [old_response(number, index) for number, count in ANSWERED.items() for index in range(count)],
    }  # fmt: skip


def old_trial(number: int, index: int) -> dict:
    signal = index % 2 == 1
    return {
        "id": 10 * number + index, "session_id": number, "trial_index": index, "block": index // 2,
        "phase": "practice" if index == 0 else "main", "stimulus_id": 2 if signal else 1, "signal": signal,
        "token": f"picture-{number}-{index}",
    }  # fmt: skip


def old_response(number: int, index: int) -> dict:
    answer = {name: value for name, value in make_answer(index).items() if name not in NEW_IN_RESPONSES}
    return {
        **answer, "id": 10 * number + index, "session_id": number, "payload_sha256": "0" * 64,
        "correct": index % 2 == 1, "received_at": received(index),
    }  # fmt: skip


def received(index: int) -> datetime:
    return START + timedelta(minutes=index + 1, microseconds=123456)


NEW_IN_RESPONSES = ("confidence", "confidence_rt_ms", "mask_frames")


def contents(database: Database) -> dict[str, list[dict]]:
    """Every row of every table."""
    with database.engine.connect() as connection:
        tables = MetaData()
        tables.reflect(connection)
        return {
            name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for name, table in tables.tables.items()
            if name != "alembic_version"
        }


def revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def moment(database: Database, value: datetime) -> datetime:
    return value.replace(tzinfo=None) if database.engine.dialect.name == "sqlite" else value


def test_nothing_is_lost_on_the_way_up_and_what_is_new_has_its_right_value(old):
    before = contents(old)
    old.migrate()
    after = contents(old)
    for name, rows in before.items():
        kept = [{key: row[key] for key in rows[0]} for row in after[name]]
        assert kept == rows, name
    assert sum(len(rows) for rows in before.values()) > 250
    for row in after["participant"]:
        assert (row["place"], row["preview"], row["withdrawn_at"]) == (row["number"], False, None)
    for row in after["planned_trial"]:
        assert (row["position"], row["placed"]) == (1000 * row["trial_index"], True)
        new = "pair_stimulus_id", "pair_token", "target_side", "catch", "instructed", "aborted_at"
        assert [row[name] for name in new] == [None] * 6
    assert [row["last_seen_at"] for row in after["session"]] == [
        moment(old, received(3)), moment(old, received(2)), moment(old, START)
    ]  # fmt: skip
    assert all(row["ended_at"] is None and row["end_reason"] is None for row in after["session"])
    assert all(row[name] is None for row in after["response"] for name in NEW_IN_RESPONSES)
    assert all(not after[name] for name in set(after) - set(before))


def test_down_to_the_first_schema_and_up_again_changes_nothing(old):
    first = contents(old)
    old.migrate()
    upper = contents(old)
    old.migrate("0001", down=True)
    assert revision(old) == "0001"
    assert contents(old) == first
    old.migrate()
    assert contents(old) == upper
    old.check()


def test_a_session_of_the_first_schema_goes_on_in_the_new_one(old):
    old.migrate()
    with old.engine.begin() as connection:  # else the time of its sessions is over
        connection.execute(update(Base.metadata.tables["participant"]).values(consented_at=datetime.now(UTC)))
    app = make_app(old.url)
    visitor = Visitor(app)
    visitor.client.set_cookie(SESSION, "token-2")
    state = visitor.state()
    assert (state["session_id"], state["next_index"], len(state["trials"])) == ("s-2", 3, TRIALS)
    assert visitor.client.get(state["trials"][3]["pictures"][0]).status_code == 200
    assert visitor.answer(3).status_code == 201
    assert visitor.finish().status_code == 200
    newcomer = Visitor(app)
    assert newcomer.consent().status_code == 303
    close(app)
    with old.engine.connect() as connection:
        newest = text("SELECT number, place FROM participant ORDER BY number DESC")
        number, place = connection.execute(newest).first()
    assert (number, place) == (3, 2)  # the place of who never answered; the others finished


NEW = {
    "participant": (1, "UPDATE participant SET preview = true, place = NULL WHERE id = 3"),
    "session": (1, "UPDATE session SET ended_at = started_at, end_reason = 'timed-out' WHERE id = 3"),
    "planned_trial": (3, "UPDATE planned_trial SET catch = 'gross' WHERE session_id = 3 AND phase = 'main'"),
    "response": (3, "UPDATE response SET confidence = 2 WHERE session_id = 2"),
    "protocol": (1, "UPDATE protocol SET paused_at = opened_at"),
    "visit": (
        3,
        """INSERT INTO visit (session_id, client_uuid, at, gap_s)
        SELECT id, public_id, started_at, 1 FROM session""",
    ),
    "check_result": (
        3,
        """INSERT INTO check_result (session_id, name, passed, detail, at)
        SELECT id, 'device', true, '{}', started_at FROM session""",
    ),
    "one_time_link": (
        1,
        """INSERT INTO one_time_link (protocol_id, token_sha256, label, made_at)
        SELECT id, 'link', 'first', opened_at FROM protocol""",
    ),
    "arrival": (
        3,
        """INSERT INTO arrival (protocol_id, token_sha256, platform, participant_id, arrived_at)
        SELECT protocol_id, public_id, 'open', id, consented_at FROM participant""",
    ),
    "researcher": (
        1,
        """INSERT INTO researcher (email, password_hash, role, made_at)
        SELECT 'one@example.org', 'x', 'owner', opened_at FROM protocol""",
    ),
    "action": (
        1,
        """INSERT INTO action (sequence, at, actor, action, detail, previous_sha256, sha256)
        SELECT 1, opened_at, 'x', 'x', '{}', 'x', 'y' FROM protocol""",
    ),
}


@pytest.mark.parametrize("table", NEW)
def test_a_way_down_that_would_lose_rows_is_refused_and_changes_nothing(old, table):
    rows, change = NEW[table]
    old.migrate()
    with old.engine.begin() as connection:
        connection.execute(text(change))
    before = contents(old)
    message = rf"schema 0001 cannot hold {rows} rows of {table}; export the study first, and go back with a backup"
    with pytest.raises(StudyError, match=message):
        old.migrate("0001", down=True)
    assert contents(old) == before
    assert revision(old) == HEAD
    old.check()


@pytest.fixture
def annotated(old, tmp_path):
    """A database of people's answers in which somebody has painted, too."""
    old.migrate()
    app = make_app(old.url)
    pictures = annotation_site.make_pictures(tmp_path / "noise")
    annotation_site.run(app, "register-pictures", str(pictures))
    annotation_site.register(app, pictures, annotation_site.task_text(k=2), gold=True)
    for _ in range(2):
        painter = annotation_site.Painter(app)
        painter.consent()
        while painter.state()["assignment"] is not None:
            painter.paint()
    close(app)
    return old


def test_annotations_keep_the_database_from_the_way_down_and_nothing_changes(annotated):
    before = contents(annotated)
    assert len(before["stroke"]) == len(before["submission"]) == 8
    assert len(before["overlap"]) == 4
    with pytest.raises(StudyError, match="schema 0003 cannot hold 1 rows of picture_set; export the annotations first"):
        annotated.migrate("0003", down=True)
    assert contents(annotated) == before
    assert revision(annotated) == HEAD
    annotated.check()


def test_without_annotations_the_way_down_and_up_again_changes_nothing(annotated):
    names = (
        "review", "submission", "stroke", "overlap", "annotation_event", "assignment", "annotator", "task_picture",
        "annotation_task", "picture", "picture_set",
    )  # fmt: skip
    with annotated.engine.begin() as connection:
        for name in names:
            connection.execute(text(f"DELETE FROM {name}"))
    before = contents(annotated)
    annotated.migrate("0003", down=True)
    assert contents(annotated) == {name: rows for name, rows in before.items() if name not in names}
    annotated.migrate()
    assert contents(annotated) == before
    annotated.check()


def test_the_database_refuses_annotations_that_contradict_themselves(annotated):
    for broken in (
        "UPDATE assignment SET task_picture_id = 99999",
        "UPDATE assignment SET outcome = NULL",
        "UPDATE assignment SET review = 'returned'",
        "UPDATE stroke SET client_uuid = 'same'",
        "UPDATE submission SET outcome = 'skipped'",
        "UPDATE submission SET mask = NULL",
        "UPDATE task_picture SET held = -1",
        "UPDATE task_picture SET role = 'gold'",
        "UPDATE overlap SET first_id = second_id",
        "UPDATE annotator SET completion_code = NULL",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint|violates"), annotated.engine.begin() as connection:
            connection.execute(text(broken))


@pytest.fixture
def made(old, request, tmp_path):
    """A database of the same kind whose tables come from the models, without a migration."""
    if old.engine.dialect.name == "sqlite":
        url = f"sqlite:///{tmp_path / 'made.sqlite'}"
    else:
        from tests.integration.conftest import new_postgres_database

        url = new_postgres_database(request.getfixturevalue("postgres"), f"made_{tmp_path.name.lower()[-30:]}")
    database = Database(url)
    Base.metadata.create_all(database.engine)
    yield database
    database.engine.dispose()


def structure(database: Database) -> dict:
    """Columns, checks, keys and indexes of every table, as the database itself tells them."""
    found = inspect(database.engine)
    return {
        table: {
            "columns": sorted(
                (column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)
            ),
            "checks": sorted((check["name"], check["sqltext"]) for check in found.get_check_constraints(table)),
            "foreign keys": sorted(
                (
                    key["name"],
                    key["constrained_columns"],
                    key["referred_table"],
                    key["referred_columns"],
                    key["options"],
                )
                for key in found.get_foreign_keys(table)
            ),
            "unique": sorted((key["name"], key["column_names"]) for key in found.get_unique_constraints(table)),
            "indexes": sorted(
                (index["name"], index["column_names"], bool(index["unique"])) for index in found.get_indexes(table)
            ),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def test_a_migrated_database_has_the_constraints_of_the_models(old, made):
    old.migrate()
    found, expected = structure(old), structure(made)
    assert set(found) == set(expected)
    for table in expected:
        assert found[table] == expected[table], table
    assert sum(len(each["checks"]) for each in expected.values()) >= 15


def test_references_hold_after_the_migration_and_the_database_keeps_watching(old):
    old.migrate()
    with old.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        else:
            unproved = "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"
            assert connection.execute(text(unproved)).scalar() == 0
    for broken in (
        "UPDATE planned_trial SET stimulus_id = 99999",
        "UPDATE response SET trial_index = 99 WHERE session_id = 1 AND trial_index = 0",
        "UPDATE participant SET place = 0",
        "UPDATE planned_trial SET position = 0",
        "UPDATE planned_trial SET instructed = 'yes'",
        "UPDATE response SET response = 'maybe'",
    ):
        with pytest.raises(Exception, match=r"(?i)constraint|violates"), old.engine.begin() as connection:
            connection.execute(text(broken))
