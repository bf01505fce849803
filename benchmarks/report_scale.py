"""Measures processor time and memory of whole reports of 10⁵ to 10⁶ trials: ``python -m benchmarks.report_scale``.

All have the same participants, source models and ε, so that all that differs is trials. Each report is a process of
its own with 2,000 draws; its peak memory is what the system says of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, Claim, versions
from benchmarks.claims import write as write_claims
from benchmarks.large_export import write
from core.errors import DONE, exit_code

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python -m benchmarks.report_scale"
TRIALS, PARTICIPANTS, SEED = (100_000, 300_000, 1_000_000), 500, 1
MEMORY_AIM = 2048.0  # MiB
RUN = (
    "import json, resource, sys; sys.path.insert(0, sys.argv[1]); from analysis import report; "
    "report.main(sys.argv[2:]); "
    "used = resource.getrusage(resource.RUSAGE_SELF); "
    "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))"
)


def measure(export: Path, out: Path) -> tuple[float, float]:
    """Returns the processor seconds and the peak MiB of one report; others' work on the machine does not count."""
    line = [sys.executable, "-c", RUN, str(ROOT), str(export), "--out", str(out)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    seconds, mebibytes = json.loads(done.stdout.splitlines()[-1])
    return float(seconds), float(mebibytes)


def claims(found: dict[int, tuple[float, float]]) -> list[Claim]:
    """Returns the measurements as claims."""
    fewer, some, most = TRIALS
    common: dict[str, Any] = {"n": 1, "seed": SEED, "command": COMMAND,
              "versions": versions("numpy", "scipy", "pandas", "pyarrow", "matplotlib")}  # fmt: skip
    of = f"trials of {PARTICIPANTS} participants, 3 source models, 6 ε, 2,000 draws"
    what = f"the whole report of {most:,} {of}"
    memory = found[most][1]
    return [
        Claim(claim=f"peak memory of {what}", value=memory, unit="MiB", aim=MEMORY_AIM,
              met=memory <= MEMORY_AIM, **common),
        Claim(claim=f"processor time of {what}", value=found[most][0], unit="s", **common),
        Claim(claim=f"processor time of the whole report of {some:,} {of}", value=found[some][0], unit="s", **common),
        Claim(
            claim="growth of the report's processor time with ten times the trials in the same cells",
            value=found[most][0] / found[fewer][0], unit="ratio", aim=10.0, met=found[most][0] < 10 * found[fewer][0],
            compared_with=f"the same report of {fewer:,} trials ({found[fewer][0]:.1f} s)", **common,
        ),
    ]  # fmt: skip


def main() -> int:
    """Measures and writes ``benchmarks/results/report_scale.json``; returns the exit code."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for trials in TRIALS:
            export = write(Path(folder) / f"{trials}", trials=trials, participants=PARTICIPANTS, seed=SEED)
            found[trials] = measure(export, Path(folder) / f"report-{trials}")
            print(f"{trials} trials: {found[trials][0]:.1f} s, {found[trials][1]:.0f} MiB")
    write_claims(RESULTS / "report_scale.json", claims(found))
    return DONE


if __name__ == "__main__":
    sys.exit(exit_code(lambda _argv: main()))
