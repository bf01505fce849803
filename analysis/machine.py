"""The machines' side: evaluations of the source models, matched to the export by the name of the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from analysis.intervals import wilson
from core import config, files
from core.errors import RunError
from core.runs import OUTCOME_COLUMNS, Accuracy, Evaluation, read_evaluation, read_run


def evaluation_file(path: Path) -> Path:
    """Returns the file that an argument of ``--evaluations`` means: itself, or that of a run directory."""
    return path / "evaluation.json" if path.is_dir() else path


def read_evaluations(paths: list[Path]) -> dict[str, Evaluation]:
    """Returns evaluations by the name of their run.

    Raises:
        RunError: a file is absent or of another schema, or two are of one run.
    """
    evaluations: dict[str, Evaluation] = {}
    for path in paths:
        evaluation = read_evaluation(path)
        if evaluation.run in evaluations:
            raise RunError(
                f"{path}: expected one evaluation a run, got a second of {evaluation.run!r}; give one of them"
            )
        evaluations[evaluation.run] = evaluation
    return evaluations


def record_file(path: Path) -> Path | None:
    """Returns the ``record.json`` of the run that an argument of ``--evaluations`` lies in, if there is one."""
    record = evaluation_file(path).with_name("record.json")
    return record if record.is_file() else None


def outcomes_file(path: Path) -> Path | None:
    """Returns the ``outcomes.parquet`` that lies beside the evaluation of an argument, if there is one."""
    outcomes = evaluation_file(path).with_name("outcomes.parquet")
    return outcomes if outcomes.is_file() else None


def read_outcomes(paths: Sequence[Path]) -> dict[str, pd.DataFrame]:
    """Returns the rows of ``outcomes.parquet`` by run, of those that have the file; text columns are categorical.

    Raises:
        RunError: a file is no such table, or lacks a column.
    """
    found = {}
    for path in paths:
        if (file := outcomes_file(path)) is not None:
            found[read_evaluation(path).run] = _outcomes(file)
    return found


def _outcomes(file: Path) -> pd.DataFrame:
    try:
        names = pa.parquet.read_schema(file).names
        if missing := [column for column in OUTCOME_COLUMNS if column not in names]:
            raise RunError(f"{file}: missing column {missing[0]!r}; make it again with python -m core.evaluate RUN")
        table = pa.parquet.read_table(file, columns=list(OUTCOME_COLUMNS))
    except pa.ArrowInvalid as problem:
        raise RunError(
            f"{file}: expected a Parquet table, got: {problem}; make it again with python -m core.evaluate RUN"
        ) from None
    frame: pd.DataFrame = table.to_pandas()
    texts = [column for column in ("attack", "norm", "region", "access", "source") if column in frame]
    return frame.astype(dict.fromkeys(texts, "category"))


def read_training(paths: list[Path]) -> dict[str, dict[str, Any]]:
    """Returns what is known of each run's training, by its name: data, pictures, epochs, seed, recipe.

    ``recipe_sha256`` is of the resolved settings without the seed: runs that share it differ in nothing else.
    """
    directories = [file.parent for file in map(record_file, paths) if file is not None]
    records = {directory: read_run(directory) for directory in directories}
    return {
        record.run: {
            "dataset": record.dataset, "classes": len(record.classes), "height": record.height, "width": record.width,
            "train_pictures": record.train_pictures, "epochs": record.epochs, "seed": record.seed,
            "recipe_sha256": _recipe(directory),
        }
        for directory, record in records.items()
    }  # fmt: skip


def _recipe(run: Path) -> str | None:
    path = run / "config.toml"
    if not path.is_file():
        return None
    settings = {key: value for key, value in config.read_toml(path).items() if key != "seed"}
    return files.sha256_bytes(json.dumps(settings, sort_keys=True).encode())


def comparable(row: Accuracy, run: str) -> bool:
    """Returns whether a point lies on the people's axis: L∞ in grey levels, on pictures made against the run itself."""
    return row.norm == "linf" and row.source == run


def accuracy_row(row: Accuracy) -> dict[str, Any]:
    """Returns one point of a robustness curve with its Wilson interval, computed again from the counts."""
    attack = row.attack if row.access == "full" else f"{row.attack} ({row.access})"
    low, high = wilson(np.array(float(row.correct)), np.array(float(row.pictures)))
    return {
        "attack": attack, "region": row.region, "eps": row.eps, "pictures": row.pictures, "correct": row.correct,
        "accuracy": row.correct / row.pictures, "low": float(low), "high": float(high),
    }  # fmt: skip


def machine_results(evaluation: Evaluation, training: dict[str, Any] | None) -> dict[str, Any]:
    """Returns clean and robust accuracy of a run, by attack, region and ε, as in results.json.

    Raises:
        RunError: a point rests on no picture, or there is none at ε = 0.
    """
    if any(row.pictures < 1 or not 0 <= row.correct <= row.pictures for row in evaluation.curve):
        raise RunError(
            f"evaluation of {evaluation.run!r}: expected counts with 0 <= correct <= pictures and pictures > 0"
        )
    kept = [row for row in evaluation.curve if comparable(row, evaluation.run)]
    rows = sorted(map(accuracy_row, kept), key=lambda row: (row["attack"], row["region"], row["eps"]))
    clean = [row for row in rows if row["eps"] == 0]
    if not clean:
        raise RunError(f"evaluation of {evaluation.run!r}: expected a point at ε = 0 (clean accuracy), found none")
    return {
        "run": evaluation.run,
        "method": evaluation.method,
        "pictures": max(row["pictures"] for row in rows),
        "clean_accuracy": {key: clean[0][key] for key in ("pictures", "correct", "accuracy", "low", "high")},
        "robust_accuracy": [row for row in rows if row["eps"] > 0],
        "training": training,
        "dataset_fingerprint": evaluation.dataset_fingerprint,
        "weights_sha256": evaluation.weights_sha256,
    }
