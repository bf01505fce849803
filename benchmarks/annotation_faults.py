"""``python -m benchmarks.annotation_faults``: no stroke that was acknowledged is lost, and none is stored twice.

Robots paint through the real server, on SQLite and on PostgreSQL, while its workers are killed with SIGKILL, requests
are lost before and after the server has acted, and strokes and submissions are sent twice. Then the robots' own log of
what was acknowledged is compared with the database, stroke by stroke, and every mask with its strokes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from sqlalchemy import func, select
from sqlalchemy.orm import Session as DatabaseSession

from benchmarks.breaking import Row, all_take_part, breakage, breaking, run
from benchmarks.claims import Claim, versions
from benchmarks.faulty_client import Line, Log, client
from benchmarks.study_site import Kind, Shape, database
from core import picture_sets, rng
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from core.annotations.sets import decode_mask
from core.errors import StudyError, exit_code
from study_app import create_app
from study_app.annotation import strokes, submissions
from study_app.annotation.tables import Annotator as AnnotatorRow
from study_app.annotation.tables import Assignment, PictureRow, Stroke, Submission, TaskPicture
from study_app.database import Database
from study_app.robots import Memory
from study_app.robots.annotators import API, Annotator, Task
from study_app.robots.blobs import Sloppiness
from study_app.settings import Settings

COMMAND = "python -m benchmarks.annotation_faults"
PATIENCE_S = 120.0
SIDE = 40  # pixels
LEAST_STROKES = 4  # a picture, of a robot; the kills are spread over so many
STROKES, SUBMISSIONS = f"{API}/strokes", f"{API}/submissions"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to the task.

    Attributes:
        robots: annotators; ``pictures``: of each, and of the task.
        at_once: robots that paint at a time.
        kills: of workers, spread over the strokes at random.
    """

    robots: int = 40
    pictures: int = 20
    at_once: int = 20
    kills: int = 120
    line: Line = Line()  # noqa: RUF009  (frozen)
    shape: Shape = Shape(workers=4)  # noqa: RUF009  (frozen)


@dataclass(frozen=True, kw_only=True)
class Told:
    """A stroke or a submission that the server said it holds."""

    client_uuid: str
    assignment: str
    index: int | None
    payload_sha256: str
    operation: Any


class PaintingLog(Log):
    """What all robots were told of strokes and submissions."""

    def is_answer(self, request: requests.PreparedRequest) -> bool:
        """Returns whether a request posts a stroke or a submission."""
        return request.method == "POST" and request.path_url in (STROKES, SUBMISSIONS)

    def acknowledgement(self, request: requests.PreparedRequest) -> Told:
        """Returns what the server said it holds."""
        body = json.loads(request.body or b"")
        stroke = request.path_url == STROKES
        posted = strokes.parse(body) if stroke else submissions.parse(body)
        return Told(
            client_uuid=posted.client_uuid,
            assignment=posted.assignment,
            index=body.get("index"),
            payload_sha256=posted.sha256,
            operation=body.get("operation"),
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the database holds, against what the robots were told.

    Attributes:
        strokes: that were acknowledged; ``submissions``: likewise.
        lost: of both, not in the database.
        changed: there under another picture or index, with another hash or another operation.
        twice: pictures' indexes or uuids with more than one row.
        unasked: rows that no robot was told of.
        wrong_masks: submissions whose mask is not that of their strokes.
        wrong_places: pictures held by another number than their assignments say, or by more than the task asks for.
        annotators: rows; more than robots would be consents stored twice.
        finished: annotators with a completion code.
    """

    strokes: int
    submissions: int
    lost: int
    changed: int
    twice: int
    unasked: int
    wrong_masks: int
    wrong_places: int
    annotators: int
    finished: int


def set_up(url: str, folder: Path, plan: Plan) -> None:
    """Fills an empty database by the researcher's commands: pictures of noise, each for every robot."""
    draw = rng.numpy_generator(plan.line.seed, "pictures to paint on")
    names = [f"train/noise/{place:04d}" for place in range(plan.pictures)]
    named = ((name, "noise", draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for name in names)
    picture_sets.write(folder / "to-paint", ("noise",), named)
    task = folder / "task.toml"
    task.write_text(
        f'name = "broken"\nminimum_seconds = 0\nannotators_per_picture = {plan.robots}\n'
        f"pictures_per_annotator = {plan.pictures}\n",
        encoding="utf-8",
    )
    app = create_app(Settings(database_url=url, instance=folder))
    for command in (
        ["init-db"],
        ["register-pictures", str(folder / "to-paint")],
        ["register-annotation", str(task), "--pictures", "to-paint"],
    ):
        done = app.test_cli_runner().invoke(args=command)
        if done.exit_code:
            raise StudyError(f"flask --app study_app {' '.join(command)}: {done.output}")
    app.extensions["percepsilon_database"].engine.dispose()


def play(url: str, folder: Path, plan: Plan) -> PaintingLog:
    """Lets the robots paint while everything breaks; returns what they were told."""
    log, seed = PaintingLog(), plan.line.seed
    asked = plan.robots * plan.pictures * LEAST_STROKES
    with breaking(url, folder, log, shape=plan.shape, kills=plan.kills, answers=asked, seed=seed) as server:
        task = Task(url=server.address, sloppiness=Sloppiness(), seed=seed, wait_s=PATIENCE_S)

        def paint(number: int) -> None:
            robot = Annotator(task, number, Memory(None), client(plan.line, number, log))
            robot.enrol()
            robot.take_part()

        all_take_part(paint, plan.robots, plan.at_once, log)
    return log


def judge(url: str, log: Log, robots: int) -> Verdict:
    """Returns how the database compares with what the robots were told."""
    kept = Database(url)
    with kept.reading() as reader:
        names = {row: name for row, name in reader.execute(select(Assignment.id, Assignment.public_id))}  # noqa: C416
        rows: dict[str, Any] = {row.client_uuid: row for row in reader.scalars(select(Stroke))}
        rows |= {row.client_uuid: row for row in reader.scalars(select(Submission))}
        told: dict[str, Told] = {answer.client_uuid: answer for answer in log.acknowledged}
        counted = select(func.count()).select_from(Stroke)
        per_index = counted.group_by(Stroke.assignment_id, Stroke.stroke_index)
        verdict = Verdict(
            strokes=sum(answer.index is not None for answer in told.values()),
            submissions=sum(answer.index is None for answer in told.values()),
            lost=len(told.keys() - rows.keys()),
            changed=sum(name in rows and not _same(rows[name], answer, names) for name, answer in told.items()),
            twice=sum(
                count > 1
                for query in (per_index, counted.group_by(Stroke.client_uuid))
                for count in reader.scalars(query)
            ),
            unasked=len(rows.keys() - told.keys()),
            wrong_masks=_wrong_masks(reader),
            wrong_places=_wrong_places(reader, robots),
            annotators=reader.scalar(select(func.count(AnnotatorRow.id))) or 0,
            finished=reader.scalar(select(func.count(AnnotatorRow.completion_code))) or 0,
        )
    kept.engine.dispose()
    return verdict


def _same(row: Any, told: Told, names: dict[int, str]) -> bool:
    found = (names[row.assignment_id], row.payload_sha256)
    if told.index is None:
        return found == (told.assignment, told.payload_sha256)
    expected = (told.assignment, told.payload_sha256, told.index, told.operation)
    return (*found, row.stroke_index, row.operation) == expected


def _wrong_masks(reader: DatabaseSession) -> int:
    """Returns how many submissions have a mask that is not that of their strokes, drawn anew."""
    wrong = 0
    query = (
        select(Submission, PictureRow)
        .join(Assignment, Submission.assignment_id == Assignment.id)
        .join(TaskPicture, Assignment.task_picture_id == TaskPicture.id)
        .join(PictureRow, TaskPicture.picture_id == PictureRow.id)
        .where(Submission.mask.is_not(None))
    )
    for submission, picture in reader.execute(query):
        drawn = (
            select(Stroke.operation)
            .where(Stroke.assignment_id == submission.assignment_id, Stroke.stroke_index < submission.strokes)
            .order_by(Stroke.stroke_index)
        )
        recorded = parse_all(list(reader.scalars(drawn)), picture.width, picture.height)
        assert submission.mask is not None
        stored = decode_mask(submission.mask, picture.source_id, (picture.width, picture.height))
        anew = rasterise(recorded, picture.width, picture.height)
        wrong += len(recorded) != submission.strokes or not np.array_equal(stored, anew)
    return wrong


def _wrong_places(reader: DatabaseSession, robots: int) -> int:
    counted = select(Assignment.task_picture_id, func.count()).where(Assignment.counted)
    grouped = reader.execute(counted.group_by(Assignment.task_picture_id))
    found = {picture: count for picture, count in grouped}  # noqa: C416
    held = reader.execute(select(TaskPicture.id, TaskPicture.held))
    return sum(number != found.get(picture, 0) or number > robots for picture, number in held)


def claims(kind: Kind, plan: Plan, log: Log, verdict: Verdict, seconds: float) -> list[Claim]:
    """Returns what was measured, each with what was asked."""
    asked = plan.robots * plan.pictures
    rows: list[Row] = [
        ("strokes acknowledged", verdict.strokes, "strokes", None, None),
        ("pictures handed in and acknowledged", verdict.submissions, "pictures", asked, verdict.submissions == asked),
        *(
            (words, number, unit, 0, number == 0)
            for words, number, unit in (
                ("acknowledged strokes or submissions that are not in the database", verdict.lost, "rows"),
                ("acknowledged ones that are there with other contents", verdict.changed, "rows"),
                ("strokes that are there twice", verdict.twice, "rows"),
                ("strokes or submissions there that nobody was told of", verdict.unasked, "rows"),
                ("masks that are not those of their strokes", verdict.wrong_masks, "masks"),
                ("pictures held by another number than asked for", verdict.wrong_places, "pictures"),
                ("answers of the server that must not be", len(log.wrong), "answers"),
            )
        ),
        ("annotators in the database", verdict.annotators, "people", plan.robots, verdict.annotators == plan.robots),
        ("annotators who finished", verdict.finished, "people", plan.robots, verdict.finished == plan.robots),
        *breakage(log, plan.kills, "strokes and submissions", "requests", seconds),
    ]
    return [
        Claim(
            claim=f"{kind}: {words}", value=value, unit=unit, aim=aim, met=met, n=verdict.strokes, seed=plan.line.seed,
            command=COMMAND, versions=versions("gunicorn", "flask", "sqlalchemy", "psycopg"),
        )
        for words, value, unit, aim, met in rows
    ]  # fmt: skip


def measure(kind: Kind, plan: Plan) -> tuple[list[Claim], Log]:
    """Returns the claims about one kind of database, and the log behind them."""
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as url:
        set_up(url, Path(folder), plan)
        started = time.monotonic()
        log = play(url, Path(folder), plan)
        return claims(kind, plan, log, judge(url, log, plan.robots), time.monotonic() - started), log


def main(argv: Sequence[str] | None = None) -> int:
    """Breaks both databases' tasks, prints the counts, and writes them."""
    return run(argv, COMMAND, main.__doc__, Plan(), ("robots", "pictures", "kills", "at_once"), measure)


if __name__ == "__main__":
    sys.exit(exit_code(main))
