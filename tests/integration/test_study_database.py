"""The schema: migrations and tables agree on both databases, and the constraints hold."""

from __future__ import annotations

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text, update
from sqlalchemy.exc import IntegrityError

from core.errors import StudyError
from study_app.database import Database, alembic_config, parse_url
from study_app.models import Base, PlannedTrial, Response


@pytest.fixture
def empty(empty_url):
    database = Database(empty_url)
    yield database
    database.engine.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_models(empty):
    empty.migrate()
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_go_down_to_nothing_and_up_again(empty):
    empty.migrate()
    with empty.engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
    assert set(inspect(empty.engine).get_table_names()) == {"alembic_version"}
    empty.migrate()
    empty.check()


def test_a_database_without_tables_is_refused_with_the_command_that_makes_them(empty):
    if empty.engine.dialect.name == "sqlite":
        with pytest.raises(StudyError, match="no such database; make it with: flask --app study_app init-db"):
            empty.check()
    else:
        with pytest.raises(StudyError, match="found none; bring it up to date with: flask --app study_app init-db"):
            empty.check()


def test_sqlite_keeps_what_it_acknowledged_and_checks_foreign_keys(sqlite_url):
    database = Database(sqlite_url)
    with database.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.engine.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_the_database_itself_refuses_a_second_answer_and_an_answer_without_a_trial(study, visitor):
    visitor.answer(0)
    database = study.extensions["percepsilon_database"]
    with database.reading() as reader:
        kept = reader.query(Response).one()
        values = {
            column.name: getattr(kept, column.name) for column in Response.__table__.columns if column.name != "id"
        }
    for changes in ({"client_uuid": "other"}, {"trial_index": 99, "client_uuid": "other"}, {"trial_index": 1}):
        with pytest.raises(IntegrityError), database.writing() as writer:
            writer.add(Response(**{**values, **changes}))


def test_the_database_itself_refuses_one_picture_name_for_two_trials(study, visitor):
    database = study.extensions["percepsilon_database"]
    with pytest.raises(IntegrityError), database.writing() as writer:
        writer.execute(update(PlannedTrial).values(token="same"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "expected sqlite:///PATH or postgresql://USER@HOST/NAME, got a text that is no database URL"),
        ("mysql://root@localhost/x", "expected sqlite:///PATH or postgresql://USER@HOST/NAME, got 'mysql'"),
        ("sqlite://", "expected sqlite:///PATH or postgresql://USER@HOST/NAME, got 'sqlite'"),
    ],
)
def test_a_url_of_something_else_is_refused(url, message):
    with pytest.raises(StudyError, match=message):
        parse_url(url)


def test_a_password_is_not_shown_when_the_database_is_out_of_reach():
    with pytest.raises(StudyError, match="DATABASE_URL: cannot open") as refusal:
        Database("postgresql://someone:secret@127.0.0.1:1/study").check()
    assert "secret" not in str(refusal.value)
