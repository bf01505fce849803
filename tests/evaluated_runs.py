"""Tiny real runs to evaluate, and the command that does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from core import train

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
seed = 5
[data]
source = "photographs"
size = 24
train_per_class = 20
test_per_class = 3
[network]
width = 4
[objective]
{objective}
[optimiser]
epochs = 3
batch_size = 32
lr = 0.1
{rest}
"""
ATTACK = 'attack = { eps = "8/255", steps = 2, step_size = "4/255" }'
SALIENCE = '[salience]\nsource = "spectral-residual"\nscale = "rank"'
OBJECTIVES = {
    "standard": ('method = "standard"', ""),
    "pgd-at": (f'method = "pgd-at"\n{ATTACK}', ""),
    "sip-at": (f'method = "sip-at"\nthreshold = 0.75\n{ATTACK}', SALIENCE),
}
PICTURES = 45
QUICK = ["--eps", "4", "16", "--attacks", "pgd-3"]


def fit(folder, name, objective, rest=""):
    path = folder / f"{name}.toml"
    path.write_text(RECIPE.format(objective=objective, rest=rest))
    assert train.main([str(path), "--run-dir", str(folder / name)]) == 0
    return folder / name


def command(*words):
    line = [sys.executable, "-m", "core.evaluate", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def copied(run, folder):
    left_out = shutil.ignore_patterns("evaluation*", "outcomes*", "minimal*")
    return Path(shutil.copytree(run, folder / run.name, ignore=left_out))


def train_all(folder):
    """Returns a finished run of each objective, by name."""
    return {name: fit(folder, name, *words) for name, words in OBJECTIVES.items()}
