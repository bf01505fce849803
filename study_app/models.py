"""The tables of the study. What must hold is a constraint of the schema, not a habit of the code.

A stimulus set and a protocol are registered once; a participant has one session, a session one plan of trials, and a
planned trial at most one response. Nothing in a response tells what was shown: that is in the plan. What a recruitment
platform says of a person is in ``Arrival`` alone, which no export reads. Researchers' tables: ``study_app.staff``.
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
    """A registered protocol, its file byte for byte; frozen from ``frozen_at``, when the first participant starts.

    While it is paused nobody can begin and everybody can go on; once it is closed nobody can do either.
    """

    __tablename__ = "protocol"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(Text)
    set_id: Mapped[int] = mapped_column(ForeignKey("stimulus_set.id"))
    registered_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    set: Mapped[StimulusSet] = relationship()


class Participant(Base):
    """Somebody who consented. ``number`` counts from 0 within a protocol, in the order of consent.

    ``place`` is the slice of the design that this participant plays; each is held by one participant at a time, and is
    null for who gave it back (abandoned, screened out, withdrawn) and for previews. A withdrawn participant's answers
    are deleted; the row stays, to say that there was one.
    """

    __tablename__ = "participant"
    __table_args__ = (
        UniqueConstraint("protocol_id", "number"),
        UniqueConstraint("protocol_id", "place"),
        CheckConstraint("yes_side IN ('left', 'right')", name="yes_side"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    protocol_id: Mapped[int] = mapped_column(ForeignKey("protocol.id"))
    number: Mapped[int]
    place: Mapped[int | None]
    yes_side: Mapped[str] = mapped_column(String(5))
    locale: Mapped[str] = mapped_column(String(20))
    robot: Mapped[bool]
    preview: Mapped[bool]
    consented_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]
    protocol: Mapped[Protocol] = relationship()


class Session(Base):
    """A participant's run through the study. Only the hash of the cookie's token is kept.

    It ends once: finished, with a code of its own, or for the reason in ``end_reason``. ``last_seen_at`` moves with
    each answer and each page load; a session that was silent for too long is abandoned and loses its place.
    """

    __tablename__ = "session"
    __table_args__ = (
        CheckConstraint("(finished_at IS NULL) = (completion_code IS NULL)", name="code_when_finished"),
        CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="reason_when_ended"),
        CheckConstraint("end_reason IN ('screened-out', 'timed-out', 'withdrawn')", name="end_reason"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"), unique=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    app_version: Mapped[str] = mapped_column(String(40))
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    completion_code: Mapped[str | None] = mapped_column(String(20), unique=True)
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(20))
    participant: Mapped[Participant] = relationship()
    trials: Mapped[list[PlannedTrial]] = relationship(back_populates="session", order_by="PlannedTrial.position")


class PlannedTrial(Base):
    """What a session shows in one trial. The browser gets the tokens; they are the pictures' only names there.

    ``stimulus`` is the picture in question: perturbed where ``signal``, else a reference. In tasks with two pictures
    ``pair`` is the reference beside it, and ``target_side`` the side on which the picture in question stands.
    ``trial_index`` is the trial's name, ``position`` its place in the order of showing; a trial that is put in later
    gets the next index and a position between two others. An aborted trial was seen and never answered; another one
    stands in for it. Until an adaptive trial is ``placed``, its stimulus is provisional and not served.
    """

    __tablename__ = "planned_trial"
    __table_args__ = (
        UniqueConstraint("session_id", "trial_index"),
        UniqueConstraint("session_id", "position"),
        CheckConstraint("phase IN ('practice', 'warm-up', 'main')", name="phase"),
        CheckConstraint("catch IN ('gross', 'instructed')", name="catch"),
        CheckConstraint("target_side IN ('left', 'right')", name="target_side"),
        CheckConstraint("(pair_stimulus_id IS NULL) = (pair_token IS NULL)", name="pair_has_token"),
        CheckConstraint("(pair_stimulus_id IS NULL) = (target_side IS NULL)", name="pair_has_side"),
        CheckConstraint("(instructed IS NOT NULL) = (catch IS NOT NULL AND catch = 'instructed')", name="instructed"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("session.id"))
    trial_index: Mapped[int]
    position: Mapped[int]
    phase: Mapped[str] = mapped_column(String(10))
    block: Mapped[int]
    stimulus_id: Mapped[int] = mapped_column(ForeignKey("stimulus.id"), index=True)
    signal: Mapped[bool]
    token: Mapped[str] = mapped_column(String(40), unique=True)
    pair_stimulus_id: Mapped[int | None] = mapped_column(ForeignKey("stimulus.id"))
    pair_token: Mapped[str | None] = mapped_column(String(40), unique=True)
    target_side: Mapped[str | None] = mapped_column(String(5))
    catch: Mapped[str | None] = mapped_column(String(10))
    instructed: Mapped[str | None] = mapped_column(String(10))
    placed: Mapped[bool]
    aborted_at: Mapped[datetime | None]
    session: Mapped[Session] = relationship(back_populates="trials")
    stimulus: Mapped[StimulusRow] = relationship(foreign_keys=[stimulus_id])


class Response(Base):
    """The answer to a planned trial: the first one that arrived, kept with the hash of its payload.

    ``correct`` is null where no answer is right: two unperturbed pictures of which one was to be chosen.
    """

    __tablename__ = "response"
    __table_args__ = (
        UniqueConstraint("session_id", "trial_index"),
        ForeignKeyConstraint(["session_id", "trial_index"], ["planned_trial.session_id", "planned_trial.trial_index"]),
        CheckConstraint("response IN ('yes', 'no', 'left', 'right', 'same', 'different')", name="response"),
        CheckConstraint("rt_ms >= 0", name="rt_ms"),
        CheckConstraint("confidence >= 1", name="confidence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int]
    trial_index: Mapped[int]
    client_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    payload_sha256: Mapped[str] = mapped_column(String(64))
    response: Mapped[str] = mapped_column(String(10))
    correct: Mapped[bool | None]
    confidence: Mapped[int | None]
    confidence_rt_ms: Mapped[float | None]
    rt_ms: Mapped[float]
    onset_ms: Mapped[float]
    frames_planned: Mapped[int | None]
    frames_shown: Mapped[int]
    mask_frames: Mapped[int | None]
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


class Visit(Base):
    """A page load in which a session went on; ``seen_index`` is the trial that the last page had begun, if any."""

    __tablename__ = "visit"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("session.id"), index=True)
    client_uuid: Mapped[str] = mapped_column(String(36), unique=True)
    at: Mapped[datetime]
    gap_s: Mapped[float]
    seen_index: Mapped[int | None]


class CheckResult(Base):
    """The result of one step before the task: eligibility, device, colour vision, calibration."""

    __tablename__ = "check_result"
    __table_args__ = (UniqueConstraint("session_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("session.id"))
    name: Mapped[str] = mapped_column(String(20))
    passed: Mapped[bool]
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class OneTimeLink(Base):
    """A link that one person may use; only the hash of its token is kept."""

    __tablename__ = "one_time_link"

    id: Mapped[int] = mapped_column(primary_key=True)
    protocol_id: Mapped[int] = mapped_column(ForeignKey("protocol.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    label: Mapped[str] = mapped_column(String(100))
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class Arrival(Base):
    """Somebody who opened the study's address, and what a platform said of them. No export reads this table.

    The browser holds a token in a cookie; its hash is here. ``participant_id`` is set at consent. One platform id makes
    one arrival of a protocol, and so at most one participant.
    """

    __tablename__ = "arrival"
    __table_args__ = (
        UniqueConstraint("protocol_id", "platform", "platform_id"),
        CheckConstraint("platform IN ('open', 'link', 'prolific', 'mturk', 'sona')", name="platform"),
        CheckConstraint("(platform = 'link') = (link_id IS NOT NULL)", name="link"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    protocol_id: Mapped[int] = mapped_column(ForeignKey("protocol.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    platform: Mapped[str] = mapped_column(String(10))
    platform_id: Mapped[str | None] = mapped_column(String(200))
    platform_study: Mapped[str | None] = mapped_column(String(200))
    platform_session: Mapped[str | None] = mapped_column(String(200))
    link_id: Mapped[int | None] = mapped_column(ForeignKey("one_time_link.id"), unique=True)
    participant_id: Mapped[int | None] = mapped_column(ForeignKey("participant.id"), unique=True)
    arrived_at: Mapped[datetime]


class AuditEvent(Base):
    """Something that happened, in the order in which it happened."""

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(60))
    session_id: Mapped[int | None] = mapped_column(ForeignKey("session.id"))
    detail: Mapped[dict[str, Any]]
    session: Mapped[Session | None] = relationship()
