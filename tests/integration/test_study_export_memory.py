"""The memory of an export does not grow with the number of trials."""

from __future__ import annotations

import subprocess
import sys

import pytest

from study_app.settings import ROOT
from tests.filled_study import fill

MEASURE = """
import sys
from pathlib import Path
from study_app import export
from study_app.database import Database
database = Database(sys.argv[1])
with database.reading() as reader:
    counts = export.export(reader, Path(sys.argv[2]))
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(counts["trials"], peak)
"""


def peak_of_export(url, directory) -> tuple[int, float]:
    """Trials written, and the largest resident memory of the process that did it, MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, url, str(directory)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    trials, peak = done.stdout.split()
    return int(trials), int(peak) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_times_the_trials_take_no_more_memory(study_url, tmp_path):
    """Room for noise: 16 MiB. The 90,000 trials more are 30 MiB as text alone, several times as much as objects."""
    fill(study_url, sessions=100, trials=100)
    few, small = peak_of_export(study_url, tmp_path / "few")
    fill(study_url, sessions=900, trials=100)
    many, large = peak_of_export(study_url, tmp_path / "many")
    assert (few, many) == (10_000, 100_000)
    assert (tmp_path / "many" / "data" / "table-trials_data.csv").stat().st_size > 30 * 2**20
    assert large - small < 16
