"""``python -m benchmarks.study_load``: how many answers a second the study carries, by locust with the study's robots.

For SQLite and PostgreSQL: the rate that was asked for, then the highest one at which 99 % of the answers are
acknowledged in time and none fails; beside it what the same database takes of the same rows, one commit a row, with
nothing in between. Server, database and robots share this machine's cores: while anything else computes, all the
numbers are too low.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from sqlalchemy import MetaData, Table, insert, select
from sqlalchemy.schema import CreateSchema, CreateTable, SchemaConst
from tqdm import tqdm

from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.load_robots import ANSWER, LAW, PICTURE, LookingRobot
from benchmarks.study_site import KINDS, Kind, Server, Shape, database, set_up
from core import manifest
from core.errors import DONE, MachineError, exit_code
from study_app import observers
from study_app.database import Database
from study_app.models import Base, Response
from study_app.robots import Memory, Task
from study_app.settings import ROOT

COMMAND = "python -m benchmarks.study_load"
TRIALS, ROBOTS, SEED = 300, 320, 1
SECONDS, STEP_SECONDS, STEPS, BARE_ROWS = 60.0, 8.0, 5, 5000
UP, DOWN = 1.3, 0.75
REACHED = 0.97  # share of the asked rate that must have been answered for it to count as sustained
Pictures = Literal["loaded", "known"]


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What was asked: answers per second, and within how many milliseconds 99 % of them are acknowledged."""

    rate: float
    p99_ms: float


AIMS: dict[Kind, Aim] = {"sqlite": Aim(rate=160, p99_ms=50), "postgresql": Aim(rate=600, p99_ms=100)}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one load did: the rate asked for, the one answered, times in milliseconds, requests that failed."""

    rate: float
    answered: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    picture_p99_ms: float
    errors: int
    n: int

    def sustained(self, p99_ms: float) -> bool:
        """Returns whether the server kept up, in time and without an error."""
        return self.errors == 0 and self.p99_ms <= p99_ms and self.answered >= REACHED * self.rate


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A running study with its robots in a file."""

    url: str
    server: Server
    stimuli: Path
    robots: Path

    def load(self, rate: float, seconds: float, pictures: Pictures) -> Load:
        """Returns what a load did; it runs in a process of its own."""
        command = [sys.executable, "-m", "benchmarks.load_users", str(self.robots), "--url", self.server.address]
        more = ["--stimuli", str(self.stimuli), "--rate", str(rate), "--seconds", str(seconds), "--pictures", pictures]
        done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MachineError(f"locust: expected exit code 0, got {done.returncode}: {done.stderr[-1000:]}")
        return _summary(rate, seconds, json.loads(done.stdout))


def _summary(rate: float, seconds: float, measured: dict[str, Any]) -> Load:
    answers, shown = (np.array(measured["times"][name] or [np.inf]) for name in (ANSWER, PICTURE))
    return Load(
        rate=rate, answered=round(len(measured["times"][ANSWER]) / seconds, 1), p50_ms=_percentile(answers, 50),
        p99_ms=_percentile(answers, 99), max_ms=_percentile(answers, 100), picture_p99_ms=_percentile(shown, 99),
        errors=sum(measured["errors"].values()), n=len(answers),
    )  # fmt: skip


def _percentile(times: np.ndarray[Any, Any], share: float) -> float:
    return round(float(np.percentile(times, share, method="higher")), 2)


def enrol(server: Server, stimuli: Path, path: Path, robots: int) -> None:
    """Lets robots consent over HTTP and writes down what each has before it."""
    task = Task(url=server.address, law=observers.load(LAW), shown=manifest.read_set(stimuli).by_hash(), wait_s=60.0)

    def one(number: int) -> dict[str, Any]:
        robot = LookingRobot(task, number, Memory(None))
        state = robot.begin()
        return {"number": number, "cookie": robot.cookie, "left": state.pop("trials"), "state": state}

    with ThreadPoolExecutor(4) as pool:
        rows = list(tqdm(pool.map(one, range(robots)), total=robots, desc="consent", unit="robot"))
    path.write_text(json.dumps(rows), encoding="utf-8")


def highest(bench: Bench, first: Load, aim: Aim, pictures: Pictures) -> Load:
    """Returns the load with the highest rate found that was sustained, or the lowest that was tried."""
    best, step = first, first
    factor = UP if first.sustained(aim.p99_ms) else DOWN
    for _ in range(STEPS):
        step = bench.load(step.rate * factor, STEP_SECONDS, pictures)
        kept_up = step.sustained(aim.p99_ms)
        best = step if kept_up or factor == DOWN else best
        if kept_up != (factor == UP):
            break
    return best


def bare_inserts(url: str, directory: Path, kind: Kind) -> float:
    """Returns how many rows a second the database takes, one commit each: robots' answers, with nothing in between."""
    kept = Database(url)
    with kept.reading() as reader:
        rows = [dict(row) for row in reader.execute(select(Response.__table__).limit(BARE_ROWS)).mappings()]
    other = kept if kind == "postgresql" else Database(f"sqlite:///{directory / 'bare.sqlite'}")
    table = _bare_table(other, "bare" if kind == "postgresql" else None)
    started = time.perf_counter()
    with other.engine.execution_options(percepsilon_writes=True).connect() as connection:
        for row in rows:
            connection.execute(insert(table), row)
            connection.commit()
    seconds = time.perf_counter() - started
    for database_used in {kept, other}:
        database_used.engine.dispose()
    return len(rows) / seconds


def _bare_table(other: Database, schema: str | None) -> Table:
    """Makes a table like that of the answers, with its keys and without its references."""
    table = Base.metadata.tables["response"].to_metadata(MetaData(), schema=schema or SchemaConst.RETAIN_SCHEMA)
    for reference in list(table.foreign_key_constraints):
        table.constraints.discard(reference)
    with other.engine.execution_options(percepsilon_writes=True).begin() as connection:
        if schema is not None:
            connection.execute(CreateSchema(schema))
        connection.execute(CreateTable(table, include_foreign_key_constraints=[]))
    return table


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was measured of one kind of database.

    Attributes:
        asked: at the rate that was asked for, answers alone; ``whole``: robots that load each picture, at its highest.
        best: the highest sustained rate of answers alone.
        bare: rows a second that the database takes by itself.
    """

    asked: Load
    best: Load
    whole: Load
    bare: float


def measure(kind: Kind, robots: int, seconds: float) -> Found:
    """Returns what one kind of database carries."""
    aim = AIMS[kind]
    with tempfile.TemporaryDirectory() as folder, database(kind, Path(folder)) as url:
        directory = Path(folder)
        stimuli = set_up(url, directory, trials=TRIALS, seed=SEED)
        with Server(url, directory / "server.log", Shape()) as server:
            bench = Bench(url=url, server=server, stimuli=stimuli, robots=directory / "robots.json")
            enrol(server, stimuli, bench.robots, robots)
            asked = bench.load(aim.rate, seconds, "known")
            best = highest(bench, asked, aim, "known")
            whole = highest(bench, bench.load(min(aim.rate, best.rate), STEP_SECONDS, "loaded"), aim, "loaded")
        return Found(asked=asked, best=best, whole=whole, bare=bare_inserts(url, directory, kind))


def claims(kind: Kind, found: Found) -> list[Claim]:
    """Returns what was measured, beside what was asked."""
    aim, asked, best, whole = AIMS[kind], found.asked, found.best, found.whole
    in_time = best.sustained(aim.p99_ms)
    limit = f"99 % within {aim.p99_ms:g} ms"
    rows: list[tuple[str, float, str, float | None, bool | None, int]] = [
        (
            f"99 % of answers acknowledged within, at {aim.rate:g}/s asked",
            asked.p99_ms,
            "ms",
            aim.p99_ms,
            asked.p99_ms <= aim.p99_ms,
            asked.n,
        ),
        (
            f"answers a second, at {aim.rate:g}/s asked",
            asked.answered,
            "answers/s",
            aim.rate,
            asked.answered >= REACHED * aim.rate,
            asked.n,
        ),
        ("requests that failed then", asked.errors, "requests", 0, asked.errors == 0, asked.n),
        ("half of the answers acknowledged within", asked.p50_ms, "ms", None, None, asked.n),
        ("the slowest answer", asked.max_ms, "ms", None, None, asked.n),
        (
            f"highest rate found that was sustained, {limit}",
            best.answered if in_time else 0.0,
            "answers/s",
            aim.rate,
            in_time and best.answered >= REACHED * aim.rate,
            best.n,
        ),
        (
            f"the same, each picture loaded before its answer, {limit}",
            whole.answered if whole.sustained(aim.p99_ms) else 0.0,
            "answers/s",
            None,
            None,
            whole.n,
        ),
        ("pictures then: 99 % within", whole.picture_p99_ms, "ms", None, None, whole.n),
        (
            "the same rows by themselves, one commit each, one connection",
            round(found.bare, 1),
            "rows/s",
            None,
            None,
            BARE_ROWS,
        ),
        (
            "highest rate, as a share of that",
            round(best.answered / found.bare, 3) if in_time else 0.0,
            "share",
            None,
            None,
            best.n,
        ),
    ]
    return [
        Claim(
            claim=f"{kind}: {words}", value=value, unit=unit, aim=wanted, met=met, n=n, seed=SEED, command=COMMAND,
            compared_with="bare inserts on this machine, in this run" if unit == "share" else None,
            versions=versions("gunicorn", "flask", "sqlalchemy", "psycopg", "locust"),
        )
        for words, value, unit, wanted, met, n in rows
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Loads both databases' studies and writes what they carry; says how busy the machine was before and after."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "study_load.json")
    parser.add_argument("--robots", type=int, default=ROBOTS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="at the rate that was asked for (60)")
    options = parser.parse_args(argv)
    busy = os.getloadavg()[0]
    kept = [row for kind in KINDS for row in claims(kind, measure(kind, options.robots, options.seconds))]
    kept.append(_busy(busy))
    write(options.out, kept)
    for row in kept:
        print(f"{row.value:10g} {row.unit:10} {row.claim}{'' if row.met in (None, True) else '  NOT MET'}")
    return DONE


def _busy(load: float) -> Claim:
    words = "processes that computed on this machine in the minute before; above 0.5 all rates are too low"
    return Claim(
        claim=words,
        value=round(load, 2),
        unit="processes",
        n=1,
        seed=SEED,
        command=COMMAND,
        versions=versions("locust"),
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
