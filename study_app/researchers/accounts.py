"""Researchers' accounts: signing in and out, sessions that expire, invitations, passwords.

A session ends after half an hour without a click and after twelve hours in any case; its token is new at each sign-in.
Signing in takes as long for an address without an account as for one with it; how often it may be tried is limited
where it is asked for (``study_app.admin.doors``). Times are arguments, so that tests need not wait.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app import security
from study_app.database import Database
from study_app.researchers import ledger, passwords
from study_app.staff import ROLES, Invitation, Researcher, StaffSession

IDLE, LIFETIME, INVITED_FOR = timedelta(minutes=30), timedelta(hours=12), timedelta(days=7)
TOUCH_EVERY = timedelta(minutes=1)  # how exactly a session's last click is known
REFUSED = "sign-in refused"
EXPECTED_EMAIL = "expected an address such as name@example.org"


class WrongCredentialsError(StudyError):
    """No such account, or another password: nobody is told which."""


@dataclass(frozen=True)
class SignedIn:
    """A new session and the token that its cookie carries; only the token's hash is stored."""

    session: StaffSession
    token: str


def normal_email(text: str) -> str:
    """Returns an e-mail address in the one form in which it is kept.

    Raises:
        StudyError: it is none.
    """
    email = text.strip().lower()
    name, _, host = email.partition("@")
    if not name or "." not in host or len(email) > 200 or any(letter.isspace() for letter in email):
        raise StudyError(f"e-mail: {EXPECTED_EMAIL}, got {text.strip()[:80]!r}")
    return email


def add(
    database: DatabaseSession, email: str, password_hash: str, role: str, *, actor: str, now: datetime
) -> Researcher:
    """Returns a new account, which is in the ledger; the hash comes from ``passwords.accept``.

    Raises:
        StudyError: the address is none or has an account, or the role is unknown.
    """
    email = normal_email(email)
    if role not in ROLES:
        raise StudyError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    if by_email(database, email) is not None:
        raise StudyError(f"{email}: has an account already; give it another password with: researcher reset-password")
    row = Researcher(email=email, password_hash=password_hash, role=role, made_at=now, disabled_at=None)
    database.add(row)
    database.flush()
    ledger.write(database, actor, "account made", account=email, role=role)
    return row


def by_email(database: DatabaseSession, email: str) -> Researcher | None:
    """Returns the account of an address, disabled or not."""
    return database.scalar(select(Researcher).where(Researcher.email == email))


def sign_in(database: Database, email: str, password: str, *, now: datetime) -> SignedIn:
    """Returns a new session; every attempt is in the ledger.

    Hashes are made outside transactions, because they take long and answers must not wait for them.

    Raises:
        WrongCredentialsError: no such account, a disabled one, or another password.
    """
    email = email.strip().lower()
    with database.reading() as reader:
        found = by_email(reader, email)
    right = passwords.verify(found.password_hash if found else None, password)
    with database.writing() as writer:
        account = by_email(writer, email)
        if right and account is not None and account.disabled_at is None:
            return start(writer, account, now)
        ledger.write(writer, _name(writer, email), REFUSED)
    raise WrongCredentialsError("the address or the password is wrong")


def start(database: DatabaseSession, account: Researcher, now: datetime) -> SignedIn:
    """Returns a new session of an account whose password was just given."""
    token = security.new_token()
    session = StaffSession(
        researcher=account,
        token_sha256=security.hash_token(token),
        signed_in_at=now,
        last_seen_at=now,
        expires_at=now + LIFETIME,
    )
    database.execute(delete(StaffSession).where(StaffSession.expires_at < now))
    database.add(session)
    ledger.write(database, account.email, "sign-in")
    return SignedIn(session, token)


def _name(database: DatabaseSession, email: str) -> str:
    """Returns how an attempt is noted: what is no account's address may be a password that slipped into its field."""
    if by_email(database, email) is not None:
        return email
    return f"unknown-{hashlib.sha256(email.encode()).hexdigest()[:4]}"


def find_session(database: DatabaseSession, token: str | None, now: datetime) -> StaffSession | None:
    """Returns the session of a cookie's token, unless it expired, was silent too long, or the account is disabled."""
    if not token:
        return None
    query = select(StaffSession).where(StaffSession.token_sha256 == security.hash_token(token))
    found = database.scalar(query)
    if found is None or found.researcher.disabled_at is not None:
        return None
    return found if now < found.expires_at and now - found.last_seen_at < IDLE else None


def touch(database: DatabaseSession, token: str | None, now: datetime) -> None:
    """Notes that a session's researcher clicked something."""
    if (found := find_session(database, token, now)) is not None:
        found.last_seen_at = now


def end_session(database: DatabaseSession, token: str | None) -> None:
    """Ends the session of a cookie's token, if it is one; an account's name in the ledger says whose."""
    if not token:
        return
    query = select(StaffSession).where(StaffSession.token_sha256 == security.hash_token(token))
    if (found := database.scalar(query)) is not None:
        database.delete(found)
        ledger.write(database, found.researcher.email, "sign-out")


def end_sessions(database: DatabaseSession, account: Researcher) -> None:
    """Signs an account out everywhere."""
    database.execute(delete(StaffSession).where(StaffSession.researcher_id == account.id))


def change_password(database: DatabaseSession, account: Researcher, password_hash: str, *, actor: str) -> None:
    """Gives an account another password, of which ``passwords.accept`` made the hash, and signs it out everywhere."""
    account.password_hash = password_hash
    end_sessions(database, account)
    ledger.write(database, actor, "password changed", account=account.email)


def disable(database: DatabaseSession, account: Researcher, *, actor: str, now: datetime) -> None:
    """Disables an account and ends its sessions.

    Raises:
        StudyError: it is the last owner's.
    """
    owners = select(func.count()).where(
        Researcher.role == "owner", Researcher.disabled_at.is_(None), Researcher.id != account.id
    )
    if account.role == "owner" and not database.scalar(owners):
        raise StudyError(f"{account.email}: expected another owner to remain, found none; make one first")
    account.disabled_at = account.disabled_at or now
    end_sessions(database, account)
    ledger.write(database, actor, "account disabled", account=account.email)


def enable(database: DatabaseSession, account: Researcher, *, actor: str) -> None:
    """Lets a disabled account sign in again."""
    account.disabled_at = None
    ledger.write(database, actor, "account enabled", account=account.email)


def invite(database: DatabaseSession, by: Researcher, email: str, role: str, *, now: datetime) -> str:
    """Returns the token of an invitation's link, which is kept nowhere.

    Raises:
        StudyError: the address is none or has an account, or the role is unknown.
    """
    email, token = normal_email(email), security.new_token()
    if role not in ROLES:
        raise StudyError(f"role: expected one of {', '.join(ROLES)}, got {role!r}")
    if by_email(database, email) is not None:
        raise StudyError(f"{email}: has an account already")
    row = Invitation(
        token_sha256=security.hash_token(token), email=email, role=role, made_by_id=by.id, made_at=now,
        expires_at=now + INVITED_FOR, used_at=None,
    )  # fmt: skip
    database.add(row)
    ledger.write(database, by.email, "invitation made", account=email, role=role)
    return token


def invitation(database: DatabaseSession, token: str, now: datetime) -> Invitation | None:
    """Returns the invitation of a link, if it can still be used."""
    query = select(Invitation).where(Invitation.token_sha256 == security.hash_token(token))
    found = database.scalar(query.with_for_update())
    return found if found is not None and found.used_at is None and now < found.expires_at else None


def accept(database: DatabaseSession, invited: Invitation, password_hash: str, *, now: datetime) -> Researcher:
    """Returns the account that an invitation makes; the invitation is used up.

    Raises:
        StudyError: the address has got an account in the meantime.
    """
    invited.used_at = now
    return add(database, invited.email, password_hash, invited.role, actor=invited.email, now=now)
