"""The steps between consent and task: who may take part, and on what screen. Each only where the protocol asks for it.

They come in the order of ``ORDER``; none can be skipped, and each is answered once. What decides is here, on the
server; the pages only ask.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, assert_never, get_args

from flask import url_for
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from core import rng
from study_app.detection import DetectionProtocol, Eligibility
from study_app.models import CheckResult, Session
from study_app.participants import colour_plates, participation
from study_app.refusals import Refusal

Step = Literal["about-you", "device", "colour-vision", "calibration"]
ORDER: tuple[Step, ...] = get_args(Step)
DIGITS = tuple("0123456789")
CARD_MM = 85.60  # width of a bank card: ISO/IEC 7810, ID-1


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a step found; ``detail`` is kept."""

    passed: bool
    detail: dict[str, Any]


def needed(protocol: DetectionProtocol) -> tuple[Step, ...]:
    """Returns the steps that a protocol asks for, in their order."""
    asks = protocol.eligibility
    wanted: dict[Step, bool] = {
        "about-you": asks.normal_vision,
        "device": asks.minimum_css_px > 0 or asks.input != "any",
        "colour-vision": asks.colour_vision,
        "calibration": asks.calibration,
    }
    return tuple(step for step in ORDER if wanted[step])


def pending(database: DatabaseSession, session: Session) -> Step | None:
    """Returns the first step of a session that is not passed yet."""
    steps = needed(participation.protocol_of(session))
    if not steps:
        return None
    query = select(CheckResult.name).where(CheckResult.session_id == session.id, CheckResult.passed)
    passed = set(database.scalars(query))
    return next((step for step in steps if step not in passed), None)


def require_passed(database: DatabaseSession, session: Session) -> None:
    """Returns if a session has passed all of its steps.

    Raises:
        Refusal: 403, "step", with the address of the next one.
    """
    if (step := pending(database, session)) is not None:
        address = url_for("steps.show", name=step)
        raise Refusal(
            403, "step", f"expected the step {step} to be passed before the task; go to {address}", next=address
        )


def plates_seed(session: Session) -> int:
    """Returns the seed of a session's colour plates: from what the browser is never told."""
    return rng.derive(participation.protocol_of(session).seed, "colour plates", session.participant.public_id)


def read(step: Step, form: Mapping[str, str], session: Session) -> Result | None:
    """Returns what the form of a step says; ``None`` where it is not filled in."""
    asks = participation.protocol_of(session).eligibility
    match step:
        case "about-you":
            return _about_you(form)
        case "device":
            return _device(form, asks)
        case "colour-vision":
            return _colour_vision(form, plates_seed(session))
        case "calibration":
            return _calibration(form)
        case _:
            assert_never(step)


def store(database: DatabaseSession, session: Session, step: Step, result: Result) -> None:
    """Keeps the result of a session's pending step; a session that does not pass ends as screened out."""
    database.add(
        CheckResult(session_id=session.id, name=step, passed=result.passed, detail=result.detail, at=datetime.now(UTC))
    )
    session.last_seen_at = datetime.now(UTC)
    if not result.passed:
        participation.end(database, session, "screened-out", step=step)


def known(name: str) -> Step | None:
    """Returns the step of a name in an address."""
    return next((step for step in ORDER if step == name), None)


def _about_you(form: Mapping[str, str]) -> Result | None:
    answer = form.get("normal_vision")
    if answer not in ("yes", "no"):
        return None
    return Result(passed=answer == "yes", detail={"normal_vision": answer == "yes"})


def _device(form: Mapping[str, str], asks: Eligibility) -> Result | None:
    if form.get("cannot") == "yes":
        return Result(passed=False, detail={"cannot": True})
    width, height = (_number(form, name, 1, 100_000) for name in ("width", "height"))
    ratio, kind = _number(form, "device_pixel_ratio", 0.1, 20), form.get("input")
    if width is None or height is None or ratio is None or kind not in ("keyboard", "touch"):
        return None
    return Result(
        passed=min(width, height) >= asks.minimum_css_px and asks.input in ("any", kind),
        detail={"width": width, "height": height, "device_pixel_ratio": ratio, "input": kind},
    )


def _colour_vision(form: Mapping[str, str], seed: int) -> Result | None:
    given = [form.get(f"plate-{index}") for index in range(len(colour_plates.KINDS))]
    answers = tuple(answer.strip() if answer.strip() in DIGITS else "" for answer in given if answer is not None)
    if len(answers) < len(given):
        return None
    shown = colour_plates.digits(seed)
    plates = [
        {"kind": kind, "shown": digit, "given": answer}
        for kind, digit, answer in zip(colour_plates.KINDS, shown, answers, strict=True)
    ]
    return Result(passed=colour_plates.passes(answers, shown), detail={"plates": plates})


def _calibration(form: Mapping[str, str]) -> Result | None:
    distance = _number(form, "distance_cm", 10, 300) if form.get("distance_cm") else None
    if form.get("skip") == "yes" or form.get("card_css_px") == "":
        return Result(passed=True, detail={"card_css_px": None, "css_px_per_mm": None, "distance_cm": distance})
    card = _number(form, "card_css_px", 50, 5000)
    if card is None or (form.get("distance_cm") and distance is None):
        return None
    return Result(passed=True, detail={"card_css_px": card, "css_px_per_mm": card / CARD_MM, "distance_cm": distance})


def _number(form: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    try:
        value = float(form.get(name, ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and low <= value <= high else None
