"""Writes an export of any number of trials, as docs/contracts.md has it, answered by observers of one law.

``python -m benchmarks.large_export DIR --trials 1000000``; ``benchmarks.report_scale`` measures the report on it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from core import rng
from core.errors import DONE, exit_code
from core.manifest import SCHEMA_VERSION, SetRecord, Stimulus, seal
from study_app.export.columns import TABLES, schema

EPS = (1, 2, 4, 8, 16, 32)
LAWS = {"pgd-at": (5.0, 1.2), "sip-at": (3.0, 1.5), "standard": (9.0, 1.3)}  # ε at d′ = 1, exponent
FOOLS = {"pgd-at": 9.0, "sip-at": 7.0, "standard": 2.0}  # median ε that fools
CRITERION, PICTURES, GROUP = 0.7, 60, 5000
Column = NDArray[Any]


def write(directory: Path, *, trials: int, participants: int, seed: int = 1, packed: bool = True) -> Path:
    """Writes an export of ``trials`` main trials, half of them unperturbed; returns its directory.

    Args:
        directory: new.
        trials: rounded down to a multiple of the participants.
        participants: each answers as many.
        seed: of everything that is drawn.
        packed: write the Parquet file beside the CSV.
    """
    (directory / "data").mkdir(parents=True)
    table = _trials(trials // participants, participants, seed)
    _write(directory / "data/table-trials_data", table, packed=packed)
    _participants(directory / "data/table-participants_data.csv", participants)
    _manifest(directory / "stimuli/large")
    (directory / "protocol.toml").write_text('title = "large"\n', encoding="utf-8")
    return directory


def _trials(each: int, participants: int, seed: int) -> pa.Table:
    generator, n = rng.numpy_generator(seed, "large export"), each * participants
    person, place = np.repeat(np.arange(participants), each), np.tile(np.arange(each), participants)
    model = np.where(generator.random(n) < 0.5, generator.integers(1, 1 + len(LAWS), n), 0)
    level, picture = generator.integers(0, len(EPS), n), generator.integers(0, PICTURES, n)
    eps = np.where(model > 0, np.array(EPS)[level], 0)
    laws = np.array([(1.0, 1.0), *LAWS.values()])
    evidence = np.where(model > 0, (eps / laws[model, 0]) ** laws[model, 1], 0.0)
    yes = generator.normal(evidence, 1.0) > CRITERION
    runs = np.array(["", *LAWS], dtype=object)
    values = {
        "session_id": _names("s", participants)[person], "participant_id": _names("p", participants)[person],
        "trial_index": place, "position": place, "stimulus_id": _stimulus_ids()[picture, model, level],
        "source_id": _sources()[picture], "run": runs[model], "method": runs[model], "eps_asked": eps,
        "eps_measured": eps, "signal": model > 0, "response": np.array(["no", "yes"], dtype=object)[yes.astype(int)],
        "correct": yes == (model > 0), "rt_ms": generator.normal(450, 60, n) + generator.exponential(180, n),
        "client_uuid": np.array([f"{index:032x}" for index in range(n)], dtype=object),
    }  # fmt: skip
    fixed = {"protocol_hash": "ab" * 32, "task": "yes-no", "phase": "main", "region": "full", "input_type": "robot"}
    shape = schema(TABLES["trials"])
    columns = [_column(field, values, fixed, n) for field in shape]
    return pa.table(columns, schema=shape)


def _column(field: Any, values: dict[str, Column], fixed: dict[str, str], n: int) -> Any:
    if field.name in values:
        return pa.array(
            np.maximum(values[field.name], 200) if field.name == "rt_ms" else values[field.name], field.type
        )
    return pa.array([fixed[field.name]] * n, field.type) if field.name in fixed else pa.nulls(n, field.type)


def _names(letter: str, count: int) -> Column:
    return np.array([f"{letter}{index:06d}" for index in range(count)], dtype=object)


def _sources() -> Column:
    return np.array([f"test/photograph/{index:03d}" for index in range(PICTURES)], dtype=object)


def _stimulus_ids() -> Column:
    """Names by picture, model (0: reference) and level, [I, M + 1, K]."""
    ids = np.empty((PICTURES, 1 + len(LAWS), len(EPS)), dtype=object)
    for picture, source in enumerate(_sources()):
        ids[picture, 0, :] = f"{source}/reference"
        for model, run in enumerate(LAWS, start=1):
            ids[picture, model, :] = [f"{source}/{run}/pgd-20/full/{eps}" for eps in EPS]
    return ids


def _write(stem: Path, table: pa.Table, *, packed: bool) -> None:
    pa.csv.write_csv(table, stem.with_name(f"{stem.name}.csv"), pa.csv.WriteOptions(quoting_style="needed"))
    if packed:
        pa.parquet.write_table(table, stem.with_name(f"{stem.name}.parquet"), row_group_size=GROUP)


def _participants(path: Path, participants: int) -> None:
    names = [column.name for column in TABLES["participants"]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names, restval="")
        writer.writeheader()
        people, sessions = _names("p", participants), _names("s", participants)
        for person, session in zip(people, sessions, strict=True):
            writer.writerow({"participant_id": person, "session_id": session, "protocol_hash": "ab" * 32,
                             "status": "finished", "robot": "true"})  # fmt: skip


def _manifest(directory: Path) -> None:
    directory.mkdir(parents=True)
    cells = [(None, 0), *((run, eps) for run in LAWS for eps in EPS)]
    stimuli = [_stimulus(picture, run, eps) for picture in range(PICTURES) for run, eps in cells]
    record = SetRecord(
        schema_version=SCHEMA_VERSION, name=directory.name, seed=1, eps=(0, *EPS), runs=tuple(LAWS),
        attacks=("pgd-20",), sources=PICTURES, stimuli=0, manifest_sha256="",
    )  # fmt: skip
    seal(directory, stimuli, record)


def _stimulus(picture: int, run: str | None, eps: int) -> Stimulus:
    source = str(_sources()[picture])
    octaves = None if run is None else np.log2(FOOLS[run] / eps) + 3 * ((37 * picture) % PICTURES / PICTURES - 0.5)
    return Stimulus(
        stimulus_id=f"{source}/reference" if run is None else f"{source}/{run}/pgd-20/full/{eps}", source_id=source,
        source_class="photograph", run=run, method=run, attack=None if run is None else "pgd-20", norm="linf",
        region="full", eps_asked=eps, eps_measured=eps, prediction_before=None if run is None else "photograph",
        prediction_after=None if octaves is None else ("photograph" if octaves > 0 else "drawing"),
        fooled=None if octaves is None else bool(octaves <= 0), margin=None if octaves is None else float(octaves),
        l2=0.0, ssim=1.0, mask_area=float(run is not None), seed=1, sha256=f"{picture:064x}", width=48, height=48,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Writes an export; returns the exit code."""
    parser = argparse.ArgumentParser(prog="large_export", description="Write an export of many trials.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="new")
    parser.add_argument("--trials", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument("--participants", type=int, default=500, metavar="P", help="default: 500")
    arguments = parser.parse_args(argv)
    print(write(arguments.directory, trials=arguments.trials, participants=arguments.participants))
    return DONE


if __name__ == "__main__":
    sys.exit(exit_code(main))
