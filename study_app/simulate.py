"""Robot participants that go through the study's HTTP interface as a browser does: ``python -m study_app.simulate``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, get_args

import click
from tqdm import tqdm

from core import manifest
from core.errors import DONE, StudyError, exit_code
from study_app import observers
from study_app.detection import Platform
from study_app.robots import Memory, Robot, Task


class Tally(NamedTuple):
    """What a simulation did: answers given now, and how many robots ended how."""

    answers: int
    endings: Counter[str]


def simulate(task: Task, *, participants: int, workers: int, memory: Memory) -> Tally:
    """Lets robots 0 … ``participants`` − 1 take part, ``workers`` at a time; returns what they did.

    They enrol one after the other, so that each gets the same plan in every simulation of a new study.

    Raises:
        PercepsilonError: what stopped the first robot that could not finish.
    """
    answers, robots = 0, [Robot(task, number, memory) for number in range(participants)]
    for robot in robots:
        robot.enrol()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(robot.take_part) for robot in robots]
        try:
            for done in tqdm(as_completed(running), total=participants, desc="robots", unit="robot"):
                answers += done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Tally(answers, Counter(robot.ending for robot in robots if robot.ending is not None))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    options = _parser().parse_args(argv)
    law = observers.load(options.observers)
    law = law if options.seed is None else dataclasses.replace(law, seed=options.seed)
    stimuli = manifest.read_set(options.manifest)
    for run in stimuli.record.runs:
        law.visibility(run)
    task = Task(
        url=options.url.rstrip("/"), law=law, shown=stimuli.by_hash(), wait_s=options.wait, platform=options.platform,
        links=_links(options.links, options.participants) if options.platform == "link" else (),
    )  # fmt: skip
    started = time.monotonic()
    tally = simulate(task, participants=options.participants, workers=options.workers, memory=Memory(options.state))
    seconds = time.monotonic() - started
    ends = ", ".join(f"{count} robots {ending}" for ending, count in sorted(tally.endings.items()))
    click.echo(f"{ends}; {tally.answers} answers in {seconds:.1f} s ({tally.answers / max(seconds, 1e-9):.0f}/s)")
    return DONE


def _links(path: Path | None, participants: int) -> tuple[str, ...]:
    """Returns the tokens of the one-time links in a file, one a line; whole addresses will do."""
    lines = path.read_text(encoding="utf-8").split() if path is not None and path.is_file() else []
    if len(lines) < participants:
        raise StudyError(
            f"--links: expected a file with a link for each of the {participants} robots, found {len(lines)}; make more"
        )
    return tuple(line.rpartition("=")[2] for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study_app.simulate", description="Let robot participants take part."
    )
    parser.add_argument("--url", required=True, help="address of the study, such as http://127.0.0.1:8000")
    parser.add_argument("--participants", type=positive, required=True, help="how many robots")
    parser.add_argument("--observers", type=Path, required=True, metavar="FILE", help="the law that they obey (TOML)")
    parser.add_argument("--manifest", type=Path, required=True, metavar="SETDIR", help="the stimulus set of the study")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="patience with a silent server (30)"
    )
    parser.add_argument("--workers", type=positive, default=4, help="robots at a time (4)")
    parser.add_argument(
        "--platform",
        choices=get_args(Platform),
        default="open",
        help="where they come from, with ids of their own (open)",
    )
    parser.add_argument("--links", type=Path, metavar="FILE", help="one-time links for --platform link, one a line")
    parser.add_argument("--state", type=Path, metavar="FILE", help="remember the robots here; a rerun goes on from it")
    parser.add_argument("--seed", type=int, help="in place of the seed in the observers' file")
    return parser


def positive(text: str) -> int:
    """Returns the whole number of at least 1 in an option's text."""
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(exit_code(main))
