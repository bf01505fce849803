"""Annotation tasks: picture sets, tasks, annotators, what was handed out, strokes, submissions, reviews."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from core.errors import StudyError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
TABLES = (
    "picture_set",
    "annotation_task",
    "picture",
    "annotator",
    "task_picture",
    "annotation_event",
    "assignment",
    "overlap",
    "review",
    "stroke",
    "submission",
)  # in an order in which each refers to those before it


def upgrade() -> None:
    op.create_table(
        "picture_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture_set")),
        sa.UniqueConstraint("name", name=op.f("uq_picture_set_name")),
        sa.UniqueConstraint("sha256", name=op.f("uq_picture_set_sha256")),
    )
    op.create_table(
        "annotation_task",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("gold_sha256", sa.String(length=64), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("frozen_at", MOMENT, nullable=True),
        sa.Column("paused_at", MOMENT, nullable=True),
        sa.Column("closed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["set_id"], ["picture_set.id"], name=op.f("fk_annotation_task_set_id_picture_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation_task")),
        sa.UniqueConstraint("name", name=op.f("uq_annotation_task_name")),
    )
    op.create_table(
        "picture",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.String(length=300), nullable=False),
        sa.Column("source_class", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["set_id"], ["picture_set.id"], name=op.f("fk_picture_set_id_picture_set"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_picture")),
        sa.UniqueConstraint("set_id", "source_id", name=op.f("uq_picture_set_id_source_id")),
    )
    op.create_table(
        "annotator",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("locale", sa.String(length=20), nullable=False),
        sa.Column("robot", sa.Boolean(), nullable=False),
        sa.Column("consented_at", MOMENT, nullable=False),
        sa.Column("last_seen_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("completion_code", sa.String(length=20), nullable=True),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NULL) = (completion_code IS NULL)", name=op.f("ck_annotator_code_when_finished")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["annotation_task.id"], name=op.f("fk_annotator_task_id_annotation_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotator")),
        sa.UniqueConstraint("completion_code", name=op.f("uq_annotator_completion_code")),
        sa.UniqueConstraint("public_id", name=op.f("uq_annotator_public_id")),
        sa.UniqueConstraint("task_id", "number", name=op.f("uq_annotator_task_id_number")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_annotator_token_sha256")),
    )
    op.create_table(
        "task_picture",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("picture_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("held", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("(role = 'main') = (mask IS NULL)", name=op.f("ck_task_picture_mask_of_known")),
        sa.CheckConstraint("role IN ('practice', 'gold', 'main')", name=op.f("ck_task_picture_role")),
        sa.CheckConstraint("held >= 0", name=op.f("ck_task_picture_held")),
        sa.ForeignKeyConstraint(["picture_id"], ["picture.id"], name=op.f("fk_task_picture_picture_id_picture")),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["annotation_task.id"],
            name=op.f("fk_task_picture_task_id_annotation_task"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_picture")),
        sa.UniqueConstraint("task_id", "picture_id", name=op.f("uq_task_picture_task_id_picture_id")),
    )
    op.create_index("ix_task_picture_handing_out", "task_picture", ["task_id", "role", "held", "place"], unique=False)
    op.create_index(op.f("ix_task_picture_picture_id"), "task_picture", ["picture_id"], unique=False)
    op.create_table(
        "annotation_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotator.id"], name=op.f("fk_annotation_event_annotator_id_annotator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotation_event")),
    )
    op.create_index(op.f("ix_annotation_event_annotator_id"), "annotation_event", ["annotator_id"], unique=False)
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("public_id", sa.String(length=40), nullable=False),
        sa.Column("token", sa.String(length=40), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("task_picture_id", sa.Integer(), nullable=False),
        sa.Column("reserved_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("active_ms", sa.Integer(), nullable=False),
        sa.Column("work", sa.Integer(), nullable=False),
        sa.Column("submitted_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("review", sa.String(length=10), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(review IS NOT NULL AND review = 'returned') = (note IS NOT NULL)",
            name=op.f("ck_assignment_note_when_returned"),
        ),
        sa.CheckConstraint("outcome IN ('regions', 'none', 'skipped')", name=op.f("ck_assignment_outcome")),
        sa.CheckConstraint("review IN ('pending', 'accepted', 'returned')", name=op.f("ck_assignment_review")),
        sa.CheckConstraint(
            "(outcome IS NULL) = (submitted_at IS NULL)", name=op.f("ck_assignment_outcome_when_submitted")
        ),
        sa.ForeignKeyConstraint(["annotator_id"], ["annotator.id"], name=op.f("fk_assignment_annotator_id_annotator")),
        sa.ForeignKeyConstraint(
            ["task_picture_id"], ["task_picture.id"], name=op.f("fk_assignment_task_picture_id_task_picture")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignment")),
        sa.UniqueConstraint("annotator_id", "task_picture_id", name=op.f("uq_assignment_annotator_id_task_picture_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_assignment_public_id")),
        sa.UniqueConstraint("token", name=op.f("uq_assignment_token")),
    )
    op.create_index("ix_assignment_expiry", "assignment", ["counted", "submitted_at", "expires_at"], unique=False)
    op.create_index(op.f("ix_assignment_task_picture_id"), "assignment", ["task_picture_id"], unique=False)
    op.create_table(
        "overlap",
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("second_id", sa.Integer(), nullable=False),
        sa.Column("iou", sa.Double(), nullable=False),
        sa.CheckConstraint("first_id < second_id", name=op.f("ck_overlap_order")),
        sa.ForeignKeyConstraint(["first_id"], ["assignment.id"], name=op.f("fk_overlap_first_id_assignment")),
        sa.ForeignKeyConstraint(["second_id"], ["assignment.id"], name=op.f("fk_overlap_second_id_assignment")),
        sa.PrimaryKeyConstraint("first_id", "second_id", name=op.f("pk_overlap")),
    )
    op.create_index(op.f("ix_overlap_second_id"), "overlap", ["second_id"], unique=False)
    op.create_table(
        "review",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("by_id", sa.Integer(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint("verdict IN ('accepted', 'returned')", name=op.f("ck_review_verdict")),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignment.id"], name=op.f("fk_review_assignment_id_assignment")),
        sa.ForeignKeyConstraint(["by_id"], ["researcher.id"], name=op.f("fk_review_by_id_researcher")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("assignment_id", "round", name=op.f("uq_review_assignment_id_round")),
    )
    op.create_table(
        "stroke",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=False),
        sa.Column("stroke_index", sa.Integer(), nullable=False),
        sa.Column("client_uuid", sa.String(length=36), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("operation", sa.JSON(), nullable=False),
        sa.Column("active_ms", sa.Integer(), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["assignment_id"], ["assignment.id"], name=op.f("fk_stroke_assignment_id_assignment")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stroke")),
        sa.UniqueConstraint("assignment_id", "stroke_index", name=op.f("uq_stroke_assignment_id_stroke_index")),
        sa.UniqueConstraint("client_uuid", name=op.f("uq_stroke_client_uuid")),
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=False),
        sa.Column("client_uuid", sa.String(length=36), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("skip_reason", sa.String(length=100), nullable=True),
        sa.Column("strokes", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("active_ms", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=True),
        sa.Column("mask_pixels", sa.Integer(), nullable=True),
        sa.Column("gold_iou", sa.Double(), nullable=True),
        sa.Column("last", sa.Boolean(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint("(outcome = 'skipped') = (mask IS NULL)", name=op.f("ck_submission_mask_unless_skipped")),
        sa.CheckConstraint(
            "(outcome = 'skipped') = (skip_reason IS NOT NULL)", name=op.f("ck_submission_reason_when_skipped")
        ),
        sa.CheckConstraint("outcome IN ('regions', 'none', 'skipped')", name=op.f("ck_submission_outcome")),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignment.id"], name=op.f("fk_submission_assignment_id_assignment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        sa.UniqueConstraint("client_uuid", name=op.f("uq_submission_client_uuid")),
    )
    op.create_index(op.f("ix_submission_assignment_id"), "submission", ["assignment_id"], unique=False)


def downgrade() -> None:
    for table in TABLES:
        if found := op.get_bind().execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar():  # noqa: S608
            raise StudyError(
                f"schema 0003 cannot hold {found} rows of {table}; export the annotations first, go back with a backup"
            )
    for table in reversed(TABLES):
        op.drop_table(table)
