"""``python -m benchmarks.demo``: measures the demo (seconds of each step, memory, sizes) into results/demo.json."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import RESULTS, Claim, versions, write
from core.errors import MachineError, exit_code

ROOT = Path(__file__).resolve().parents[1]
STEPS = {
    "demo-annotate": "3 robots paint 120 pictures, consensus",
    "demo-train": "train four classifiers, one on what the robots painted",
    "demo-evaluate": "evaluate them on the ε ladder",
    "demo-stimuli": "make and verify the stimulus set",
    "demo-study": "48 robots take the study, export",
    "demo-report": "write the report",
}
AIM_SECONDS, AIM_GIB = 180.0, 4.0
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo's steps in an empty directory, one after the other, and writes what they took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "demo.json")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        seconds = {step: run(step, Path(folder)) for step in STEPS}
        claims = [*times(seconds), memory(), *sizes(Path(folder)), *outcomes(Path(folder))]
    write(arguments.out, claims)
    for row in claims:
        print(f"{row.value:10.2f} {row.unit:8} {row.claim}")
    return 0


def run(step: str, work: Path) -> float:
    """Runs one step of the demo by make; returns its seconds."""
    started = time.monotonic()
    done = subprocess.run(["make", step, f"WORK={work}"], cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise MachineError(f"make {step}: expected exit code 0, got {done.returncode}; run make demo to see why")
    return time.monotonic() - started


def claim(
    words: str, value: float, unit: str, *, n: int = 1, aim: float | None = None, met: bool | None = None
) -> Claim:
    """Returns a claim about the demo."""
    return Claim(
        claim=words,
        value=round(value, 4),
        unit=unit,
        aim=aim,
        met=met,
        n=n,
        seed=1,
        command="python -m benchmarks.demo",
        versions=versions("torch", "flask", "scipy"),
    )


def times(seconds: dict[str, float]) -> list[Claim]:
    """Returns the seconds of each step and of all, after installation."""
    steps = [claim(f"time to {words}", seconds[step], "s") for step, words in STEPS.items()]
    total = sum(seconds.values())
    return [claim("the demo's job after installation", total, "s", aim=AIM_SECONDS, met=total <= AIM_SECONDS), *steps]


def memory() -> Claim:
    """Returns the largest resident memory of any one process of the demo."""
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 2**30
    return claim("largest resident memory of one process", gib, "GiB", aim=AIM_GIB, met=gib <= AIM_GIB)


def sizes(work: Path) -> list[Claim]:
    """Returns the sizes of what the demo leaves."""
    names = {"runs": "three runs", "stimuli": "stimulus set", "export": "export", "report": "report"}
    found = {name: sum(file.stat().st_size for file in (work / name).rglob("*") if file.is_file()) for name in names}
    return [claim(f"size of the {words}", found[name] / MIB, "MiB") for name, words in names.items()]


def outcomes(work: Path) -> list[Claim]:
    """Returns the accuracies at ε = 0 and ε = 8 of each run."""
    found = []
    for run_name in ("standard", "pgd-at", "sip-at"):
        card = json.loads((work / "runs" / run_name / "evaluation.json").read_text(encoding="utf-8"))
        for point in card["curve"]:
            if point["eps"] in {0, 8}:
                words = f"accuracy of {run_name} at ε = {point['eps']:g} (embedded photographs, {point['attack']})"
                found.append(claim(words, point["accuracy"], "share", n=point["pictures"]))
    return found


if __name__ == "__main__":
    sys.exit(exit_code(main))
