"""Who gets which picture: each is worked on by as many annotators as the task asks for, counted under a lock.

The caller holds the task's row, so that two who ask at once are one after the other. A picture is held by a reservation
that lasts, and from its submission on; a reservation that has run out makes room for somebody else, and whoever comes
back to it may go on all the same. A skipped picture is not held.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import exists, func, select, update
from sqlalchemy.orm import Session as DatabaseSession

from core import rng
from study_app import security
from study_app.annotation.tables import Annotator, Assignment, TaskPicture
from study_app.annotation.task import AnnotationTask


def open_assignment(database: DatabaseSession, annotator: Annotator) -> Assignment | None:
    """Returns what an annotator is to work on now: what a reviewer returned, else what is not handed in yet."""
    of_them = select(Assignment).where(Assignment.annotator_id == annotator.id).order_by(Assignment.id).limit(1)
    returned = database.scalar(of_them.where(Assignment.review == "returned"))
    return returned or database.scalar(of_them.where(Assignment.submitted_at.is_(None)))


def reserve(
    database: DatabaseSession, annotator: Annotator, settings: AnnotationTask, now: datetime
) -> Assignment | None:
    """Returns a new assignment of the next picture; ``None`` where there is nothing left for this annotator."""
    _let_go(database, annotator.task_id, now)
    chosen = next_picture(database, annotator, settings)
    if chosen is None:
        return None
    assignment = Assignment(
        public_id=f"a-{security.new_token()[:24]}",
        token=security.new_token(),
        annotator_id=annotator.id,
        of=chosen,
        reserved_at=now,
        expires_at=now + lasting(settings),
        counted=False,
        active_ms=0,
        work=0,
        round=1,
    )
    database.add(assignment)
    take_up(database, assignment)
    database.flush()
    return assignment


def lasting(settings: AnnotationTask) -> timedelta:
    """Returns how long a reservation lasts after the last sign of life."""
    return timedelta(minutes=settings.reservation_minutes)


def next_picture(database: DatabaseSession, annotator: Annotator, settings: AnnotationTask) -> TaskPicture | None:
    """Returns the picture that comes next: practice, then gold or others by the seeded rule."""
    counts = _handed_out(database, annotator)
    if counts.get("practice", 0) < settings.practice.pictures:
        return _first(database, annotator, "practice")
    done = counts.get("gold", 0) + counts.get("main", 0)
    if done >= settings.pictures_per_annotator:
        return None
    order = ("gold", "main") if done in gold_places(settings, annotator.number) else ("main",)
    for role in order:
        if (found := _first(database, annotator, role, settings.annotators_per_picture)) is not None:
            return found
    return None


def gold_places(settings: AnnotationTask, number: int) -> frozenset[int]:
    """Returns at which of an annotator's pictures, counted from 0, one with known regions is due."""
    count = round(settings.gold.share * settings.pictures_per_annotator)
    order = rng.numpy_generator(settings.seed, "gold", number).permutation(settings.pictures_per_annotator)
    return frozenset(order[:count].tolist())


def planned(settings: AnnotationTask) -> int:
    """Returns how many pictures an annotator gets at most, practice among them."""
    return settings.practice.pictures + settings.pictures_per_annotator


def give_up(database: DatabaseSession, assignment: Assignment) -> None:
    """Frees the place that an assignment holds."""
    if assignment.counted:
        assignment.counted = False
        held = update(TaskPicture).where(TaskPicture.id == assignment.task_picture_id, TaskPicture.held > 0)
        database.execute(held.values(held=TaskPicture.held - 1), execution_options={"synchronize_session": False})


def take_up(database: DatabaseSession, assignment: Assignment) -> None:
    """Counts an assignment again whose reservation had run out, or that was skipped before."""
    if not assignment.counted and assignment.of.role == "main":
        assignment.counted = True
        held = update(TaskPicture).where(TaskPicture.id == assignment.of.id)
        database.execute(held.values(held=TaskPicture.held + 1), execution_options={"synchronize_session": False})


def _let_go(database: DatabaseSession, task_id: int, now: datetime) -> None:
    """Frees the places of reservations that have run out."""
    query = (
        select(Assignment)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .where(
            Assignment.counted,
            Assignment.submitted_at.is_(None),
            Assignment.expires_at < now,
            TaskPicture.task_id == task_id,
        )
        .order_by(Assignment.id)
        .with_for_update(of=Assignment, skip_locked=True)  # who draws at this moment keeps the place
    )
    for assignment in database.scalars(query).all():
        give_up(database, assignment)
    database.flush()


def _handed_out(database: DatabaseSession, annotator: Annotator) -> dict[str, int]:
    query = (
        select(TaskPicture.role, func.count())
        .join(Assignment, Assignment.task_picture_id == TaskPicture.id)
        .where(Assignment.annotator_id == annotator.id)
        .group_by(TaskPicture.role)
    )
    return {role: count for role, count in database.execute(query)}  # noqa: C416


def _first(database: DatabaseSession, annotator: Annotator, role: str, most: int | None = None) -> TaskPicture | None:
    """Returns the picture of a role that the fewest hold and this annotator never had, in the seeded order."""
    had = exists().where(Assignment.annotator_id == annotator.id, Assignment.task_picture_id == TaskPicture.id)
    query = select(TaskPicture).where(TaskPicture.task_id == annotator.task_id, TaskPicture.role == role, ~had)
    if most is not None:
        query = query.where(TaskPicture.held < most)
    query = query.order_by(TaskPicture.held, TaskPicture.place).limit(1)
    return database.scalar(query.execution_options(populate_existing=True))
