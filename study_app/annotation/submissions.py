"""Submissions: an annotator hands a picture in; the mask is made here, by the one raster rule, and without a lock.

``drawn`` reads and rasterises without a lock; ``store`` then holds the annotator's row and writes, if the strokes are
still those that were rasterised: they are only ever added to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
from flask import url_for
from flask_babel import gettext
from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session as DatabaseSession

from core.annotations import operations, sets
from core.annotations.operations import MOST_OPERATIONS
from core.annotations.raster import Mask, rasterise
from study_app.annotation import handing_out, registering, strokes
from study_app.annotation.annotators import note
from study_app.annotation.strokes import MOST_MS, checked, credited, held, needed, payload_sha256, short_text
from study_app.annotation.tables import Annotator, Assignment, Overlap, Stroke, Submission, TaskPicture
from study_app.annotation.task import AnnotationTask
from study_app.participants.answers import Check, one_of, optional, uuid_text, whole
from study_app.refusals import Refusal

CHECKS: dict[str, Check] = {
    "assignment": short_text,
    "client_uuid": uuid_text,
    "outcome": one_of("regions", "none", "skipped"),
    "skip_reason": optional(short_text),
    "strokes": whole(0, MOST_OPERATIONS),
    "active_ms": whole(0, MOST_MS),
}
GOOD_IOU = 0.5  # from which practice is praised


@dataclass(frozen=True, kw_only=True)
class Posted:
    """A submission as a browser posts it; ``strokes`` is how many it has sent."""

    assignment: str
    client_uuid: str
    outcome: str
    skip_reason: str | None
    strokes: int
    active_ms: int

    @cached_property
    def sha256(self) -> str:
        """Hash by which a repeated post is told from a changed one."""
        return payload_sha256({name: getattr(self, name) for name in CHECKS})


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What became of a submission: the JSON answer, and whether it was known before."""

    duplicate: bool
    body: dict[str, Any]


def parse(body: Any) -> Posted:
    """Returns the submission in a JSON body.

    Raises:
        Refusal: 422.
    """
    posted = Posted(**checked(body, CHECKS, "the submission"))
    if (posted.outcome == "skipped") != (posted.skip_reason is not None):
        raise Refusal(422, "invalid", "expected a skip_reason with the outcome 'skipped', and null with any other")
    return posted


def drawn(database: DatabaseSession, annotator: Annotator, posted: Posted) -> Mask | None:
    """Returns the mask that an assignment's strokes paint; ``None`` where it is skipped or a stroke is missing.

    Raises:
        Refusal: 404; the assignment is not theirs.
    """
    assignment = needed(database, annotator, posted.assignment)
    picture = assignment.of.picture
    if posted.outcome == "skipped" or held(database, assignment) != posted.strokes:
        return None
    query = select(Stroke.operation).where(Stroke.assignment_id == assignment.id).order_by(Stroke.stroke_index)
    recorded = operations.parse_all(list(database.scalars(query)), picture.width, picture.height)
    return rasterise(recorded, picture.width, picture.height)


def store(database: DatabaseSession, annotator: Annotator, posted: Posted, mask: Mask | None) -> Handed | Refusal:
    """Stores a submission once; the annotator's row is locked by the caller, ``mask`` is what ``drawn`` returned.

    Raises:
        Refusal: 404 not theirs, 403 closed, 409 incomplete or over, 422 too soon, or an outcome that does not fit.
    """
    assignment = needed(database, annotator, posted.assignment)
    known = database.scalar(select(Submission).where(Submission.client_uuid == posted.client_uuid))
    if known is not None:
        if (known.assignment_id, known.payload_sha256) == (assignment.id, posted.sha256):
            return Handed(duplicate=True, body=_reply(database, annotator, assignment, known))
        note(database, annotator, "reused client_uuid refused", assignment=assignment.public_id)
        return Refusal(409, "reused", "this client_uuid belongs to another submission")
    settings, now = registering.settings_of(annotator.task), datetime.now(UTC)
    strokes.refuse_unless_open(annotator, assignment)
    drawn_late = mask is None and posted.outcome != "skipped"  # the last stroke came while the others were rasterised
    if (count := held(database, assignment)) != posted.strokes or drawn_late:
        raise Refusal(409, "incomplete", "expected all strokes before the submission", next_index=count)
    _check(posted, mask, assignment, settings, now)
    _hold_picture(database, assignment)
    submission = _add(database, annotator, assignment, posted, mask, now)
    _count_places(database, assignment)
    _compare(database, assignment, mask)
    return Handed(duplicate=False, body=_reply(database, annotator, assignment, submission))


def _check(posted: Posted, mask: Mask | None, assignment: Assignment, settings: AnnotationTask, now: datetime) -> None:
    if posted.outcome == "skipped":
        if posted.skip_reason not in settings.skip_reasons:
            raise Refusal(422, "invalid", f"skip_reason: expected one of {', '.join(settings.skip_reasons)}")
        return
    left = settings.minimum_seconds - (now - assignment.reserved_at).total_seconds()
    if left > 0:
        raise Refusal(422, "too soon", "the picture was not looked at for long enough", seconds_left=round(left, 1))
    painted = mask is not None and bool(mask.any())
    if posted.outcome == "regions" and not painted:
        raise Refusal(422, "nothing painted", "expected painted regions; where there are none, the outcome is 'none'")
    if posted.outcome == "none" and painted:
        raise Refusal(422, "painted", "expected nothing painted with the outcome 'none'; clear the picture first")


def _add(
    database: DatabaseSession, annotator: Annotator, assignment: Assignment, posted: Posted, mask: Mask | None,
    now: datetime,
) -> Submission:  # fmt: skip
    settings = registering.settings_of(annotator.task)
    if assignment.review == "returned":
        assignment.round += 1
    assignment.active_ms = credited(assignment, posted.active_ms, now)
    assignment.submitted_at, assignment.outcome, assignment.note = now, posted.outcome, None
    assignment.review = "pending" if settings.review and assignment.of.role != "practice" else None
    annotator.last_seen_at = now
    database.execute(update(Submission).where(Submission.assignment_id == assignment.id).values(last=False))
    submission = Submission(
        assignment_id=assignment.id,
        client_uuid=posted.client_uuid,
        payload_sha256=posted.sha256,
        outcome=posted.outcome,
        skip_reason=posted.skip_reason,
        strokes=posted.strokes,
        round=assignment.round,
        active_ms=assignment.active_ms,
        mask=None if mask is None else sets.encode_mask(mask),
        mask_pixels=None if mask is None else int(mask.sum()),
        gold_iou=_gold_iou(assignment, mask),
        last=True,
        at=now,
    )
    database.add(submission)
    database.flush()
    return submission


def _hold_picture(database: DatabaseSession, assignment: Assignment) -> None:
    """Lets two who hand the same picture in at once come one after the other: each is compared with those before."""
    query = select(TaskPicture.id).where(TaskPicture.id == assignment.task_picture_id)
    database.scalar(query.with_for_update(key_share=True))


def _gold_iou(assignment: Assignment, mask: Mask | None) -> float | None:
    if mask is None or assignment.of.mask is None:
        return None
    return iou(mask, known_mask(assignment))


def known_mask(assignment: Assignment) -> Mask:
    """Returns the known regions of a practice or gold picture."""
    picture = assignment.of.picture
    assert assignment.of.mask is not None
    return sets.decode_mask(assignment.of.mask, picture.source_id, (picture.width, picture.height))


def iou(one: Mask, other: Mask) -> float:
    """Returns the intersection over the union of two masks; 1 where both are empty."""
    union = int(np.count_nonzero(one | other))
    return 1.0 if union == 0 else int(np.count_nonzero(one & other)) / union


def _count_places(database: DatabaseSession, assignment: Assignment) -> None:
    """A skipped picture is given to somebody else; any other submission holds its place for good."""
    if assignment.outcome == "skipped":
        handing_out.give_up(database, assignment)
    else:
        handing_out.take_up(database, assignment)


def _compare(database: DatabaseSession, assignment: Assignment, mask: Mask | None) -> None:
    """Keeps the IoU with each other annotator's last mask of the picture; there are as many as the task asks for.

    Gold pictures are compared with their known regions alone: everybody works on them.
    """
    mine = or_(Overlap.first_id == assignment.id, Overlap.second_id == assignment.id)
    database.execute(delete(Overlap).where(mine))
    if mask is None or assignment.of.role != "main":
        return
    query = (
        select(Submission.assignment_id, Submission.mask)
        .join(Assignment, Submission.assignment_id == Assignment.id)
        .where(
            Assignment.task_picture_id == assignment.task_picture_id,
            Assignment.id != assignment.id,
            Submission.last,
            Submission.mask.is_not(None),
        )
    )
    picture = assignment.of.picture
    for other_id, data in database.execute(query):
        assert data is not None
        other = sets.decode_mask(data, picture.source_id, (picture.width, picture.height))
        first, second = sorted((assignment.id, other_id))
        database.add(Overlap(first_id=first, second_id=second, iou=iou(mask, other)))


def _reply(
    database: DatabaseSession, annotator: Annotator, assignment: Assignment, submission: Submission
) -> dict[str, Any]:
    settings = registering.settings_of(annotator.task)
    more = handing_out.open_assignment(database, annotator) or handing_out.next_picture(database, annotator, settings)
    body: dict[str, Any] = {"next": more is not None}
    if assignment.of.role == "practice" and settings.practice.feedback and submission.gold_iou is not None:
        body["feedback"] = {
            "iou": submission.gold_iou,
            "message": _message(submission.gold_iou),
            "mask_url": url_for("annotate_api.expected_mask", token=assignment.token),
        }
    return body


def _message(value: float) -> str:
    if value >= GOOD_IOU:
        return gettext("Well done: that is close to what we would have painted.")
    return gettext("Compare: here is what we would have painted.")
