"""The pages of participants: the list, one of them, leaving one out of the analysis and taking one in again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Response, request

from study_app import detection
from study_app.admin import figures
from study_app.admin.access import admin, current, go, member, needs, page
from study_app.models import Participant, Protocol
from study_app.refusals import Refusal
from study_app.researchers import dashboard, exclusions, roster
from study_app.state import database


@admin.get("/participants")
@needs("viewer")
def participants() -> Response:
    """The list of participants, latest first."""
    protocol, number = current(), request.args.get("page", "1")
    kind, status = request.args.get("kind", "everybody"), request.args.get("status", "")
    with database().reading() as reader:
        found = roster.listing(reader, protocol.id, kind, status, _page_number(number), _silent_since(protocol))
    return page(
        "participants.html", found=found, kind=kind, status=status, kinds=roster.KINDS, statuses=dashboard.STATUSES
    )


def _page_number(text: str) -> int:
    return int(text) if text.isdecimal() and 1 <= int(text) < 1_000_000 else 1


def _silent_since(protocol: Protocol) -> datetime:
    hours = detection.parse(protocol.source, protocol.name).abandoned_after_hours
    return datetime.now(UTC) - timedelta(hours=hours)


@admin.get("/participants/<public_id>")
@needs("viewer")
def participant(public_id: str) -> Response:
    """Everything that is known of one participant."""
    protocol = current()
    with database().reading() as reader:
        found = roster.find(reader, protocol.id, public_id)
        known = roster.person(reader, _found(found), _silent_since(protocol))
    return page(
        "participant.html", participant=_found(found), person=known, times=_times(known), reasons=exclusions.REASONS
    )


def _times(person: roster.Person | None) -> tuple[figures.Bar, ...]:
    """Returns a bar for each answer, as high as its response time, in the order of showing."""
    answered = [(trial.trial_index, answer) for trial, _, answer in person.trials if answer] if person else []
    names = [f"trial {index}, ms" for index, _ in answered]
    ticks = [str(index) if place % figures.TRIALS_A_TICK == 0 else "" for place, (index, _) in enumerate(answered)]
    return figures.bars([round(answer.rt_ms) for _, answer in answered], names, ticks)


@admin.post("/participants/<public_id>/exclude")
@needs("researcher")
def exclude(public_id: str) -> Response:
    """Leaves a participant out of the analysis."""
    reason, note = request.form.get("reason", ""), request.form.get("note", "")
    protocol = current()
    with database().writing() as writer:
        found = _found(roster.find(writer, protocol.id, public_id))
        by, now = (member().id, member().email), datetime.now(UTC)
        exclusions.exclude(writer, found, reason, note, by=by, now=now)
    return go("participant", "excluded", public_id=public_id)


@admin.post("/participants/<public_id>/include")
@needs("researcher")
def include(public_id: str) -> Response:
    """Undoes an exclusion."""
    protocol = current()
    with database().writing() as writer:
        exclusions.undo(writer, _found(roster.find(writer, protocol.id, public_id)), by=member().email)
    return go("participant", "included", public_id=public_id)


def _found(participant: Participant | None) -> Participant:
    if participant is None:
        raise Refusal(404, "not found", "no such participant in the current study")
    return participant
