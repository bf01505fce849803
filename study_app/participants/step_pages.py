"""The pages of the steps between consent and task: one at a time, in their order."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, make_response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from study_app import limits, security
from study_app.models import Session
from study_app.pages import current_session, next_page, page
from study_app.participants import colour_plates, participation, steps
from study_app.refusals import Refusal
from study_app.state import database

step_pages = Blueprint("steps", __name__, url_prefix="/steps")


@step_pages.get("/<name>")
def show(name: str) -> AnyResponse:
    """The page of the pending step; any other leads to where the session goes on."""
    step = steps.known(name)
    if step is None:
        abort(404)
    with database().reading() as reader:
        session = current_session(reader)
        if session is None:
            return redirect(url_for("pages.consent"))
        if (due := next_page(reader, session)) != url_for("steps.show", name=step):
            return redirect(due)
        return _page(step, session)


@step_pages.post("/<name>")
@limits.limited("step", most=120, seconds=3600)
def answer(name: str) -> AnyResponse:
    """Takes the form of the pending step, and leads on; one that is not filled in is shown again."""
    step = steps.known(name)
    if step is None:
        abort(404)
    with database().writing() as writer:
        session = current_session(writer, lock=True)
        if session is None:
            return redirect(url_for("pages.consent"), 303)
        if (due := next_page(writer, session)) != url_for("steps.show", name=step):
            return redirect(due, 303)
        if (result := steps.read(step, request.form, session)) is None:
            return _page(step, session, 422)
        steps.store(writer, session, step, result)
        writer.flush()
        return redirect(next_page(writer, session), 303)


@step_pages.get("/colour-vision/plates/<int:index>")
def plate(index: int) -> AnyResponse:
    """One of the session's plates, while it is at that step; its address says nothing of what is on it."""
    with database().reading() as reader:
        session = participation.find_session(reader, security.cookie(security.SESSION))
        at_plates = session is not None and session.end_reason is None
        if session is None or not at_plates or steps.pending(reader, session) != "colour-vision":
            raise Refusal(404, "not found", "no such picture")
        seed = steps.plates_seed(session)
    if index >= len(colour_plates.KINDS):
        raise Refusal(404, "not found", "no such picture")
    response = make_response(colour_plates.png(seed, index))
    response.headers["Content-Type"] = "image/png"
    return response


def _page(step: steps.Step, session: Session, status: int = 200) -> AnyResponse:
    protocol = participation.protocol_of(session)
    order = steps.needed(protocol)
    values: dict[str, Any] = {"protocol": protocol, "asks": protocol.eligibility, "plates": len(colour_plates.KINDS)}
    place = {"number": order.index(step) + 1, "of": len(order)}
    return page(f"steps/{step}", status, **values, place=place, unclear=status != 200, card_mm=steps.CARD_MM)
