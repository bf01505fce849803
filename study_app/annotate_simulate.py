"""Robot annotators that draw through the HTTP interface as browsers do: ``python -m study_app.annotate_simulate``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import click
from tqdm import tqdm

from core import picture_sets
from core.annotations import sets
from core.annotations.raster import Mask
from core.errors import DONE, DataError, exit_code
from study_app.robots import Memory
from study_app.robots.annotators import Annotator, Done, Task
from study_app.robots.blobs import Sloppiness
from study_app.simulate import positive


def simulate(
    task: Task, *, annotators: int, workers: int, memory: Memory, on_picture: Callable[[], object] = lambda: None
) -> Done:
    """Lets robots 0 … ``annotators`` − 1 draw, ``workers`` at a time, until nothing is left; returns what they did.

    Raises:
        PercepsilonError: what stopped the first robot that could not finish.
    """
    robots = [Annotator(task, number, memory) for number in range(annotators)]
    for robot in robots:
        robot.enrol()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(robot.take_part, on_picture) for robot in robots]
        try:
            done = [each.result() for each in as_completed(running)]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Done(sum(each.pictures for each in done), sum(each.strokes for each in done))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    options = _parser().parse_args(argv)
    chances = {name: value for name in ("none", "skip") if (value := getattr(options, name)) is not None}
    sloppiness = dataclasses.replace(Sloppiness().times(options.sloppiness), **chances)
    masks = read_masks(options.pictures, options.masks) if options.masks else {}
    task = Task(url=options.url.rstrip("/"), sloppiness=sloppiness, seed=options.seed, wait_s=options.wait, masks=masks)
    started = time.monotonic()
    with tqdm(desc="robots", unit="picture") as bar:
        done = simulate(
            task, annotators=options.annotators, workers=options.workers, memory=Memory(options.state),
            on_picture=bar.update,
        )  # fmt: skip
    seconds = time.monotonic() - started
    click.echo(f"{options.annotators} robots: {done.pictures} pictures, {done.strokes} strokes in {seconds:.1f} s")
    return DONE


def read_masks(shown: Path | None, masks: Path) -> dict[str, Mask]:
    """Returns the masks ``<source_id>.png`` of a folder by the SHA-256 of their picture's file.

    Raises:
        DataError: no picture set is named, or a mask does not fit its picture.
    """
    if shown is None:
        raise DataError("--masks: expected the picture set too, by --pictures: its manifest names the pictures")
    found = {}
    for picture in picture_sets.read(shown).pictures:
        path = masks / f"{picture.source_id}.png"
        if path.is_file():
            size = (picture.width, picture.height)
            found[picture.sha256] = sets.decode_mask(path.read_bytes(), str(path), size)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study_app.annotate_simulate", description="Let robot annotators paint."
    )
    parser.add_argument("--url", required=True, help="address of the study, such as http://127.0.0.1:8000")
    parser.add_argument("--annotators", type=positive, required=True, help="how many robots")
    parser.add_argument("--pictures", type=Path, metavar="SETDIR", help="the picture set, needed with --masks")
    parser.add_argument(
        "--masks", type=Path, metavar="DIR", help="what they take for salient; without it a blob of high contrast"
    )
    parser.add_argument(
        "--sloppiness", type=_not_negative, default=1.0, metavar="FACTOR",
        help="of how far they are off; 0: as well as they can (1)",
    )  # fmt: skip
    parser.add_argument("--none", type=_not_negative, metavar="SHARE", help="of pictures with nothing, they say")
    parser.add_argument("--skip", type=_not_negative, metavar="SHARE", help="of pictures that they skip")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="patience with a silent server (30)"
    )
    parser.add_argument("--workers", type=positive, default=4, help="robots at a time (4)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="remember the robots here; a rerun goes on from it")
    return parser


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(exit_code(main))
