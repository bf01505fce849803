"""Detection platform: tasks with two pictures, places, visits, checks, recruitment, researchers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

from core.errors import StudyError

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Checks = dict[str, dict[str, str]]
CHECKS_BEFORE: Checks = {
    "participant": {"yes_side": "yes_side IN ('left', 'right')"},
    "session": {"code_when_finished": "(finished_at IS NULL) = (completion_code IS NULL)"},
    "planned_trial": {"phase": "phase IN ('practice', 'main')"},
    "response": {"response": "response IN ('yes', 'no')", "rt_ms": "rt_ms >= 0"},
    "protocol": {},
}
CHECKS: Checks = {
    "participant": CHECKS_BEFORE["participant"],
    "session": {
        **CHECKS_BEFORE["session"],
        "reason_when_ended": "(ended_at IS NULL) = (end_reason IS NULL)",
        "end_reason": "end_reason IN ('screened-out', 'timed-out', 'withdrawn')",
    },
    "planned_trial": {
        "phase": "phase IN ('practice', 'warm-up', 'main')",
        "catch": "catch IN ('gross', 'instructed')",
        "target_side": "target_side IN ('left', 'right')",
        "pair_has_token": "(pair_stimulus_id IS NULL) = (pair_token IS NULL)",
        "pair_has_side": "(pair_stimulus_id IS NULL) = (target_side IS NULL)",
        "instructed": "(instructed IS NOT NULL) = (catch IS NOT NULL AND catch = 'instructed')",
    },
    "response": {
        "response": "response IN ('yes', 'no', 'left', 'right', 'same', 'different')",
        "rt_ms": "rt_ms >= 0",
        "confidence": "confidence >= 1",
    },
    "protocol": {},
}


def upgrade() -> None:
    _make_tables()
    moment = sa.DateTime(timezone=True)
    _add("participant", place=sa.Integer(), preview=sa.Boolean(), withdrawn_at=moment)
    _add("session", last_seen_at=moment, ended_at=moment, end_reason=sa.String(20))
    _add(
        "planned_trial",
        position=sa.Integer(),
        pair_stimulus_id=sa.Integer(),
        pair_token=sa.String(40),
        target_side=sa.String(5),
        catch=sa.String(10),
        instructed=sa.String(10),
        placed=sa.Boolean(),
        aborted_at=moment,
    )
    _add("protocol", paused_at=moment, closed_at=moment)
    _add("response", confidence=sa.Integer(), confidence_rt_ms=sa.Double(), mask_frames=sa.Integer())
    op.execute("UPDATE participant SET place = number, preview = false")
    op.execute("UPDATE planned_trial SET position = 1000 * trial_index, placed = true")
    op.execute(
        "UPDATE session SET last_seen_at = COALESCE("
        "(SELECT MAX(response.received_at) FROM response WHERE response.session_id = session.id), session.started_at)"
    )
    with _changing("participant", CHECKS, CHECKS_BEFORE) as batch:
        batch.alter_column("preview", existing_type=sa.Boolean(), nullable=False)
        batch.create_unique_constraint(op.f("uq_participant_protocol_id_place"), ["protocol_id", "place"])
    with _changing("session", CHECKS, CHECKS_BEFORE) as batch:
        batch.alter_column("last_seen_at", existing_type=moment, nullable=False)
    with _changing("planned_trial", CHECKS, CHECKS_BEFORE) as batch:
        batch.alter_column("position", existing_type=sa.Integer(), nullable=False)
        batch.alter_column("placed", existing_type=sa.Boolean(), nullable=False)
        batch.create_unique_constraint(op.f("uq_planned_trial_pair_token"), ["pair_token"])
        batch.create_unique_constraint(op.f("uq_planned_trial_session_id_position"), ["session_id", "position"])
        batch.create_foreign_key(
            op.f("fk_planned_trial_pair_stimulus_id_stimulus"), "stimulus", ["pair_stimulus_id"], ["id"]
        )
    with _changing("response", CHECKS, CHECKS_BEFORE) as batch:
        batch.alter_column("response", existing_type=sa.String(3), type_=sa.String(10), existing_nullable=False)
        batch.alter_column("correct", existing_type=sa.Boolean(), nullable=True)


def downgrade() -> None:
    _refuse_what_would_be_lost()
    with _changing("response", CHECKS_BEFORE, CHECKS) as batch:
        batch.alter_column("correct", existing_type=sa.Boolean(), nullable=False)
        batch.alter_column("response", existing_type=sa.String(10), type_=sa.String(3), existing_nullable=False)
        _drop(batch, "mask_frames", "confidence_rt_ms", "confidence")
    with _changing("planned_trial", CHECKS_BEFORE, CHECKS) as batch:
        batch.drop_constraint(op.f("fk_planned_trial_pair_stimulus_id_stimulus"), type_="foreignkey")
        batch.drop_constraint(op.f("uq_planned_trial_session_id_position"), type_="unique")
        batch.drop_constraint(op.f("uq_planned_trial_pair_token"), type_="unique")
        _drop(batch, "aborted_at", "placed", "instructed", "catch", "target_side", "pair_token", "pair_stimulus_id")
        _drop(batch, "position")
    with _changing("session", CHECKS_BEFORE, CHECKS) as batch:
        _drop(batch, "end_reason", "ended_at", "last_seen_at")
    with _changing("participant", CHECKS_BEFORE, CHECKS) as batch:
        batch.drop_constraint(op.f("uq_participant_protocol_id_place"), type_="unique")
        _drop(batch, "withdrawn_at", "preview", "place")
    with _changing("protocol", CHECKS_BEFORE, CHECKS) as batch:
        _drop(batch, "closed_at", "paused_at")
    _drop_tables()


def _add(table: str, **columns: Any) -> None:
    for name, kind in columns.items():
        op.add_column(table, sa.Column(name, kind, nullable=True))


def _drop(batch: Any, *names: str) -> None:
    for name in names:
        batch.drop_column(name)


@contextmanager
def _changing(table: str, to: Checks, since: Checks) -> Iterator[Any]:
    """Opens a change of a table that ends with the CHECKs of ``to`` in place of those of ``since``."""
    with op.batch_alter_table(table) as batch:
        for name, rule in since[table].items():
            if to[table].get(name) != rule:
                batch.drop_constraint(op.f(f"ck_{table}_{name}"), type_="check")
        yield batch
        for name, rule in to[table].items():
            if since[table].get(name) != rule:
                batch.create_check_constraint(op.f(f"ck_{table}_{name}"), rule)


def _refuse_what_would_be_lost() -> None:
    """The first schema knows yes/no trials of participants with a plan alone."""
    for table, rule in (
        ("planned_trial", "phase = 'warm-up' OR pair_token IS NOT NULL OR catch IS NOT NULL OR aborted_at IS NOT NULL"),
        ("response", "confidence IS NOT NULL OR correct IS NULL OR mask_frames IS NOT NULL"),
        ("participant", "preview OR withdrawn_at IS NOT NULL"),
        ("session", "ended_at IS NOT NULL"),
        ("protocol", "paused_at IS NOT NULL OR closed_at IS NOT NULL"),
        ("arrival", "participant_id IS NOT NULL"),
        *((table, "true") for table in ("visit", "check_result", "one_time_link", "exclusion", "researcher", "action")),
    ):
        if found := op.get_bind().execute(sa.text(f"SELECT COUNT(*) FROM {table} WHERE {rule}")).scalar():  # noqa: S608
            raise StudyError(
                f"schema 0001 cannot hold {found} rows of {table}; export the study first, and go back with a backup"
            )


def _make_tables() -> None:
    op.create_table(
        "action",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_action")),
        sa.UniqueConstraint("sequence", name=op.f("uq_action_sequence")),
        sa.UniqueConstraint("sha256", name=op.f("uq_action_sha256")),
    )
    op.create_table(
        "researcher",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'researcher', 'viewer')", name=op.f("ck_researcher_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_researcher")),
        sa.UniqueConstraint("email", name=op.f("uq_researcher_email")),
    )
    op.create_table(
        "invitation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("made_by_id", sa.Integer(), nullable=True),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'researcher', 'viewer')", name=op.f("ck_invitation_role")),
        sa.ForeignKeyConstraint(["made_by_id"], ["researcher.id"], name=op.f("fk_invitation_made_by_id_researcher")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitation")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_invitation_token_sha256")),
    )
    op.create_table(
        "staff_session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("researcher_id", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["researcher_id"], ["researcher.id"], name=op.f("fk_staff_session_researcher_id_researcher")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff_session")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_staff_session_token_sha256")),
    )
    with op.batch_alter_table("staff_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_staff_session_researcher_id"), ["researcher_id"], unique=False)

    op.create_table(
        "one_time_link",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("protocol_id", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["protocol_id"], ["protocol.id"], name=op.f("fk_one_time_link_protocol_id_protocol")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_link")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_one_time_link_token_sha256")),
    )
    with op.batch_alter_table("one_time_link", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_one_time_link_protocol_id"), ["protocol_id"], unique=False)

    op.create_table(
        "arrival",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("protocol_id", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=10), nullable=False),
        sa.Column("platform_id", sa.String(length=200), nullable=True),
        sa.Column("platform_study", sa.String(length=200), nullable=True),
        sa.Column("platform_session", sa.String(length=200), nullable=True),
        sa.Column("link_id", sa.Integer(), nullable=True),
        sa.Column("participant_id", sa.Integer(), nullable=True),
        sa.Column("arrived_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(platform = 'link') = (link_id IS NOT NULL)", name=op.f("ck_arrival_link")),
        sa.CheckConstraint(
            "platform IN ('open', 'link', 'prolific', 'mturk', 'sona')", name=op.f("ck_arrival_platform")
        ),
        sa.ForeignKeyConstraint(["link_id"], ["one_time_link.id"], name=op.f("fk_arrival_link_id_one_time_link")),
        sa.ForeignKeyConstraint(
            ["participant_id"], ["participant.id"], name=op.f("fk_arrival_participant_id_participant")
        ),
        sa.ForeignKeyConstraint(["protocol_id"], ["protocol.id"], name=op.f("fk_arrival_protocol_id_protocol")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrival")),
        sa.UniqueConstraint("link_id", name=op.f("uq_arrival_link_id")),
        sa.UniqueConstraint("participant_id", name=op.f("uq_arrival_participant_id")),
        sa.UniqueConstraint(
            "protocol_id", "platform", "platform_id", name=op.f("uq_arrival_protocol_id_platform_platform_id")
        ),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_arrival_token_sha256")),
    )
    op.create_table(
        "exclusion",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("participant_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["by_id"], ["researcher.id"], name=op.f("fk_exclusion_by_id_researcher")),
        sa.ForeignKeyConstraint(
            ["participant_id"], ["participant.id"], name=op.f("fk_exclusion_participant_id_participant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exclusion")),
        sa.UniqueConstraint("participant_id", name=op.f("uq_exclusion_participant_id")),
    )
    op.create_table(
        "check_result",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name=op.f("fk_check_result_session_id_session")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_check_result")),
        sa.UniqueConstraint("session_id", "name", name=op.f("uq_check_result_session_id_name")),
    )
    op.create_table(
        "visit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("client_uuid", sa.String(length=36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gap_s", sa.Double(), nullable=False),
        sa.Column("seen_index", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name=op.f("fk_visit_session_id_session")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit")),
        sa.UniqueConstraint("client_uuid", name=op.f("uq_visit_client_uuid")),
    )
    with op.batch_alter_table("visit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_visit_session_id"), ["session_id"], unique=False)


def _drop_tables() -> None:
    with op.batch_alter_table("visit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_visit_session_id"))

    op.drop_table("visit")
    op.drop_table("check_result")
    op.drop_table("exclusion")
    op.drop_table("arrival")
    with op.batch_alter_table("one_time_link", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_one_time_link_protocol_id"))

    op.drop_table("one_time_link")
    with op.batch_alter_table("staff_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_staff_session_researcher_id"))

    op.drop_table("staff_session")
    op.drop_table("invitation")
    op.drop_table("researcher")
    op.drop_table("action")
