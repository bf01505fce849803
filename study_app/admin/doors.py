"""Signing in and out, one's own password, and joining by invitation."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request

from core.errors import StudyError
from study_app import limits, security
from study_app.admin.access import ANYBODY, admin, go, member, needs, page
from study_app.refusals import Refusal
from study_app.researchers import accounts, passwords
from study_app.staff import Researcher
from study_app.state import database

TRIES, TRIES_OF_ALL = 10, 300
WINDOW_S = 15 * 60
COOKIE_DAYS = 1


@admin.get("/sign-in")
@needs(ANYBODY)
def sign_in() -> Response:
    """The page to sign in on."""
    return page("sign_in.html", problem="", email="")


@admin.post("/sign-in")
@needs(ANYBODY)
def do_sign_in() -> Response:
    """Signs in with a new token; the old one is worth nothing any more."""
    email, password = request.form.get("email", ""), request.form.get("password", "")
    limits.check("sign-in", email.strip().lower(), TRIES, WINDOW_S)
    limits.check("sign-in of anybody", "", TRIES_OF_ALL, WINDOW_S)
    try:
        signed_in = accounts.sign_in(database(), email, password, now=datetime.now(UTC))
    except accounts.WrongCredentialsError:
        return page("sign_in.html", 401, problem="The address or the password is not right.", email=email)
    _end_old_session()
    return _with_cookie(go("overview"), signed_in.token)


@admin.post("/sign-out")
@needs("viewer")
def sign_out() -> Response:
    """Ends the session, on the server too."""
    _end_old_session()
    response = go("sign_in")
    security.drop_cookie(response, security.STAFF)
    return response


def _end_old_session() -> None:
    if security.cookie(security.STAFF):
        with database().writing() as writer:
            accounts.end_session(writer, security.cookie(security.STAFF))


def _with_cookie(response: Response, token: str) -> Response:
    security.set_cookie(response, security.STAFF, token, days=COOKIE_DAYS)
    return response


@admin.get("/account")
@needs("viewer")
def account() -> Response:
    """One's own account."""
    return page("account.html", problem="")


@admin.post("/account/password")
@needs("viewer")
def change_password() -> Response:
    """Changes one's password, which ends all sessions but this one; this one gets a new token."""
    limits.check("sign-in", member().email, TRIES, WINDOW_S)
    if not _knows_password(request.form.get("password", "")):
        return page("account.html", 401, problem="Your present password is not right.")
    try:
        new = passwords.accept(_twice(), member().email)
    except StudyError as error:
        return page("account.html", 422, problem=str(error))
    with database().writing() as writer:
        row = writer.get_one(Researcher, member().id)
        accounts.change_password(writer, row, new, actor=row.email)
        signed_in = accounts.start(writer, row, datetime.now(UTC))
    return _with_cookie(go("account", "password"), signed_in.token)


def _knows_password(password: str) -> bool:
    with database().reading() as reader:
        stored = reader.get_one(Researcher, member().id).password_hash
    return passwords.verify(stored, password)


def _twice() -> str:
    first, second = request.form.get("new", ""), request.form.get("again", "")
    if first != second:
        raise StudyError("password: expected the same one twice, got two different ones")
    return first


@admin.get("/invitations/<token>")
@needs(ANYBODY)
def join(token: str) -> Response:
    """The page on which somebody who was invited chooses a password."""
    return page("join.html", email=_invited_email(token), problem="", token=token)


@admin.post("/invitations/<token>")
@needs(ANYBODY)
def do_join(token: str) -> Response:
    """Makes the account, uses the invitation up, and signs in."""
    email, now = _invited_email(token), datetime.now(UTC)
    try:
        new = passwords.accept(_twice(), email)
    except StudyError as error:
        return page("join.html", 422, email=email, problem=str(error), token=token)
    with database().writing() as writer:
        invited = accounts.invitation(writer, token, now)
        if invited is None:
            raise _no_invitation()
        signed_in = accounts.start(writer, accounts.accept(writer, invited, new, now=now), now)
    return _with_cookie(go("overview", "joined"), signed_in.token)


def _invited_email(token: str) -> str:
    with database().reading() as reader:
        invited = accounts.invitation(reader, token, datetime.now(UTC))
        if invited is None:
            raise _no_invitation()
        return invited.email


def _no_invitation() -> Refusal:
    return Refusal(404, "invitation", "this invitation was used, has expired, or never was; ask an owner for another")
