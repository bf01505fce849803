"""The researchers' pages: who is signed in, and which role a page needs. A page that names none is not served."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Blueprint, Response, current_app, g, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from core.errors import PercepsilonError
from study_app import registration, security
from study_app.models import Protocol
from study_app.refusals import Refusal
from study_app.researchers import accounts
from study_app.staff import ROLES
from study_app.state import database

View = TypeVar("View", bound=Callable[..., Any])
ANYBODY = "anybody"
RANKS = {ANYBODY: 0, **{role: rank for rank, role in enumerate(reversed(ROLES), start=1)}}
LINES = {
    "paused": "The study is paused: nobody can begin, and who is in can go on.",
    "resumed": "The study goes on.",
    "closed": "The study is closed.",
    "reopened": "The study is open again.",
    "previews": "The previews are deleted.",
    "excluded": "Left out of the analysis.",
    "included": "Taken into the analysis again.",
    "password": "Your password is changed, and you are signed out everywhere else.",
    "joined": "Welcome. Your account is made.",
    "disabled": "The account is disabled and signed out.",
    "enabled": "The account can sign in again.",
    "task-pause": "The annotation task is paused: no pictures are handed out, and what is open may be handed in.",
    "task-resume": "Pictures are handed out again.",
    "task-close": "The annotation task is closed.",
    "task-reopen": "The annotation task is open again.",
    "accepted": "Accepted.",
    "returned": "Returned: the annotator sees the note and goes on with the picture.",
}  # what a page says after a change
admin = Blueprint("admin", __name__, url_prefix="/admin")


@dataclass(frozen=True, kw_only=True)
class Member:
    """Who is signed in."""

    id: int
    email: str
    role: str

    def may(self, role: str) -> bool:
        """Returns whether this member has ``role`` or one above it."""
        return RANKS[self.role] >= RANKS[role]


def needs(role: str, *, by_itself: bool = False) -> Callable[[View], View]:
    """Returns the decorator that says which role a page needs; every page has it, just above its function.

    Args:
        role: ``viewer``, ``researcher``, ``owner``, or ``ANYBODY`` for pages before signing in.
        by_itself: the page asks for it without a click, which does not keep a session alive.
    """

    def mark(view: View) -> View:
        view.needs, view.by_itself = role, by_itself  # type: ignore[attr-defined]
        return view

    return mark


@admin.before_request
def guard() -> Response | None:
    """Lets a request pass if who sent it may see the page; keeps the session alive."""
    view = current_app.view_functions[request.endpoint or ""]
    role: str | None = getattr(view, "needs", None)
    if role is None:
        raise Refusal(404, "not found", "no such page")
    g.member = None if role == ANYBODY else _member(keep=not getattr(view, "by_itself", False))
    if role == ANYBODY:
        return None
    if g.member is None:
        return _sign_in_first()
    if not g.member.may(role):
        raise Refusal(403, "role", f"expected the role {role} or one above it; you are signed in as {g.member.role}")
    _check_own_token()
    return None


def _member(*, keep: bool) -> Member | None:
    token, now = security.cookie(security.STAFF), datetime.now(UTC)
    with database().reading() as reader:
        found = accounts.find_session(reader, token, now)
        if found is None:
            return None
        account, stale = found.researcher, now - found.last_seen_at > accounts.TOUCH_EVERY
        member = Member(id=account.id, email=account.email, role=account.role)
    if keep and stale:
        with database().writing() as writer:
            accounts.touch(writer, token, now)
    return member


def _sign_in_first() -> Response:
    if request.method == "GET" and not getattr(current_app.view_functions[request.endpoint or ""], "by_itself", False):
        return make_response(redirect(url_for("admin.sign_in"), 303))
    raise Refusal(401, "signed out", "you are signed out; sign in again")


def _check_own_token() -> None:
    """A change on these pages needs the token of the sign-in itself, not that of a participant's cookie."""
    if request.method not in security.CHANGING:
        return
    given = request.form.get(security.CSRF_FIELD, "")
    if not hmac.compare_digest(given.encode(), token().encode()):
        raise Refusal(403, "csrf", "expected the token of this page; load it again")


def token() -> str:
    """Returns the CSRF token of these pages."""
    staff = security.cookie(security.STAFF)
    return security.csrf_token(staff) if staff else security.page_token()


def member() -> Member:
    """Returns who is signed in, on pages that need it."""
    found: Member = g.member
    return found


@admin.context_processor
def shared() -> dict[str, Any]:
    """What all these pages show: who is signed in, and how the study stands."""
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
        if protocol is not None:
            reader.refresh(protocol, ["set"])
    state = {"protocol": protocol, "standing": standing(protocol), "lines": LINES}
    return {"csrf_token": token, "member": g.get("member"), **state}


def standing(protocol: Protocol | None) -> str:
    """Returns ``none``, ``closed``, ``paused`` or ``open``."""
    if protocol is None:
        return "none"
    return "closed" if protocol.closed_at else "paused" if protocol.paused_at else "open"


def page(template: str, code: int = 200, **values: Any) -> Response:
    """Returns a page, with an HTTP status ``code``."""
    return make_response(render_template(f"admin/{template}", **values), code)


def go(endpoint: str, said: str = "", **values: Any) -> Response:
    """Returns a redirection after a change; ``said`` is the key of the line that tells what was done."""
    if said:
        values["said"] = said
    return make_response(redirect(url_for(f"admin.{endpoint}", **values), 303))


def current() -> Protocol:
    """Returns the current protocol.

    Raises:
        Refusal: 404; none is registered.
    """
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
    if protocol is None:
        raise Refusal(404, "no protocol", "no protocol is registered yet; the command is: register-protocol")
    return protocol


@admin.errorhandler(PercepsilonError)
def refused(error: PercepsilonError) -> Response:
    """What was asked cannot be done: the reason, in the words of the error."""
    return page("refused.html", 422, message=str(error))


@admin.errorhandler(Refusal)
def turned_away(error: Refusal) -> Response:
    """A request that these pages do not serve."""
    return page("refused.html", error.status, message=str(error))


@admin.errorhandler(HTTPException)
def failed(error: HTTPException) -> Response | HTTPException:
    """What went wrong in general; the reason is in the log."""
    if error.response is not None or (error.code or 500) < 400:
        return error
    code = error.code or 500
    ours = "something went wrong on the server; its log says what. Try again in a minute"
    return page("refused.html", code, message=ours if code >= 500 else (error.description or error.name).rstrip("."))
