"""The team and what it did: accounts, invitations, the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request, url_for
from sqlalchemy import func, select

from core.errors import StudyError
from study_app.admin.access import admin, go, member, needs, page
from study_app.refusals import Refusal
from study_app.researchers import accounts, ledger
from study_app.staff import ROLES, Action, Invitation, Researcher
from study_app.state import database

ROWS = 100


@admin.get("/team")
@needs("owner")
def team() -> Response:
    """Accounts and open invitations."""
    return _team_page()


def _team_page(link: str = "", invited: str = "") -> Response:
    with database().reading() as reader:
        people = list(reader.scalars(select(Researcher).order_by(Researcher.email)))
        still_open = select(Invitation).where(Invitation.used_at.is_(None), Invitation.expires_at > datetime.now(UTC))
        waiting = list(reader.scalars(still_open.order_by(Invitation.email)))
    return page(
        "team.html",
        people=people,
        waiting=waiting,
        roles=ROLES,
        link=link,
        invited=invited,
        days=accounts.INVITED_FOR.days,
    )


@admin.post("/team/invite")
@needs("owner")
def invite() -> Response:
    """Makes an invitation and shows its link, this once."""
    email, role = request.form.get("email", ""), request.form.get("role", "")
    with database().writing() as writer:
        by = writer.get_one(Researcher, member().id)
        token = accounts.invite(writer, by, email, role, now=datetime.now(UTC))
    return _team_page(url_for("admin.join", token=token, _external=True), accounts.normal_email(email))


@admin.post("/team/<int:number>/disable")
@needs("owner")
def disable(number: int) -> Response:
    """Disables an account and ends its sessions."""
    with database().writing() as writer:
        accounts.disable(writer, _found(writer.get(Researcher, number)), actor=member().email, now=datetime.now(UTC))
    return go("team", "disabled")


@admin.post("/team/<int:number>/enable")
@needs("owner")
def enable(number: int) -> Response:
    """Lets a disabled account sign in again."""
    with database().writing() as writer:
        accounts.enable(writer, _found(writer.get(Researcher, number)), actor=member().email)
    return go("team", "enabled")


def _found(account: Researcher | None) -> Researcher:
    if account is None:
        raise Refusal(404, "not found", "no such account")
    return account


@admin.get("/ledger")
@needs("researcher")
def actions() -> Response:
    """What was done, latest first, and whether the chain holds."""
    text = request.args.get("before", "")
    with database().reading() as reader:
        query = select(Action).order_by(Action.sequence.desc()).limit(ROWS)
        shown = list(reader.scalars(query.where(Action.sequence < int(text)) if _is_number(text) else query))
        total = reader.scalar(select(func.count()).select_from(Action))
        try:
            chain, broken = ledger.verify(reader), ""
        except StudyError as error:
            chain, broken = None, str(error)
    return page("ledger.html", actions=shown, chain=chain, broken=broken, total=total)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10
