"""Pause, resume, close and open again; the study as a participant sees it."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, make_response, redirect, request, url_for

from study_app import security
from study_app.admin.access import admin, go, member, needs
from study_app.participants import participation
from study_app.refusals import Refusal
from study_app.researchers import conduct, ledger
from study_app.state import database, settings


@admin.post("/study/pause")
@needs("researcher")
def pause() -> Response:
    """Lets nobody begin; who is in goes on."""
    with database().writing() as writer:
        conduct.pause(writer, by=member().email, now=datetime.now(UTC))
    return go("overview", "paused")


@admin.post("/study/resume")
@needs("researcher")
def resume() -> Response:
    """Lets people begin again."""
    with database().writing() as writer:
        conduct.resume(writer, by=member().email)
    return go("overview", "resumed")


@admin.post("/study/close")
@needs("researcher")
def close() -> Response:
    """Ends the study, after a second look: people in the middle of it cannot go on."""
    if request.form.get("sure") != "yes":
        raise Refusal(422, "sure", "tick the box to close the study: people in the middle of it cannot go on then")
    with database().writing() as writer:
        conduct.close(writer, by=member().email, now=datetime.now(UTC))
    return go("overview", "closed")


@admin.post("/study/reopen")
@needs("owner")
def reopen() -> Response:
    """Takes a closing back."""
    with database().writing() as writer:
        conduct.reopen(writer, by=member().email)
    return go("overview", "reopened")


@admin.post("/previews")
@needs("researcher")
def begin_preview() -> Response:
    """Begins a preview in this browser, which from now on is that of its participant; sign-in stays."""
    with database().writing() as writer:
        locale = (request.accept_languages.best or "")[:20]
        enrolment = participation.enrol(writer, locale=locale, robot=False, preview=True)
        ledger.write(writer, member().email, "preview begun", participant=enrolment.session.participant.public_id)
    response = make_response(redirect(url_for("pages.consent"), 303))
    security.set_cookie(response, security.SESSION, enrolment.token, days=settings().session_days)
    return response


@admin.post("/previews/delete")
@needs("researcher")
def delete_previews() -> Response:
    """Deletes what previews left."""
    with database().writing() as writer:
        conduct.delete_previews(writer, by=member().email)
    return go("overview", "previews")
