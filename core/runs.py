"""Run directories: what one training left behind, and what was measured of it. Torch-free.

``runs/<run>/`` holds ``config.toml`` (resolved), ``record.json``, ``metrics.jsonl`` (a line an epoch),
``weights.safetensors`` (written last: a run with it is finished), ``last/`` (what a resume needs), and, once evaluated,
``evaluation.json`` and ``outcomes.parquet``. See docs/contracts.md.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from core import config, files
from core.errors import ConfigError, RunError

SCHEMA_VERSION = 1
OUTCOME_COLUMNS = ("source_id", "source_class", "attack", "region", "eps", "prediction", "margin", "fooled")
Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """``record.json``: where a run came from.

    Attributes:
        method: training method, such as ``"pgd-at"``.
        seconds: wall time of the training, over all its parts if it was resumed.
        dataset: name of the data source.
        dataset_fingerprint: SHA-256 over the ids, labels and pixels of the training and test pictures.
        salience: what salience maps the run used, if any: the source, and the share of pixels above the threshold.
        initial_weights_sha256: of the file that the network's weights began with, if there was one.
        best_epoch: epoch with the best held-out robust accuracy, whose weights are ``best.safetensors``; ``None``
            without selection.
        best_robust: that accuracy.
        processes: how many shared the training.
    """

    schema_version: int
    run: str
    method: str
    classes: tuple[str, ...]
    height: int
    width: int
    dataset: str
    dataset_fingerprint: str
    train_pictures: int
    salience: dict[str, Any]
    seed: int
    epochs: int
    seconds: float
    commit: str
    dirty: bool
    device: str
    threads: int
    versions: dict[str, str]
    initial_weights_sha256: str | None = None
    best_epoch: int | None = None
    best_robust: float | None = None
    processes: int = 1


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of a run at one ε: ``correct`` of ``pictures`` stay right under the attack; ε = 0 is clean accuracy.

    ``low`` and ``high`` bound the 95 % Wilson interval. ``eps`` is in grey levels.
    """

    attack: str
    region: str
    eps: float
    pictures: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """``evaluation.json``: the robustness card of one run, on its test pictures, judged in float32.

    That of the best weights, where an epoch was selected, is ``evaluation-best.json``.
    """

    schema_version: int
    run: str
    method: str
    weights_sha256: str
    dataset_fingerprint: str
    seed: int
    seconds: float
    curve: tuple[Accuracy, ...]


Weights = Literal["last", "best"]  # after the last epoch (averaged, if the run averages), or after the selected one
_FILES: dict[Weights, str] = {"last": "weights.safetensors", "best": "best.safetensors"}


def finished(run: Path) -> bool:
    """Whether the training of ``run`` was completed."""
    return (run / "weights.safetensors").is_file()


def weights_path(run: Path, weights: Weights = "last") -> Path:
    """Returns the path of the weights of a finished run.

    Raises:
        RunError: the directory or its weights are absent, or no best weights were selected.
    """
    if not run.is_dir():
        raise RunError(f"{run}: no such run directory; train it with python -m core.train CONFIG --run-dir {run}")
    path = run / "weights.safetensors"
    if not path.is_file():
        raise RunError(
            f"{run}: expected weights.safetensors, found none; the training was not finished: "
            f"run python -m core.train CONFIG --run-dir {run} --resume and it goes on from where it was"
        )
    if weights == "best" and not (run / _FILES[weights]).is_file():
        raise RunError(f"{run}: expected best.safetensors, found none; train with a [selection] table to have it")
    return run / _FILES[weights]


def write_record(path: Path, record: Any) -> None:
    """Writes a record dataclass as JSON, atomically."""
    files.write_json(path, dataclasses.asdict(record))


def read_run(run: Path) -> RunRecord:
    """Returns ``record.json`` of a run."""
    return _read(RunRecord, run / "record.json", f"train it with python -m core.train CONFIG --run-dir {run}")


def read_evaluation(path: Path) -> Evaluation:
    """Returns an ``evaluation.json``; ``path`` may be the file or its run directory."""
    path = path / "evaluation.json" if path.is_dir() else path
    return _read(Evaluation, path, "make it with python -m core.evaluate RUN")


def _read(kind: type[Record], path: Path, hint: str) -> Record:
    table = files.read_json(path, RunError, hint)
    if (version := table.get("schema_version")) != SCHEMA_VERSION:
        raise RunError(f"{path}: expected schema version {SCHEMA_VERSION}, got {version}; {hint}")
    try:
        return config.build(kind, table, str(path))
    except ConfigError as error:
        raise RunError(str(error)) from None
