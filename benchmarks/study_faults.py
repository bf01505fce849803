"""``python -m benchmarks.study_faults``: nothing acknowledged is lost and nothing is stored twice, whatever breaks.

200 robots × 120 trials go through the real server, on SQLite and on PostgreSQL, while its workers are killed with
SIGKILL, requests are lost before and after the server has acted, and answers are sent twice. Then the robots' own log
of what was acknowledged is compared with the database, value by value.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from tqdm import tqdm

from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.faulty_client import Line, Log, client
from benchmarks.study_site import KINDS, Kind, Server, Shape, database, set_up
from core import manifest, rng
from core.errors import DONE, REFUSED, exit_code
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


class Killer(threading.Thread):
    """Kills workers, one each time that so many answers more were acknowledged."""

    def __init__(self, server: Server, log: Log, *, kills: int, answers: int, seed: int) -> None:
        super().__init__(daemon=True)
        self._server, self._log = server, log
        self._generator = rng.numpy_generator(seed, "kills")
        self._due = sorted(self._generator.integers(0, int(0.95 * answers), kills).tolist())
        self.over = threading.Event()

    def run(self) -> None:
        """Kills until all are done, or the robots are."""
        while self._due and not self.over.wait(0.01):
            if len(self._log.acknowledged) >= self._due[0] and self._kill():
                self._due.pop(0)

    def _kill(self) -> bool:
        workers = self._server.workers()
        if not workers:
            return False
        try:
            os.kill(int(self._generator.choice(workers)), signal.SIGKILL)
        except ProcessLookupError:
            return False
        self._log.count("workers killed")
        return True


def play(url: str, stimuli: Path, directory: Path, plan: Plan) -> Log:
    """Lets the robots take part while everything breaks; returns what they were told."""
    log = Log()
    with Server(url, directory / "server.log", plan.shape) as server:
        task = Task(
            url=server.address, law=observers.load(LAW), shown=manifest.read_set(stimuli).by_hash(), wait_s=PATIENCE_S
        )
        asked = plan.robots * plan.trials
        killer = Killer(server, log, kills=plan.kills, answers=asked, seed=plan.line.seed)
        killer.start()
        try:
            _all_take_part(task, log, plan)
        finally:
            killer.over.set()
            killer.join()
    return log


def _all_take_part(task: Task, log: Log, plan: Plan) -> None:
    def take_part(number: int) -> None:
        robot = Robot(task, number, Memory(None), client(plan.line, number, log))
        robot.enrol()
        robot.take_part()

    with ThreadPoolExecutor(plan.at_once) as pool:
        running = [pool.submit(take_part, number) for number in range(plan.robots)]
        for done in tqdm(as_completed(running), total=plan.robots, desc="robots", unit="robot"):
            if (error := done.exception()) is not None:
                log.complain(f"a robot stopped: {error!r}")


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
    counts = log.counts
    rows: list[tuple[str, float, str, float | None, bool | None]] = [
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
        (
            "workers killed with SIGKILL",
            counts["workers killed"],
            "kills",
            min(100, plan.kills),
            counts["workers killed"] >= min(100, plan.kills),
        ),
        ("requests lost before the server had them", counts["dropped before"], "requests", None, None),
        ("requests lost after the server had acted", counts["dropped after"], "requests", None, None),
        ("requests that broke at the server's end", counts["broken by the server's end"], "requests", None, None),
        ("answers sent a second time", counts["sent twice"], "answers", None, None),
        ("requests", counts["requests"], "requests", None, None),
        ("time", round(seconds, 1), "s", None, None),
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
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "study_faults.json")
    for name in ("robots", "trials", "kills", "at-once"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name.replace("-", "_")))
    options = vars(parser.parse_args(argv))
    out, plan, kept = options.pop("out"), Plan(**options), []
    for kind in KINDS:
        measured, log = measure(kind, plan)
        kept += measured
        for row in measured:
            print(f"{row.value:10g} {row.unit:13} {row.claim}{'' if row.met in (None, True) else '  NOT MET'}")
        for complaint in log.wrong[:20]:
            print(complaint, file=sys.stderr)
    write(out, kept)
    return DONE if all(row.met is not False for row in kept) else REFUSED


if __name__ == "__main__":
    sys.exit(exit_code(main))
