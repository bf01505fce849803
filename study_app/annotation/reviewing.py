"""What researchers see of an annotation task, and what they say of an annotation. Each verdict is in the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Select, case, func, select, union_all
from sqlalchemy.orm import Session as DatabaseSession

from core import pictures
from core.annotations import overlays, sets
from core.errors import StudyError
from core.picture_sets import png_name
from core.pictures import Pixels
from study_app.annotation import conduct, registering
from study_app.annotation.tables import (
    Annotator,
    Assignment,
    Overlap,
    PictureRow,
    Review,
    Submission,
    TaskPicture,
    TaskRow,
)
from study_app.annotation.task import AnnotationTask
from study_app.researchers import ledger

Verdict = Literal["accepted", "returned"]
PAGE = 50  # rows of a list
MOST_NOTE = 1000  # letters
OUTCOMES = ("regions", "none", "skipped")
REVIEWS = ("not reviewed", "pending", "returned", "accepted")
STATES = ("waiting", "pending", "accepted", "returned", "all")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a task is.

    Attributes:
        held: how many main pictures so many annotators hold, from 0 to what the task asks for.
        people: annotators by ``begun``, ``finished``, ``withdrawn`` and ``robots``.
        outcomes: last submissions by outcome, practice aside.
        reviews: of them, by what a reviewer said.
        hours: active time of everybody, practice aside.
    """

    settings: AnnotationTask
    standing: str
    held: tuple[int, ...]
    people: dict[str, int]
    outcomes: dict[str, int]
    reviews: dict[str, int]
    hours: float


@dataclass(frozen=True, kw_only=True)
class Person:
    """What is known of an annotator; IoUs are means, ``None`` where there is nothing to compare with."""

    annotator: Annotator
    pictures: int
    skipped: int
    none: int
    seconds: float
    gold: int
    gold_iou: float | None
    shared: int
    agreement: float | None
    below: bool

    @property
    def seconds_a_picture(self) -> float | None:
        """Mean active time of a picture that was handed in, seconds."""
        return self.seconds / self.pictures if self.pictures else None


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One page of a list."""

    rows: list[Any]
    total: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.total // PAGE))


def progress(reader: DatabaseSession, row: TaskRow) -> Progress:
    """Returns how far a task is."""
    settings = registering.settings_of(row)
    main = (TaskPicture.task_id == row.id) & (TaskPicture.role == "main")
    counts = reader.execute(select(TaskPicture.held, func.count()).where(main).group_by(TaskPicture.held))
    held: Counter[int] = Counter()
    for number, count in counts:
        held[min(number, settings.annotators_per_picture)] += count
    handed_in = _counting(row).subquery()
    outcomes = reader.execute(select(handed_in.c.outcome, func.count()).group_by(handed_in.c.outcome))
    reviews = reader.execute(select(handed_in.c.review, func.count()).group_by(handed_in.c.review))
    active = reader.scalar(select(func.sum(handed_in.c.active_ms))) or 0
    return Progress(
        settings=settings,
        standing=conduct.standing(row),
        held=tuple(held[number] for number in range(settings.annotators_per_picture + 1)),
        people=_people(reader, row),
        outcomes=dict.fromkeys(OUTCOMES, 0) | {str(name): count for name, count in outcomes},
        reviews=dict.fromkeys(REVIEWS, 0) | {name or "not reviewed": count for name, count in reviews},
        hours=active / 3_600_000,
    )


def _people(reader: DatabaseSession, row: TaskRow) -> dict[str, int]:
    columns = (
        func.count(Annotator.id),
        func.count(Annotator.finished_at),
        func.count(Annotator.withdrawn_at),
        func.sum(case((Annotator.robot, 1), else_=0)),
    )
    found = reader.execute(select(*columns).where(Annotator.task_id == row.id)).one()
    return dict(zip(("begun", "finished", "withdrawn", "robots"), (int(each or 0) for each in found), strict=True))


def _counting(row: TaskRow) -> Select[int, int, str | None, str | None, int]:
    """Returns the query for what was handed in, practice aside."""
    return (
        select(Assignment.id, Assignment.annotator_id, Assignment.outcome, Assignment.review, Assignment.active_ms)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .where(TaskPicture.task_id == row.id, TaskPicture.role != "practice", Assignment.submitted_at.is_not(None))
    )


def people(reader: DatabaseSession, row: TaskRow, page: int) -> Listed:
    """Returns a page of a task's annotators, the latest first, with their time, gold IoU and agreement."""
    of_task = Annotator.task_id == row.id
    total = reader.scalar(select(func.count()).where(of_task)) or 0
    query = select(Annotator).where(of_task).order_by(Annotator.number.desc()).limit(PAGE).offset(PAGE * (page - 1))
    shown = list(reader.scalars(query))
    ids = [annotator.id for annotator in shown]
    work, gold, shared = _work(reader, row, ids), _gold(reader, ids), _agreement(reader, ids)
    minimum = registering.settings_of(row).gold.minimum_iou
    return Listed(rows=[_person(annotator, work, gold, shared, minimum) for annotator in shown], total=total, page=page)


def _person(
    annotator: Annotator, work: dict[int, Counter[str]], gold: dict[int, tuple[int, float]],
    shared: dict[int, tuple[int, float]], minimum: float,
) -> Person:  # fmt: skip
    counts = work.get(annotator.id, Counter())
    gold_count, gold_iou = gold.get(annotator.id, (0, None))
    pairs, agreement = shared.get(annotator.id, (0, None))
    return Person(
        annotator=annotator,
        pictures=counts["pictures"],
        skipped=counts["skipped"],
        none=counts["none"],
        seconds=counts["active_ms"] / 1000,
        gold=gold_count,
        gold_iou=gold_iou,
        shared=pairs,
        agreement=agreement,
        below=gold_iou is not None and gold_iou < minimum,
    )


def _work(reader: DatabaseSession, row: TaskRow, ids: list[int]) -> dict[int, Counter[str]]:
    done = _counting(row).where(Assignment.annotator_id.in_(ids)).subquery()
    columns = (done.c.annotator_id, done.c.outcome, func.count(), func.sum(done.c.active_ms))
    found: dict[int, Counter[str]] = {}
    for annotator_id, outcome, count, active_ms in reader.execute(
        select(*columns).group_by(done.c.annotator_id, done.c.outcome)
    ):
        counts = found.setdefault(annotator_id, Counter())
        counts.update({"pictures": count, outcome: count, "active_ms": int(active_ms)})
    return found


def _gold(reader: DatabaseSession, ids: list[int]) -> dict[int, tuple[int, float]]:
    """Returns of each annotator how many gold pictures they handed in, and the mean IoU with the known regions."""
    query = (
        select(Assignment.annotator_id, func.count(), func.avg(Submission.gold_iou))
        .join(Submission, (Submission.assignment_id == Assignment.id) & Submission.last)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .where(Assignment.annotator_id.in_(ids), TaskPicture.role == "gold", Submission.gold_iou.is_not(None))
        .group_by(Assignment.annotator_id)
    )
    return {annotator_id: (count, float(mean)) for annotator_id, count, mean in reader.execute(query)}


def _agreement(reader: DatabaseSession, ids: list[int]) -> dict[int, tuple[int, float]]:
    """Returns of each annotator how many pairs with others there are, and the mean IoU of these pairs."""
    sides = union_all(
        *(
            select(Assignment.annotator_id, Overlap.iou)
            .join(Overlap, side == Assignment.id)
            .where(Assignment.annotator_id.in_(ids))
            for side in (Overlap.first_id, Overlap.second_id)
        )
    ).subquery()
    columns = (sides.c.annotator_id, func.count(), func.avg(sides.c.iou))
    found = reader.execute(select(*columns).group_by(sides.c.annotator_id))
    return {annotator_id: (count, float(mean)) for annotator_id, count, mean in found}


def queue(reader: DatabaseSession, row: TaskRow, state: str, page: int) -> Listed:
    """Returns a page of what was handed in, the oldest first, practice aside; ``state`` is one of ``STATES``."""
    query = (
        select(Assignment)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .where(TaskPicture.task_id == row.id, TaskPicture.role != "practice", Assignment.submitted_at.is_not(None))
    )
    match state:
        case "all":
            pass
        case "waiting":  # for a reviewer: all of what nobody has looked at
            query = query.where(Assignment.review.is_(None) | (Assignment.review == "pending"))
        case _:
            query = query.where(Assignment.review == state)
    total = reader.scalar(select(func.count()).select_from(query.subquery())) or 0
    shown = query.order_by(Assignment.submitted_at, Assignment.id).limit(PAGE).offset(PAGE * (page - 1))
    return Listed(rows=list(reader.scalars(shown)), total=total, page=page)


def find(reader: DatabaseSession, row: TaskRow, public_id: str) -> Assignment | None:
    """Returns what was handed in under a name in a task; ``None`` where there is nothing, or it was practice."""
    query = (
        select(Assignment)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .where(
            TaskPicture.task_id == row.id,
            TaskPicture.role != "practice",
            Assignment.public_id == public_id,
            Assignment.submitted_at.is_not(None),
        )
    )
    return reader.scalar(query)


def last_submission(reader: DatabaseSession, assignment: Assignment) -> Submission:
    """Returns the submission of an assignment that counts."""
    query = select(Submission).where(Submission.assignment_id == assignment.id, Submission.last)
    return reader.scalars(query).one()


def agreement_with_others(reader: DatabaseSession, assignment: Assignment) -> list[float]:
    """Returns the IoU with each other annotator's mask of the same picture."""
    mine = (Overlap.first_id == assignment.id) | (Overlap.second_id == assignment.id)
    return list(reader.scalars(select(Overlap.iou).where(mine).order_by(Overlap.first_id, Overlap.second_id)))


def overlay(reader: DatabaseSession, assignment: Assignment) -> Pixels:
    """Returns the picture with the mask that was handed in laid over it.

    Raises:
        StudyError: the picture's file is not where it was registered.
    """
    picture: PictureRow = assignment.of.picture
    path = Path(picture.set.directory) / png_name(picture.sha256)
    if not path.is_file():
        raise StudyError(f"{picture.source_id}: its file is gone; put picture set {picture.set.name!r} back in place")
    pixels, mask = pictures.read(path), last_submission(reader, assignment).mask
    if mask is None:
        return pixels
    return overlays.painted(pixels, sets.decode_mask(mask, picture.source_id, (picture.width, picture.height)))


def judge(
    database: DatabaseSession,
    assignment: Assignment,
    verdict: Verdict,
    note: str,
    *,
    by: tuple[int, str],
    now: datetime,
) -> None:
    """Accepts an annotation, or returns it with a note, upon which its annotator goes on with it.

    Raises:
        StudyError: it waits for its annotator already, the note is absent or too long, or the task is closed.
    """
    note = note.strip()
    if assignment.annotator.task.closed_at is not None and verdict == "returned":
        raise StudyError("the task is closed: nobody could go on with what is returned; open it again first")
    if assignment.review == "returned":
        raise StudyError("this annotation was returned and is not handed in again yet; wait for its annotator")
    if verdict == "returned" and not 0 < len(note) <= MOST_NOTE:
        raise StudyError(f"note: expected 1 to {MOST_NOTE} letters that tell the annotator what to change")
    assignment.review, assignment.note = verdict, note if verdict == "returned" else None
    query = select(Review).where(Review.assignment_id == assignment.id, Review.round == assignment.round)
    review = database.scalar(query)
    if review is None:
        review = Review(assignment_id=assignment.id, round=assignment.round)
        database.add(review)
    review.verdict, review.note, review.by_id, review.at = verdict, note, by[0], now
    ledger.write(
        database, by[1], f"annotation {verdict}", annotation=assignment.public_id, round=assignment.round, note=note
    )
