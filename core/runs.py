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
from core.evaluation_settings import EvaluationSettings

SCHEMA_VERSION = 1
EVALUATION_VERSION = 2
OUTCOME_COLUMNS = (
    "source_id",
    "source_class",
    "attack",
    "norm",
    "region",
    "access",
    "source",
    "eps",
    "prediction",
    "margin",
    "fooled",
    "fooled_by",
)
WORST_CASE = "worst-case"
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

    Attributes:
        attack: its name; ``"none"`` at ε = 0; ``"worst-case"``: a picture counts as right if it stands every attack on
            the run itself with this norm, region and ε.
        norm: ``"linf"``: ``eps`` is in grey levels; ``"l2"``: in [0, 1] units; ``"flow"``: in pixels.
        region: where pictures may change.
        access: ``"full"``: gradients of the run itself; of randomised runs also ``"fixed"``, ``"bpda"``, ``"bare"``;
            ``"transfer"``: the pictures were made against another run.
        source: name of the run that the pictures were made against; its own name: white box.
        eps: size of the budget.
        pictures: how many.
        correct: how many stay right.
        accuracy: the share.
        low: lower end of the 95 % Wilson interval; ``high``: its upper end.
        disagreement: of attacks in bfloat16, the share of pictures whose predictions in bfloat16 and float32 differ.
    """

    attack: str
    norm: str
    region: str
    access: str
    source: str
    eps: float
    pictures: int
    correct: int
    accuracy: float
    low: float
    high: float
    disagreement: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A reason not to trust an evaluation: ``code`` is one of those in docs/evaluation.md."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class MinimalEps:
    """The least whole ε that fools: ``levels[k]`` pictures need k grey levels (0: wrong unattacked).

    The last entry counts those that no level up to ``highest`` fools.
    """

    attack: str
    region: str
    access: str
    highest: int
    levels: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """``evaluation.json``: the robustness card of one run, on its test pictures, judged in float32.

    That of the best weights, where an epoch was selected, is ``evaluation-best.json``.

    Attributes:
        settings: all that decided it, so that it can be computed again.
        randomised: whether the run draws random numbers; its verdict is then the vote of ``settings.votes`` draws.
        maps: what the maps of regions were made of, and the threshold; ``None`` without regions.
        warnings: what speaks against trusting the numbers.
        curve: accuracy at each attack × norm × region × access × source × ε; clean accuracy first.
    """

    schema_version: int
    run: str
    method: str
    weights_sha256: str
    dataset_fingerprint: str
    seconds: float
    device: str
    versions: dict[str, str]
    settings: EvaluationSettings
    randomised: bool
    curve: tuple[Accuracy, ...]
    maps: dict[str, Any] | None = None
    warnings: tuple[Finding, ...] = ()
    minimal: tuple[MinimalEps, ...] = ()


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
    hint = f"train it with python -m core.train CONFIG --run-dir {run}"
    return _read(RunRecord, run / "record.json", hint, SCHEMA_VERSION)


def read_evaluation(path: Path) -> Evaluation:
    """Returns an ``evaluation.json``; ``path`` may be the file or its run directory."""
    path = path / "evaluation.json" if path.is_dir() else path
    return _read(Evaluation, path, "make it with python -m core.evaluate RUN", EVALUATION_VERSION)


def _read(kind: type[Record], path: Path, hint: str, expected: int) -> Record:
    table = files.read_json(path, RunError, hint)
    if (version := table.get("schema_version")) != expected:
        raise RunError(f"{path}: expected schema version {expected}, got {version}; {hint}")
    try:
        return config.build(kind, table, str(path))
    except ConfigError as error:
        raise RunError(str(error)) from None
