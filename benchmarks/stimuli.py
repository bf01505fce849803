"""``python -m benchmarks.stimuli``: a set of 10,000 stimuli on the CPU: speed, and memory against a set of 2,000."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.claims import RESULTS, Claim, versions, write
from core.errors import MachineError, exit_code
from core.manifest import read_record

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m benchmarks.stimuli"
PER_CLASS = {2_000: 23, 10_000: 112}  # of 15 classes; a source has a reference and five stimuli
AIM_GROWTH = 1.1
RECIPE = """
seed = 1
[data]
source = "photographs"
size = 32
train_per_class = 40
test_per_class = 112
[network]
width = 8
[objective]
method = "standard"
[optimiser]
epochs = 6
batch_size = 64
lr = 0.2
"""
REQUEST = """
name = "many"
seed = 1
runs = ["{run}"]
sources_per_class = {per_class}
attacks = ["pgd-10"]
eps = [1, 2, 4, 8, 16]
batch_size = 32
"""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one process took: seconds, and its largest resident memory in MiB."""

    seconds: float
    mib: float


def main(argv: Sequence[str] | None = None) -> int:
    """Makes and verifies sets of 2,000 and of 10,000 stimuli, each in a process of its own; writes what they took."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "stimuli.json")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        run("core.train", str(folder / "recipe.toml"), "--run-dir", str(folder / "small"))
        made, proved = {}, {}
        for stimuli, per_class in PER_CLASS.items():
            made[stimuli] = make(folder, stimuli, per_class)
            proved[stimuli] = run("core.stimuli", "verify", str(folder / str(stimuli)))
        counts = {stimuli: read_record(folder / str(stimuli)).stimuli for stimuli in PER_CLASS}
    claims = [*rates(made, proved, counts), *growth("make and verify", made, counts), *growth("verify", proved, counts)]
    write(arguments.out, claims)
    for row in claims:
        print(f"{row.value:10.2f} {row.unit:10} {row.claim}")
    return 0


def make(folder: Path, stimuli: int, per_class: int) -> Work:
    """Makes a set by the command line, which verifies it before it is done."""
    request = folder / f"{stimuli}.toml"
    request.write_text(REQUEST.format(run=folder / "small", per_class=per_class), encoding="utf-8")
    return run("core.stimuli", str(request), "--out", str(folder / str(stimuli)))


def run(module: str, *words: str) -> Work:
    """Runs a command in a process of its own, on one thread."""
    started = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise MachineError(f"{module} {' '.join(words)}: expected exit code 0, got {process.returncode}; run it to see")
    return Work(seconds=time.monotonic() - started, mib=usage.ru_maxrss / 1024)


def rates(made: dict[int, Work], proved: dict[int, Work], counts: dict[int, int]) -> list[Claim]:
    """Returns how many stimuli of the larger set are made and verified in a second, start of the program included."""
    most = max(counts)
    words = f"set of {counts[most]:,} (32×32 pixels, PGD-10, one model of 8 channels, one thread)"
    return [
        claim(f"stimuli made and verified a second, {words}", counts[most] / made[most].seconds, "1/s", counts[most]),
        claim(f"stimuli verified a second, {words}", counts[most] / proved[most].seconds, "1/s", counts[most]),
        claim(f"time to make and verify a {words}", made[most].seconds, "s", counts[most]),
    ]


def growth(job: str, work: dict[int, Work], counts: dict[int, int]) -> list[Claim]:
    """Returns the largest resident memory of each set's process, and the ratio of the larger set's to the smaller's."""
    least, most = min(counts), max(counts)
    ratio = work[most].mib / work[least].mib
    between = f"{job} {counts[least]:,} stimuli, same run and data"
    return [
        claim(f"largest resident memory, {job} {counts[size]:,} stimuli", work[size].mib, "MiB", counts[size])
        for size in (least, most)
    ] + [
        claim(
            f"growth of the largest resident memory, {job} {counts[most]:,} stimuli",
            ratio,
            "ratio",
            counts[most],
            aim=AIM_GROWTH,
            met=ratio <= AIM_GROWTH,
            compared_with=between,
        )
    ]


def claim(
    words: str,
    value: float,
    unit: str,
    n: int,
    *,
    aim: float | None = None,
    met: bool | None = None,
    compared_with: str | None = None,
) -> Claim:
    """Returns a claim about stimulus sets."""
    return Claim(
        claim=words,
        value=round(value, 4),
        unit=unit,
        aim=aim,
        met=met,
        compared_with=compared_with,
        n=n,
        seed=1,
        command=COMMAND,
        versions=versions("torch", "numpy", "scikit-image"),
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
