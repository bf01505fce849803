"""``python -m benchmarks.study_faults``: nothing acknowledged is lost and nothing is stored twice, whatever breaks.

200 robots × 120 trials go through the real server, on SQLite and on PostgreSQL, while its workers are killed with
SIGKILL, requests are lost before and after the server has acted, and answers are sent twice. Then the robots' own log
of what was acknowledged is compared with the database, value by value.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from benchmarks.breaking import Row, all_take_part, breakage, breaking, run
from benchmarks.claims import Claim, versions
from benchmarks.faulty_client import Line, Log, client
from benchmarks.study_site import Kind, Shape, database, set_up
from core import manifest
from core.errors import exit_code
from study_app import observers
from study_app.database import Database
from study_app.models import Participant, Response, Session
from study_app.participants.answers import CHECKS, Answer
from study_app.robots import Memory, Robot, Task
from study_app.settings import ROOT

COMMAND = "python -m benchmarks.study_faults"
LAW = ROOT / "study_app" / "observers" / "demo.toml"
PATIENCE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is done to the study.

    Attributes:
        robots: participants; ``trials``: of each.
        at_once: robots that take part at a time.
        kills: of workers, spread over the answers at random.
    """

    robots: int = 200
    trials: int = 120
    at_once: int = 50
    kills: int = 120
    line: Line = Line()  # noqa: RUF009  (frozen)
    shape: Shape = Shape(workers=4)  # noqa: RUF009  (frozen)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the database holds, against what the robots were told.

    Attributes:
        answers: distinct answers that were acknowledged.
        lost: of these, not in the database.
        changed: in the database with another trial, another hash, or values that do not give the hash.
        twice: trials or uuids with more than one row.
        unasked: rows that no robot was told of.
        finished: sessions with a completion code that its robot was given.
        participants: rows; more than robots would be consents stored twice.
    """

    answers: int
    lost: int
    changed: int
    twice: int
    unasked: int
    finished: int
    participants: int


def play(url: str, stimuli: Path, directory: Path, plan: Plan) -> Log:
    """Lets the robots take part while everything breaks; returns what they were told."""
    log, seed = Log(), plan.line.seed
    law, shown = observers.load(LAW), manifest.read_set(stimuli).by_hash()
    asked = plan.robots * plan.trials
    with breaking(url, directory, log, shape=plan.shape, kills=plan.kills, answers=asked, seed=seed) as server:
        task = Task(url=server.address, law=law, shown=shown, wait_s=PATIENCE_S)

        def take_part(number: int) -> None:
            robot = Robot(task, number, Memory(None), client(plan.line, number, log))
            robot.enrol()
            robot.take_part()

        all_take_part(take_part, plan.robots, plan.at_once, log)
    return log


def judge(url: str, log: Log) -> Verdict:
    """Returns how the database compares with what the robots were told."""
    kept = Database(url)
    with kept.reading() as reader:
        rows = {row.client_uuid: row for row in reader.scalars(select(Response))}
        told = {answer.client_uuid: answer for answer in log.acknowledged}
        changed = [
            answer
            for answer in told.values()
            if (row := rows.get(answer.client_uuid)) is not None
            and (row.trial_index, row.payload_sha256, _sha256(row))
            != (answer.trial_index, answer.payload_sha256, answer.payload_sha256)
        ]
        per_trial = select(func.count()).select_from(Response).group_by(Response.session_id, Response.trial_index)
        per_uuid = select(func.count()).select_from(Response).group_by(Response.client_uuid)
        codes = set(reader.scalars(select(Session.completion_code).where(Session.finished_at.is_not(None))))
        verdict = Verdict(
            answers=len(told),
            lost=len(told.keys() - rows.keys()),
            changed=len(changed),
            twice=sum(count > 1 for query in (per_trial, per_uuid) for count in reader.scalars(query)),
            unasked=len(rows.keys() - told.keys()),
            finished=len(codes & set(log.codes)),
            participants=reader.scalar(select(func.count(Participant.id))) or 0,
        )
    kept.engine.dispose()
    return verdict


def _sha256(row: Response) -> str:
    return Answer(**{name: getattr(row, name) for name in CHECKS}).sha256


def claims(kind: Kind, plan: Plan, log: Log, verdict: Verdict, seconds: float) -> list[Claim]:
    """Returns what was measured, each with what was asked."""
    asked = plan.robots * plan.trials
    rows: list[Row] = [
        ("answers acknowledged", verdict.answers, "answers", asked, verdict.answers >= asked),
        ("acknowledged answers that are not in the database", verdict.lost, "answers", 0, verdict.lost == 0),
        ("acknowledged answers that are there with other values", verdict.changed, "answers", 0, verdict.changed == 0),
        ("trials or answers that are there twice", verdict.twice, "rows", 0, verdict.twice == 0),
        ("answers there that nobody was told of", verdict.unasked, "answers", 0, verdict.unasked == 0),
        (
            "sessions finished with the code that the robot got",
            verdict.finished,
            "sessions",
            plan.robots,
            verdict.finished == plan.robots,
        ),
        (
            "participants in the database",
            verdict.participants,
            "participants",
            plan.robots,
            verdict.participants == plan.robots,
        ),
        ("answers of the server that must not be", len(log.wrong), "answers", 0, not log.wrong),
        *breakage(log, plan.kills, "answers", "answers", seconds),
    ]
    return [
        Claim(
            claim=f"{kind}: {words}", value=value, unit=unit, aim=aim, met=met, n=asked, seed=plan.line.seed,
            command=COMMAND, versions=versions("gunicorn", "flask", "sqlalchemy", "psycopg"),
        )
        for words, value, unit, aim, met in rows
    ]  # fmt: skip


def measure(kind: Kind, plan: Plan) -> tuple[list[Claim], Log]:
    """Returns the claims about one kind of database, and the log behind them."""
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as url:
        stimuli = set_up(url, Path(folder), trials=plan.trials, seed=plan.line.seed)
        started = time.monotonic()
        log = play(url, stimuli, Path(folder), plan)
        return claims(kind, plan, log, judge(url, log), time.monotonic() - started), log


def main(argv: Sequence[str] | None = None) -> int:
    """Breaks both databases' studies, prints the counts, and writes them."""
    return run(argv, COMMAND, main.__doc__, Plan(), ("robots", "trials", "kills", "at_once"), measure)


if __name__ == "__main__":
    sys.exit(exit_code(main))
