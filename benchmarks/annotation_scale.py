"""Consensus and agreement of many annotations: memory that does not grow with the pictures, time against reading.

Makes annotation sets of 500 and of 5,000 pictures by 5 annotators in a temporary folder, seeded, and brings each
together in a process of its own. Writes ``benchmarks/results/annotation_scale.json``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import claims
from benchmarks.claims import Claim
from core import picture_sets, progress, rng
from core.annotations import consensus, sets
from core.annotations.sets import Annotation, Drawn
from core.errors import exit_code
from core.picture_sets import Picture, PictureSet

COMMAND = "python -m benchmarks.annotation_scale"
_SIDE, _ANNOTATORS, _SEED, _CLASSES = 224, 5, 1, 10
_FEW, _MANY = 500, 5000
_MOST_MEMORY_RATIO = 1.2  # the interpreter and its libraries alone take most of either


def main(argv: Sequence[str] | None = None) -> int:
    """Measures consensus and agreement of 5 annotators × 5,000 pictures of 224 pixels."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--out", type=Path, default=claims.RESULTS / "annotation_scale.json")
    parser.add_argument("--pictures", type=int, nargs=2, default=(_FEW, _MANY), metavar=("FEW", "MANY"))
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)  # the process that measures one set
    arguments = parser.parse_args(argv)
    if arguments.of is not None:
        print(json.dumps(_measure(arguments.of)))
        return 0
    measured = []
    for count in arguments.pictures:
        with tempfile.TemporaryDirectory(prefix="annotation-scale-") as folder:
            _make(Path(folder) / "set", count)
            measured.append(_in_a_process(Path(folder) / "set"))
    claims.write(arguments.out, _claims(tuple(arguments.pictures), measured))
    print(f"{arguments.out}: {json.dumps(measured)}")
    return 0


def _make(directory: Path, count: int) -> None:
    rows = tuple(
        Picture(
            source_id=f"train/class-{place % _CLASSES}/{place:05d}",
            source_class=f"class-{place % _CLASSES}",
            sha256=f"{place:064d}",
            width=_SIDE,
            height=_SIDE,
        )
        for place in range(count)
    )
    classes = tuple(f"class-{label}" for label in range(_CLASSES))
    shown = PictureSet(name="scale", classes=classes, sha256="", pictures=rows)
    with progress.bar(f"make {count} pictures", count, "pictures") as bar:
        sets.write(directory, shown, _drawn(rows, bar.update))


def _drawn(rows: Sequence[Picture], update: Any) -> Iterator[Drawn]:
    """Yields what five people paint: a blob at about one place, each with an edge, a size and a shift of its own."""
    for picture in rows:
        generator = rng.numpy_generator(_SEED, "scale", picture.source_id)
        centre = generator.uniform(70, 150, 2)
        for person in range(_ANNOTATORS):
            mask = _blob(centre + generator.normal(0, 6, 2), float(generator.uniform(30, 60)), generator)
            yield (
                Annotation(
                    annotation_id=f"{picture.source_id}/{person}",
                    source_id=picture.source_id,
                    source_class=picture.source_class,
                    annotator=f"person-{person}",
                    outcome="regions",
                    seconds=float(generator.uniform(5, 60)),
                ),
                mask,
            )
        update(1)


def _blob(centre: NDArray[np.float64], radius: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    y, x = np.mgrid[:_SIDE, :_SIDE] + 0.5
    angle, wobble = np.arctan2(y - centre[1], x - centre[0]), np.ones((_SIDE, _SIDE))
    for wave in (2, 3, 5, 9):
        wobble += generator.normal(0, 0.08) * np.cos(wave * angle + generator.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(x - centre[0], y - centre[1]) <= radius * wobble)


def _in_a_process(directory: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.annotation_scale", "--of", str(directory)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measure(directory: Path) -> dict[str, float]:
    """Returns seconds of reading before and after, seconds of the pass between, and the peak memory in MiB."""
    sizes = {
        picture.source_id: (picture.width, picture.height)
        for picture in picture_sets.rows(directory / "pictures.jsonl")
    }
    before = _reading(directory, sizes)
    began = time.perf_counter()
    consensus.make(directory, consensus.Settings())
    passed = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"before": before, "pass": passed, "after": _reading(directory, sizes), "peak_mib": peak}


def _reading(directory: Path, sizes: dict[str, tuple[int, int]]) -> float:
    """Returns the seconds that it takes to read and decode every mask."""
    began = time.perf_counter()
    for file in sorted((directory / "masks").rglob("*.png")):
        name = file.parent.relative_to(directory / "masks").as_posix()
        sets.decode_mask(file.read_bytes(), str(file), sizes[name])
    return time.perf_counter() - began


def _claims(counts: tuple[int, int], measured: Sequence[dict[str, float]]) -> list[Claim]:
    few, many = measured
    memory = many["peak_mib"] / few["peak_mib"]
    ratios = sorted((many["pass"] / many["before"], many["pass"] / many["after"]))
    shared: dict[str, Any] = {
        "n": _ANNOTATORS * counts[1], "seed": _SEED, "command": COMMAND, "versions": claims.versions("numpy", "pillow"),
    }  # fmt: skip
    what = f"{_ANNOTATORS} annotators × {counts[1]:,} pictures of {_SIDE} px"
    return [
        Claim(
            claim=f"peak memory of consensus and agreement of {what}", value=memory, unit="ratio",
            aim=_MOST_MEMORY_RATIO, met=memory <= _MOST_MEMORY_RATIO,
            compared_with=f"the same of {counts[0]:,} pictures, {few['peak_mib']:.0f} MiB", **shared,
        ),
        Claim(claim=f"peak memory of consensus and agreement of {what}", value=many["peak_mib"], unit="MiB", **shared),
        Claim(
            claim=f"time of consensus, agreement with 1,000 replicates and all files of {what}",
            value=2 * many["pass"] / (many["before"] + many["after"]), unit="ratio", spread=(ratios[0], ratios[1]),
            compared_with="reading and decoding the same mask files, before and after in the same process", **shared,
        ),
        Claim(claim=f"time of consensus, agreement and all files of {what}", value=many["pass"], unit="s", **shared),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(exit_code(main))
