"""First schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stimulus_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stimulus_set")),
        sa.UniqueConstraint("manifest_sha256", name=op.f("uq_stimulus_set_manifest_sha256")),
        sa.UniqueConstraint("name", name=op.f("uq_stimulus_set_name")),
    )
    op.create_table(
        "protocol",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["set_id"], ["stimulus_set.id"], name=op.f("fk_protocol_set_id_stimulus_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_protocol")),
        sa.UniqueConstraint("name", name=op.f("uq_protocol_name")),
    )
    op.create_table(
        "stimulus",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("stimulus_id", sa.String(length=400), nullable=False),
        sa.Column("source_id", sa.String(length=300), nullable=False),
        sa.Column("source_class", sa.String(length=200), nullable=False),
        sa.Column("run", sa.String(length=200), nullable=True),
        sa.Column("method", sa.String(length=100), nullable=True),
        sa.Column("attack", sa.String(length=100), nullable=True),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("eps_asked", sa.Integer(), nullable=False),
        sa.Column("eps_measured", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.CheckConstraint("(run IS NULL) = (eps_asked = 0)", name=op.f("ck_stimulus_reference_has_no_run")),
        sa.ForeignKeyConstraint(
            ["set_id"], ["stimulus_set.id"], name=op.f("fk_stimulus_set_id_stimulus_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stimulus")),
        sa.UniqueConstraint("set_id", "stimulus_id", name=op.f("uq_stimulus_set_id_stimulus_id")),
    )
    op.create_table(
        "participant",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("protocol_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("yes_side", sa.String(length=5), nullable=False),
        sa.Column("locale", sa.String(length=20), nullable=False),
        sa.Column("robot", sa.Boolean(), nullable=False),
        sa.Column("consented_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("yes_side IN ('left', 'right')", name=op.f("ck_participant_yes_side")),
        sa.ForeignKeyConstraint(["protocol_id"], ["protocol.id"], name=op.f("fk_participant_protocol_id_protocol")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_participant")),
        sa.UniqueConstraint("protocol_id", "number", name=op.f("uq_participant_protocol_id_number")),
        sa.UniqueConstraint("public_id", name=op.f("uq_participant_public_id")),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("participant_id", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("app_version", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completion_code", sa.String(length=20), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (completion_code IS NULL)", name=op.f("ck_session_code_when_finished")
        ),
        sa.ForeignKeyConstraint(
            ["participant_id"], ["participant.id"], name=op.f("fk_session_participant_id_participant")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
        sa.UniqueConstraint("completion_code", name=op.f("uq_session_completion_code")),
        sa.UniqueConstraint("participant_id", name=op.f("uq_session_participant_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_session_public_id")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_session_token_sha256")),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name=op.f("fk_audit_event_session_id_session")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_table(
        "planned_trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("trial_index", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=10), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("stimulus_id", sa.Integer(), nullable=False),
        sa.Column("signal", sa.Boolean(), nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.CheckConstraint("phase IN ('practice', 'main')", name=op.f("ck_planned_trial_phase")),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], name=op.f("fk_planned_trial_session_id_session")),
        sa.ForeignKeyConstraint(["stimulus_id"], ["stimulus.id"], name=op.f("fk_planned_trial_stimulus_id_stimulus")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planned_trial")),
        sa.UniqueConstraint("session_id", "trial_index", name=op.f("uq_planned_trial_session_id_trial_index")),
        sa.UniqueConstraint("token", name=op.f("uq_planned_trial_token")),
    )
    with op.batch_alter_table("planned_trial", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_planned_trial_stimulus_id"), ["stimulus_id"], unique=False)

    op.create_table(
        "response",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.Integer(), nullable=False),
        sa.Column("trial_index", sa.Integer(), nullable=False),
        sa.Column("client_uuid", sa.String(length=36), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("response", sa.String(length=3), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=False),
        sa.Column("rt_ms", sa.Double(), nullable=False),
        sa.Column("onset_ms", sa.Double(), nullable=False),
        sa.Column("frames_planned", sa.Integer(), nullable=True),
        sa.Column("frames_shown", sa.Integer(), nullable=False),
        sa.Column("long_frames", sa.Integer(), nullable=False),
        sa.Column("refresh_hz", sa.Double(), nullable=True),
        sa.Column("device_pixel_ratio", sa.Double(), nullable=False),
        sa.Column("css_px", sa.Double(), nullable=False),
        sa.Column("scale", sa.Integer(), nullable=False),
        sa.Column("input_type", sa.String(length=10), nullable=False),
        sa.Column("blur_count", sa.Integer(), nullable=False),
        sa.Column("hidden_count", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("response IN ('yes', 'no')", name=op.f("ck_response_response")),
        sa.CheckConstraint("rt_ms >= 0", name=op.f("ck_response_rt_ms")),
        sa.ForeignKeyConstraint(
            ["session_id", "trial_index"],
            ["planned_trial.session_id", "planned_trial.trial_index"],
            name=op.f("fk_response_session_id_trial_index_planned_trial"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_response")),
        sa.UniqueConstraint("client_uuid", name=op.f("uq_response_client_uuid")),
        sa.UniqueConstraint("session_id", "trial_index", name=op.f("uq_response_session_id_trial_index")),
    )


def downgrade() -> None:
    op.drop_table("response")
    with op.batch_alter_table("planned_trial", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_planned_trial_stimulus_id"))

    op.drop_table("planned_trial")
    op.drop_table("audit_event")
    op.drop_table("session")
    op.drop_table("participant")
    op.drop_table("stimulus")
    op.drop_table("protocol")
    op.drop_table("stimulus_set")
