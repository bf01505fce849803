"""Puts picture sets and annotation tasks into the database: all of it after every check, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core import files, picture_sets, rng
from core.annotations import sets
from core.errors import DataError, StudyError
from core.picture_sets import PictureSet
from study_app.annotation import task
from study_app.annotation.tables import Annotator, PictureRow, PictureSetRow, TaskPicture, TaskRow
from study_app.annotation.task import AnnotationTask
from study_app.registration import Registered, read_source

Masks = dict[str, bytes]
_HINT = "no annotation task is registered; do it with: flask --app study_app register-annotation FILE --pictures NAME"


def register_pictures(session: Session, directory: Path, found: PictureSet) -> Registered:
    """Adds a picture set whose files were checked; where it is known, notes the directory anew.

    Raises:
        StudyError: another set has its name.
    """
    known = session.scalar(select(PictureSetRow).where(PictureSetRow.name == found.name))
    if known is None:
        session.add(_set_row(directory, found))
        return Registered(found.name, new=True)
    if known.sha256 != found.sha256:
        raise StudyError(
            f"picture set {found.name!r} is registered with manifest {known.sha256[:12]}…, got {found.sha256[:12]}…; "
            "make the new set in a folder of another name"
        )
    known.directory = str(directory.resolve())
    return Registered(found.name, new=False)


def _set_row(directory: Path, found: PictureSet) -> PictureSetRow:
    names = ("source_id", "source_class", "sha256", "width", "height")
    return PictureSetRow(
        name=found.name,
        directory=str(directory.resolve()),
        sha256=found.sha256,
        registered_at=datetime.now(UTC),
        pictures=[PictureRow(**{name: getattr(row, name) for name in names}) for row in found.pictures],
    )


def register_task(
    session: Session, path: Path, pictures: str, gold: Path | None, update: Callable[[int], object] = lambda _: None
) -> Registered:
    """Adds the task file at ``path`` and makes it the one that new annotators get; ``update`` is told of each mask.

    Raises:
        ConfigError: the file cannot be used.
        DataError: a mask of the ``gold`` folder cannot.
        StudyError: no such picture set, too few known pictures, or another task of its name was frozen.
    """
    source = read_source(path)
    settings, shown = task.parse(source, path.name), _find_set(session, pictures)
    masks = read_gold(gold, shown, update) if gold is not None else {}
    _check_enough(settings, len(masks), len(shown.pictures))
    return _store(session, settings, source.decode(), shown, masks)


def _find_set(session: Session, name: str) -> PictureSetRow:
    found = session.scalar(select(PictureSetRow).where(PictureSetRow.name == name))
    if found is None:
        raise StudyError(
            f"--pictures {name}: no such picture set; register it with: flask --app study_app register-pictures DIR"
        )
    return found


def read_gold(directory: Path, shown: PictureSetRow, update: Callable[[int], object] = lambda _: None) -> Masks:
    """Returns the masks ``<source_id>.png`` of a folder by source_id, as our own PNG files.

    Raises:
        DataError: a mask is of no picture of the set, of another size, empty, or cannot be read.
    """
    by_id, masks = {picture.source_id: picture for picture in shown.pictures}, {}
    for path in sorted(directory.rglob("*.png")):
        name = path.relative_to(directory).with_suffix("").as_posix()
        if name not in by_id:
            raise DataError(f"{path}: expected a mask named <source_id>.png of a picture of {shown.name}, got {name!r}")
        mask = sets.decode_mask(path.read_bytes(), str(path), (by_id[name].width, by_id[name].height))
        if not mask.any():
            raise DataError(f"{path}: expected a mask with painted pixels, got none; leave the picture out")
        masks[name] = sets.encode_mask(mask)
        update(1)
    if not masks:
        raise DataError(f"{directory}: expected masks named <source_id>.png, found none")
    return masks


def _check_enough(settings: AnnotationTask, masks: int, pictures: int) -> None:
    needed = settings.practice.pictures + (settings.gold.share > 0)
    if masks < needed:
        raise StudyError(
            f"--gold: expected masks of at least {needed} pictures (practice.pictures, and gold.share above 0), "
            f"got {masks}; name a folder with more"
        )
    if pictures <= masks:
        raise StudyError(f"--gold: expected masks of fewer than the {pictures} pictures of the set, got {masks}")


def _store(session: Session, settings: AnnotationTask, source: str, shown: PictureSetRow, masks: Masks) -> Registered:
    now = datetime.now(UTC)
    known = session.scalar(select(TaskRow).where(TaskRow.name == settings.name).with_for_update(key_share=True))
    values = {
        "sha256": files.sha256_bytes(source.encode()), "source": source, "set_id": shown.id,
        "gold_sha256": _gold_sha256(masks),
    }  # fmt: skip
    if known is None:
        known = TaskRow(name=settings.name, registered_at=now, opened_at=now, **values)
        session.add(known)
        session.flush()
        _add_pictures(session, known, settings, shown, masks)
        return Registered(settings.name, new=True)
    same = all(getattr(known, name) == value for name, value in values.items())
    if not same and known.frozen_at is not None:
        raise StudyError(
            f"task {settings.name!r} was frozen on {known.frozen_at:%Y-%m-%d}, when its first annotator started; "
            "give the changed file another name"
        )
    if not same:
        session.execute(delete(TaskPicture).where(TaskPicture.task_id == known.id))
        for name, value in values.items():
            setattr(known, name, value)
        _add_pictures(session, known, settings, shown, masks)
    if known is not current_task(session):
        known.opened_at = now
    return Registered(settings.name, new=not same)


def _gold_sha256(masks: Masks) -> str:
    lines = (f"{name} {files.sha256_bytes(mask)}\n" for name, mask in sorted(masks.items()))
    return files.sha256_bytes("".join(lines).encode())


def _add_pictures(session: Session, row: TaskRow, settings: AnnotationTask, shown: PictureSetRow, masks: Masks) -> None:
    """Gives every picture its role and its place, both by the seed."""
    pictures = sorted(shown.pictures, key=lambda picture: picture.source_id)
    order = rng.numpy_generator(settings.seed, "annotation order").permutation(len(pictures))
    known = 0
    for place, index in enumerate(order.tolist()):
        picture, role = pictures[index], "main"
        if picture.source_id in masks:
            role = "practice" if known < settings.practice.pictures else "gold"
            known += 1
        session.add(
            TaskPicture(
                task_id=row.id, picture_id=picture.id, role=role, place=place, held=0, mask=masks.get(picture.source_id)
            )
        )


def current_task(session: Session, *, lock: bool = False) -> TaskRow | None:
    """Returns the task that new annotators get: the one that was opened last; ``lock`` holds its row."""
    query = select(TaskRow).order_by(TaskRow.opened_at.desc(), TaskRow.id.desc()).limit(1)
    return session.scalar(query.with_for_update(key_share=True) if lock else query)


def needed_task(session: Session, *, lock: bool = False) -> TaskRow:
    """Returns what ``current_task`` does.

    Raises:
        StudyError: none is registered.
    """
    row = current_task(session, lock=lock)
    if row is None:
        raise StudyError(_HINT)
    return row


def next_number(session: Session, row: TaskRow) -> int:
    """Returns the number of a task's next annotator."""
    highest = session.scalar(select(func.max(Annotator.number)).where(Annotator.task_id == row.id))
    return 0 if highest is None else highest + 1


def settings_of(row: TaskRow) -> AnnotationTask:
    """Returns what a task's file says."""
    return task.parse(row.source, row.name)


def check_files(directory: Path, update: Callable[[int], object]) -> PictureSet:
    """Returns a picture set after reading each of its files.

    Raises:
        DataError: a file is absent or was changed.
    """
    return picture_sets.verify(directory, update)
