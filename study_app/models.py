"""The tables of the study. What must hold is a constraint of the schema, not a habit of the code.

A stimulus set and a protocol are registered once; a participant has one session, a session one plan of trials, and a
planned trial at most one response. Nothing in a response tells what was shown: that is in the plan.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC on every database; SQLite drops the zone, so that it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Returns ``value`` in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Returns ``value`` with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all tables share: names of constraints, moments in UTC."""

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map = {datetime: UtcDateTime(), dict[str, Any]: JSON()}  # noqa: RUF012  (SQLAlchemy reads the plain attribute)


class StimulusSet(Base):
    """A registered stimulus set; ``directory`` holds the pictures, whose hashes were checked at registration."""

    __tablename__ = "stimulus_set"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    directory: Mapped[str] = mapped_column(Text)
    manifest_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    registered_at: Mapped[datetime]
    rows: Mapped[list[StimulusRow]] = relationship(back_populates="set")


class StimulusRow(Base):
    """One row of a set's manifest, as far as a study needs it."""

    __tablename__ = "stimulus"
    __table_args__ = (
        UniqueConstraint("set_id", "stimulus_id"),
        CheckConstraint("(run IS NULL) = (eps_asked = 0)", name="reference_has_no_run"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[int] = mapped_column(ForeignKey("stimulus_set.id", ondelete="CASCADE"))
    stimulus_id: Mapped[str] = mapped_column(String(400))
    source_id: Mapped[str] = mapped_column(String(300))
    source_class: Mapped[str] = mapped_column(String(200))
    run: Mapped[str | None] = mapped_column(String(200))
    method: Mapped[str | None] = mapped_column(String(100))
    attack: Mapped[str | None] = mapped_column(String(100))
    region: Mapped[str] = mapped_column(String(40))
    eps_asked: Mapped[int]
    eps_measured: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    set: Mapped[StimulusSet] = relationship(back_populates="rows")


class Protocol(Base):
    """A registered protocol, its file byte for byte; frozen from ``frozen_at``, when the first participant starts."""

    __tablename__ = "protocol"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(Text)
    set_id: Mapped[int] = mapped_column(ForeignKey("stimulus_set.id"))
    registered_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]
    set: Mapped[StimulusSet] = relationship()


class Participant(Base):
    """Somebody who consented. ``number`` counts from 0 within a protocol and decides the rotation of the plan."""

    __tablename__ = "participant"
    __table_args__ = (
        UniqueConstraint("protocol_id", "number"),
        CheckConstraint("yes_side IN ('left', 'right')", name="yes_side"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    protocol_id: Mapped[int] = mapped_column(ForeignKey("protocol.id"))
    number: Mapped[int]
    yes_side: Mapped[str] = mapped_column(String(5))
    locale: Mapped[str] = mapped_column(String(20))
    robot: Mapped[bool]
    consented_at: Mapped[datetime]
    protocol: Mapped[Protocol] = relationship()


class Session(Base):
    """A participant's run through the study. Only the hash of the cookie's token is kept."""

    __tablename__ = "session"
    __table_args__ = (CheckConstraint("(finished_at IS NULL) = (completion_code IS NULL)", name="code_when_finished"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"), unique=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    app_version: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    completion_code: Mapped[str | None] = mapped_column(String(20), unique=True)
    participant: Mapped[Participant] = relationship()
    trials: Mapped[list[PlannedTrial]] = relationship(back_populates="session", order_by="PlannedTrial.trial_index")


class PlannedTrial(Base):
    """What a session shows at one index; ``token`` is the only name of the picture that the browser gets."""

    __tablename__ = "planned_trial"
    __table_args__ = (
        UniqueConstraint("session_id", "trial_index"),
        CheckConstraint("phase IN ('practice', 'main')", name="phase"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("session.id"))
    trial_index: Mapped[int]
    phase: Mapped[str] = mapped_column(String(10))
    block: Mapped[int]
    stimulus_id: Mapped[int] = mapped_column(ForeignKey("stimulus.id"), index=True)
    signal: Mapped[bool]
    token: Mapped[str] = mapped_column(String(40), unique=True)
    session: Mapped[Session] = relationship(back_populates="trials")
    stimulus: Mapped[StimulusRow] = relationship()


class Response(Base):
    """The answer to a planned trial: the first one that arrived, kept with the hash of its payload."""

    __tablename__ = "response"
    __table_args__ = (
        UniqueConstraint("session_id", "trial_index"),
        ForeignKeyConstraint(["session_id", "trial_index"], ["planned_trial.session_id", "planned_trial.trial_index"]),
        CheckConstraint("response IN ('yes', 'no')", name="response"),
        CheckConstraint("rt_ms >= 0", name="rt_ms"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int]
    trial_index: Mapped[int]
    client_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    response: Mapped[str] = mapped_column(String(3))
    correct: Mapped[bool]
    rt_ms: Mapped[float]
    onset_ms: Mapped[float]
    frames_planned: Mapped[int | None]
    frames_shown: Mapped[int]
    long_frames: Mapped[int]
    refresh_hz: Mapped[float | None]
    device_pixel_ratio: Mapped[float]
    css_px: Mapped[float]
    scale: Mapped[int]
    input_type: Mapped[str] = mapped_column(String(10))
    blur_count: Mapped[int]
    hidden_count: Mapped[int]
    attempt: Mapped[int]
    received_at: Mapped[datetime]


class AuditEvent(Base):
    """Something that happened, in the order in which it happened."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(60))
    session_id: Mapped[int | None] = mapped_column(ForeignKey("session.id"))
    detail: Mapped[dict[str, Any]]
    session: Mapped[Session | None] = relationship()
