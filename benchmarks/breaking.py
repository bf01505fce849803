"""What the fault tests share: workers that are killed while robots are at work, and a command that keeps the counts."""

from __future__ import annotations

import argparse
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.claims import RESULTS, Claim, write
from benchmarks.faulty_client import Log
from benchmarks.study_site import KINDS, Kind, Server, Shape
from core import rng
from core.errors import DONE, REFUSED

Row = tuple[str, float, str, float | None, bool | None]
"""Words, value, unit, aim and whether it was met."""


class Killer:
    """Kills workers, one each time that so many answers more were acknowledged, by the robot that hears of it."""

    def __init__(self, server: Server, log: Log, *, kills: int, answers: int, seed: int) -> None:
        self._server, self._log, self._lock = server, log, threading.Lock()
        self._generator = rng.numpy_generator(seed, "kills")
        self._due = sorted(self._generator.integers(0, int(0.95 * answers), kills).tolist())

    def look(self) -> None:
        """Kills what is due; while there is no worker to kill, it stays due."""
        with self._lock:
            while self._due and len(self._log.acknowledged) >= self._due[0] and self._kill():
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


@contextmanager
def breaking(
    url: str, folder: Path, log: Log, *, shape: Shape, kills: int, answers: int, seed: int
) -> Iterator[Server]:
    """Yields a server of the database ``url`` whose workers are killed within the block."""
    with Server(url, folder / "server.log", shape) as server:
        log.on_kept = Killer(server, log, kills=kills, answers=answers, seed=seed).look
        yield server


def all_take_part(take_part: Callable[[int], None], robots: int, at_once: int, log: Log) -> None:
    """Lets robots take part, ``at_once`` at a time, and logs those that stopped."""
    with ThreadPoolExecutor(at_once) as pool:
        running = [pool.submit(take_part, number) for number in range(robots)]
        for done in tqdm(as_completed(running), total=robots, desc="robots", unit="robot"):
            if (error := done.exception()) is not None:
                log.complain(f"a robot stopped: {error!r}")


def breakage(log: Log, kills: int, sent: str, unit: str, seconds: float) -> list[Row]:
    """Returns what was done to the server and to its requests; ``sent`` says what was sent twice."""
    counts = log.counts
    asked, killed = min(100, kills), counts["workers killed"]
    return [
        ("workers killed with SIGKILL", killed, "kills", asked, killed >= asked),
        ("requests lost before the server had them", counts["dropped before"], "requests", None, None),
        ("requests lost after the server had acted", counts["dropped after"], "requests", None, None),
        ("requests that broke at the server's end", counts["broken by the server's end"], "requests", None, None),
        (f"{sent} sent a second time", counts["sent twice"], unit, None, None),
        ("requests", counts["requests"], "requests", None, None),
        ("time", round(seconds, 1), "s", None, None),
    ]


def run(
    argv: Sequence[str] | None, command: str, words: str | None, plan: Any, numbers: Sequence[str],
    measure: Callable[[Kind, Any], tuple[list[Claim], Log]],
) -> int:  # fmt: skip
    """Measures both databases, prints the counts and writes them; returns the exit code.

    Args:
        argv: the command line.
        command: that it belongs to; the file of results has the name of its module.
        words: of the help.
        plan: whose fields named in ``numbers`` are options.
        numbers: names of options.
        measure: of one kind of database.
    """
    parser = argparse.ArgumentParser(prog=command, description=words)
    parser.add_argument("--out", type=Path, default=RESULTS / f"{command.rpartition('.')[2]}.json")
    for name in numbers:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(plan, name))
    options = vars(parser.parse_args(argv))
    out, kept = options.pop("out"), []
    for kind in KINDS:
        measured, log = measure(kind, dataclasses.replace(plan, **options))
        kept += measured
        for row in measured:
            print(f"{row.value:10g} {row.unit:13} {row.claim}{'' if row.met in (None, True) else '  NOT MET'}")
        for complaint in log.wrong[:20]:
            print(complaint, file=sys.stderr)
    write(out, kept)
    return DONE if all(row.met is not False for row in kept) else REFUSED
