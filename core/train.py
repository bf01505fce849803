"""``python -m core.train RECIPE --run-dir DIR``: trains a classifier, reproducibly and resumably."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from core import checkpoints, config, datasets, files, runs, salience
from core.datasets.split import Dataset
from core.devices import deterministic, pick
from core.errors import RunError, exit_code
from core.objectives.sip_at import SipAt
from core.recipe import Recipe
from core.tensors import Salience
from core.training import Training

_PACKAGES = ("torch", "numpy", "safetensors")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains a classifier after a recipe and leaves everything that is known of it in a run directory."""
    arguments = _parser().parse_args(argv)
    recipe = config.load(Recipe, arguments.recipe, arguments.set)
    run: Path = arguments.run_dir
    if _finished(run, recipe, resume=arguments.resume):
        print(f"{run}: finished already")
        return 0
    train(recipe, run, pick(arguments.device))
    print(f"{run}: trained by {recipe.objective.method}; next: python -m core.evaluate {run}")
    return 0


def train(recipe: Recipe, run: Path, device: torch.device) -> None:
    """Trains to the end and writes the weights last, so that a run with weights is a finished run."""
    data = datasets.load(recipe.data)
    maps = None if recipe.salience is None else salience.maps(recipe.salience, data.train.pixels).to(device)
    files.write_text(run / "config.toml", config.dumps(recipe))
    with deterministic():
        training = Training(recipe, run, data.train.to(device), len(data.classes), maps)
        training.fit()
    runs.write_record(run / "record.json", _record(recipe, run, data, maps, training))
    checkpoints.save(run / "weights.safetensors", training.model.state_dict(), {"run": run.name})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.train", description=main.__doc__)
    parser.add_argument("recipe", type=Path, help="TOML file; examples in core/configs/")
    parser.add_argument("--run-dir", type=Path, required=True, help="where the run goes; its name names the model")
    parser.add_argument("--resume", action="store_true", help="go on from the last finished epoch, if there is one")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, as objective.attack.eps=4/255"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    return parser


def _finished(run: Path, recipe: Recipe, *, resume: bool) -> bool:
    """Returns whether ``run`` is finished; refuses a run of another recipe, or an unfinished one without ``resume``."""
    path = run / "config.toml"
    if not path.is_file():
        return False
    if path.read_text(encoding="utf-8") != config.dumps(recipe):
        raise RunError(f"{run}: holds a run of another recipe (see {path}); choose another --run-dir or remove it")
    if not runs.finished(run) and not resume and (run / "last").is_dir():
        raise RunError(f"{run}: holds an unfinished run; add --resume to go on with it, or remove it")
    return runs.finished(run)


def _record(recipe: Recipe, run: Path, data: Dataset, maps: Salience | None, training: Training) -> runs.RunRecord:
    commit, dirty = _commit()
    return runs.RunRecord(
        schema_version=runs.SCHEMA_VERSION,
        run=run.name,
        method=recipe.objective.method,
        classes=data.classes,
        height=data.train.pixels.shape[2],
        width=data.train.pixels.shape[3],
        dataset=data.name,
        dataset_fingerprint=data.fingerprint(),
        train_pictures=len(data.train),
        salience=_salience_record(recipe, maps),
        seed=recipe.seed,
        epochs=training.progress.epoch,
        seconds=round(training.progress.seconds, 3),
        commit=commit,
        dirty=dirty,
        device=_device_name(training.device),
        threads=torch.get_num_threads(),
        versions={"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}},
    )


def _salience_record(recipe: Recipe, maps: Salience | None) -> dict[str, object]:
    if maps is None or recipe.salience is None or not isinstance(recipe.objective, SipAt):
        return {}
    spared = float((maps > recipe.objective.threshold).float().mean())
    return {"source": recipe.salience.source, "scale": recipe.salience.scale, "share_spared": round(spared, 6)}


def _commit() -> tuple[str, bool]:
    """Returns the commit of the code and whether the working tree differs from it; ("unknown", True) without git."""
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", os.fspath(root)]
    try:
        head = subprocess.run([*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        status = subprocess.run([*command, "status", "--porcelain"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return head.stdout.strip(), bool(status.stdout.strip())


def _device_name(device: torch.device) -> str:
    return (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu ({torch.backends.cpu.get_cpu_capability()})"
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
