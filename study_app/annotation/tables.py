"""The tables of an annotation task. What must hold is a constraint of the schema, not a habit of the code.

A picture set and a task are registered once; an annotator has an assignment for each picture that was handed out, and
an assignment its strokes, in their order, and its submissions, of which the last one counts. Strokes and submissions
are only ever added; withdrawal alone deletes them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from study_app.models import Base

_OUTCOME = "outcome IN ('regions', 'none', 'skipped')"


class PictureSetRow(Base):
    """A registered picture set; ``directory`` holds the files, whose hashes were checked at registration."""

    __tablename__ = "picture_set"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    directory: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    registered_at: Mapped[datetime]
    pictures: Mapped[list[PictureRow]] = relationship(back_populates="set")


class PictureRow(Base):
    """One picture of a set."""

    __tablename__ = "picture"
    __table_args__ = (UniqueConstraint("set_id", "source_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[int] = mapped_column(ForeignKey("picture_set.id", ondelete="CASCADE"))
    source_id: Mapped[str] = mapped_column(String(300))
    source_class: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    set: Mapped[PictureSetRow] = relationship(back_populates="pictures")


class TaskRow(Base):
    """A registered task, its file byte for byte; frozen from ``frozen_at``, when the first annotator starts.

    While it is paused nobody begins and no picture is handed out; once it is closed nothing is stored any more.
    """

    __tablename__ = "annotation_task"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(Text)
    gold_sha256: Mapped[str] = mapped_column(String(64))
    set_id: Mapped[int] = mapped_column(ForeignKey("picture_set.id"))
    registered_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    set: Mapped[PictureSetRow] = relationship()


class TaskPicture(Base):
    """What a picture is in a task, and how many hold it: at most so many annotators as the task asks for.

    ``place`` is its place in the seeded order in which pictures are handed out. ``mask`` is the PNG of the regions that
    are known of practice and gold pictures.
    """

    __tablename__ = "task_picture"
    __table_args__ = (
        UniqueConstraint("task_id", "picture_id"),
        Index("ix_task_picture_handing_out", "task_id", "role", "held", "place"),
        CheckConstraint("role IN ('practice', 'gold', 'main')", name="role"),
        CheckConstraint("(role = 'main') = (mask IS NULL)", name="mask_of_known"),
        CheckConstraint("held >= 0", name="held"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("annotation_task.id", ondelete="CASCADE"))
    picture_id: Mapped[int] = mapped_column(ForeignKey("picture.id"), index=True)
    role: Mapped[str] = mapped_column(String(10))
    place: Mapped[int]
    held: Mapped[int] = mapped_column(default=0)
    mask: Mapped[bytes | None] = mapped_column(LargeBinary)
    picture: Mapped[PictureRow] = relationship()
    task: Mapped[TaskRow] = relationship()


class Annotator(Base):
    """Somebody who consented. Only the hash of the cookie's token is kept; ``number`` counts from 0 within a task."""

    __tablename__ = "annotator"
    __table_args__ = (
        UniqueConstraint("task_id", "number"),
        CheckConstraint("(finished_at IS NULL) = (completion_code IS NULL)", name="code_when_finished"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("annotation_task.id"))
    number: Mapped[int]
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    locale: Mapped[str] = mapped_column(String(20))
    robot: Mapped[bool]
    consented_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    completion_code: Mapped[str | None] = mapped_column(String(20), unique=True)
    withdrawn_at: Mapped[datetime | None]
    task: Mapped[TaskRow] = relationship()


class Assignment(Base):
    """A picture that was handed out to an annotator; ``public_id`` and ``token`` are its only names in the browser.

    ``counted`` says whether it takes one of its picture's places: while the reservation lasts, and from the submission
    of something other than a skip. ``outcome`` and ``round`` are those of the last submission; ``work`` is what its
    strokes cost to rasterise (points × rows).
    """

    __tablename__ = "assignment"
    __table_args__ = (
        UniqueConstraint("annotator_id", "task_picture_id"),
        Index("ix_assignment_expiry", "counted", "submitted_at", "expires_at"),
        CheckConstraint(_OUTCOME, name="outcome"),
        CheckConstraint("(outcome IS NULL) = (submitted_at IS NULL)", name="outcome_when_submitted"),
        CheckConstraint("review IN ('pending', 'accepted', 'returned')", name="review"),
        CheckConstraint("(review IS NOT NULL AND review = 'returned') = (note IS NOT NULL)", name="note_when_returned"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    token: Mapped[str] = mapped_column(String(40), unique=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"))
    task_picture_id: Mapped[int] = mapped_column(ForeignKey("task_picture.id"), index=True)
    reserved_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    counted: Mapped[bool]
    active_ms: Mapped[int]
    work: Mapped[int]
    submitted_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(10))
    round: Mapped[int]
    review: Mapped[str | None] = mapped_column(String(10))
    note: Mapped[str | None] = mapped_column(Text)
    annotator: Mapped[Annotator] = relationship()
    of: Mapped[TaskPicture] = relationship()


class Stroke(Base):
    """One operation of an assignment, kept with the hash of its payload; the first that arrived under its index."""

    __tablename__ = "stroke"
    __table_args__ = (UniqueConstraint("assignment_id", "stroke_index"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"))
    stroke_index: Mapped[int]
    client_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    operation: Mapped[dict[str, Any]]
    active_ms: Mapped[int]
    received_at: Mapped[datetime]


class Submission(Base):
    """What an annotator handed in: of the first ``strokes`` operations, with the mask that they paint."""

    __tablename__ = "submission"
    __table_args__ = (
        CheckConstraint(_OUTCOME, name="outcome"),
        CheckConstraint("(outcome = 'skipped') = (skip_reason IS NOT NULL)", name="reason_when_skipped"),
        CheckConstraint("(outcome = 'skipped') = (mask IS NULL)", name="mask_unless_skipped"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"), index=True)
    client_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(10))
    skip_reason: Mapped[str | None] = mapped_column(String(100))
    strokes: Mapped[int]
    round: Mapped[int]
    active_ms: Mapped[int]
    mask: Mapped[bytes | None] = mapped_column(LargeBinary)
    mask_pixels: Mapped[int | None]
    gold_iou: Mapped[float | None]
    last: Mapped[bool]
    at: Mapped[datetime]
    assignment: Mapped[Assignment] = relationship()


class Overlap(Base):
    """IoU of the last submissions of two assignments of one picture; ``first_id`` is the lower of the two."""

    __tablename__ = "overlap"
    __table_args__ = (CheckConstraint("first_id < second_id", name="order"),)

    first_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"), primary_key=True)
    second_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"), primary_key=True, index=True)
    iou: Mapped[float]


class Review(Base):
    """What a reviewer said of one round of an assignment."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("assignment_id", "round"),
        CheckConstraint("verdict IN ('accepted', 'returned')", name="verdict"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    assignment_id: Mapped[int] = mapped_column(ForeignKey("assignment.id"))
    round: Mapped[int]
    verdict: Mapped[str] = mapped_column(String(10))
    note: Mapped[str] = mapped_column(Text)
    by_id: Mapped[int] = mapped_column(ForeignKey("researcher.id"))
    at: Mapped[datetime]


class AnnotationEvent(Base):
    """Something that happened to an annotator, in the order in which it happened."""

    __tablename__ = "annotation_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(60))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotator.id"), index=True)
    detail: Mapped[dict[str, Any]]
