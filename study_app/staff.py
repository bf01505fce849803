"""The tables of the people who run a study: accounts, invitations, what they did, and whom they left out.

``Action`` is a chain: each row holds the hash of the one before it, so that a row which is changed or taken out later
breaks the chain from there on (``study_app.researchers.ledger`` writes and verifies it).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from study_app.models import Base, Participant

ROLES = ("owner", "researcher", "viewer")
_ROLE = "role IN ('owner', 'researcher', 'viewer')"


class Researcher(Base):
    """An account. Owners invite and disable others, researchers change studies, viewers look."""

    __tablename__ = "researcher"
    __table_args__ = (CheckConstraint(_ROLE, name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    made_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class StaffSession(Base):
    """A researcher who is signed in; only the hash of the cookie's token is kept."""

    __tablename__ = "staff_session"

    id: Mapped[int] = mapped_column(primary_key=True)
    researcher_id: Mapped[int] = mapped_column(ForeignKey("researcher.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    signed_in_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    researcher: Mapped[Researcher] = relationship()


class Invitation(Base):
    """An invitation to make an account, for one address, once, until it expires."""

    __tablename__ = "invitation"
    __table_args__ = (CheckConstraint(_ROLE, name="role"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    email: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    made_by_id: Mapped[int | None] = mapped_column(ForeignKey("researcher.id"))
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Exclusion(Base):
    """A participant whom a researcher left out of the analysis, with a reason code; the data stay."""

    __tablename__ = "exclusion"

    id: Mapped[int] = mapped_column(primary_key=True)
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"), unique=True)
    reason: Mapped[str] = mapped_column(String(40))
    note: Mapped[str] = mapped_column(Text)
    by_id: Mapped[int] = mapped_column(ForeignKey("researcher.id"))
    at: Mapped[datetime]
    participant: Mapped[Participant] = relationship()


class Action(Base):
    """Something that a researcher, or a command on the server, did; a link of the chain."""

    __tablename__ = "action"

    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(unique=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    detail: Mapped[dict[str, Any]]
    previous_sha256: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
