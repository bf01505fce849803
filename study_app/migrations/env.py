"""Runs the migrations on the connection that ``study_app.database`` hands over."""

from __future__ import annotations

from alembic import context

from study_app import limits, staff  # noqa: F401  (their tables belong to the schema)
from study_app.annotation import tables  # noqa: F401
from study_app.models import Base


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


run()
