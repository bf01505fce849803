"""Writes what annotators handed in as an annotation set: one pass, one annotation in memory, in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, cast

from sqlalchemy import Select, select
from sqlalchemy.orm import Session as DatabaseSession

from core import picture_sets
from core.annotations import sets
from core.annotations.sets import Annotation, Drawn, Outcome, SetRecord
from core.errors import DataError
from study_app.annotation.tables import Annotator, Assignment, PictureRow, Stroke, Submission, TaskPicture, TaskRow
from study_app.database import without_limits

Reviewed = Literal["accepted", "pending", "returned"]
BATCH = 50  # rows fetched at a time


def export(
    reader: DatabaseSession, row: TaskRow, directory: Path, update: Callable[[int], object] = lambda _: None
) -> SetRecord:
    """Writes a task's annotations to ``directory``, which must not be there; ``update`` is told of each.

    Annotations are those handed in last, of everybody who did not withdraw; they come by picture, then by annotator.
    The only names in it are those of pictures and random ids.

    Raises:
        DataError: the picture set is not where it was registered, or the directory is there already.
    """
    without_limits(reader.connection())
    source = Path(row.set.directory)
    shown = picture_sets.read(source)
    if shown.sha256 != row.set.sha256:
        raise DataError(f"{source}: expected picture set {row.set.name!r} as it was registered; put it back there")
    return sets.write(directory, shown, _drawn(reader, row, update), task_sha256=row.sha256, pictures_from=source)


def _drawn(reader: DatabaseSession, row: TaskRow, update: Callable[[int], object]) -> Iterator[Drawn]:
    rows = reader.execute(_query(row).execution_options(yield_per=BATCH))
    for assignment, submission, annotator, shown, picture in rows:
        size = (picture.width, picture.height)
        mask = None if submission.mask is None else sets.decode_mask(submission.mask, picture.source_id, size)
        yield (
            Annotation(
                annotation_id=assignment.public_id,
                source_id=picture.source_id,
                source_class=picture.source_class,
                annotator=annotator.public_id,
                outcome=cast("Outcome", submission.outcome),
                skip_reason=submission.skip_reason,
                gold=shown.role == "gold",
                practice=shown.role == "practice",
                review=cast("Reviewed | None", assignment.review),
                round=submission.round,
                seconds=submission.active_ms / 1000,
                started_at=assignment.reserved_at.isoformat(timespec="milliseconds"),
                submitted_at=submission.at.isoformat(timespec="milliseconds"),
                robot=annotator.robot,
                operations=tuple(_operations(reader, submission)),
            ),
            mask,
        )
        reader.expunge(assignment)
        reader.expunge(submission)
        update(1)


def _query(row: TaskRow) -> Select[Assignment, Submission, Annotator, TaskPicture, PictureRow]:
    return (
        select(Assignment, Submission, Annotator, TaskPicture, PictureRow)
        .join(Submission, (Submission.assignment_id == Assignment.id) & Submission.last)
        .join(Annotator, Assignment.annotator_id == Annotator.id)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .join(PictureRow, TaskPicture.picture_id == PictureRow.id)
        .where(Annotator.task_id == row.id, Annotator.withdrawn_at.is_(None))
        .order_by(PictureRow.source_id, Annotator.public_id)
    )


def _operations(reader: DatabaseSession, submission: Submission) -> Iterator[dict[str, Any]]:
    query = (
        select(Stroke.operation)
        .where(Stroke.assignment_id == submission.assignment_id, Stroke.stroke_index < submission.strokes)
        .order_by(Stroke.stroke_index)
    )
    yield from reader.scalars(query)
