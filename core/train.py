"""``python -m core.train RECIPE --run-dir DIR``: trains a classifier, reproducibly and resumably."""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from core import checkpoints, config, datasets, files, models, runs, salience
from core.board import board
from core.datasets.split import Dataset, Split, hold_out
from core.devices import deterministic, fits, out_of_memory, pick
from core.distributed import Group, joined, leave
from core.errors import DONE, MachineError, RunError, exit_code
from core.objectives.sip_at import SipAt
from core.recipe import Recipe
from core.salience import Maps
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
    try:
        with joined(pick(arguments.device)) as (group, device):
            train(recipe, run, device, group, tensorboard=arguments.tensorboard)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise MachineError(
            f"{run}: out of memory with batches of {recipe.optimiser.batch_size}: {str(error).splitlines()[0]}; what "
            "was finished is kept; train with a smaller optimiser.batch_size or network.width into another directory"
        ) from None
    if group.leads:
        print(f"{run}: trained by {recipe.objective.method}; next: python -m core.evaluate {run}")
    if group.size > 1:
        leave(DONE)
    return DONE


def train(
    recipe: Recipe, run: Path, device: torch.device, group: Group | None = None, *, tensorboard: bool = False
) -> None:
    """Trains to the end and writes the weights last, so that a run with weights is a finished run."""
    group = group or Group()
    data = datasets.load(recipe.data)
    kept, held_out = data.train, None
    if recipe.selection is not None:
        kept, held_out = hold_out(data.train, recipe.selection.hold_out, recipe.seed)
    maps = _maps(recipe, kept, run)
    if group.leads:
        models.keep_recipes(run, recipe)
    group.wait()
    with deterministic():
        training = Training(
            recipe,
            run,
            kept.to(device) if fits(kept.pixels, device) else kept,
            len(data.classes),
            None if maps is None else _near(maps.values(), device),
            held_out=held_out,
            device=device,
            group=group,
            show=board(run / "tensorboard") if tensorboard and group.leads else None,
        )
        training.fit()
    if group.leads:
        runs.write_record(run / "record.json", _record(recipe, run, data, maps, training))
        checkpoints.save(run / "weights.safetensors", training.final(), {"run": run.name})
    group.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.train", description=main.__doc__)
    parser.add_argument("recipe", type=Path, help="TOML file; examples in core/configs/")
    parser.add_argument("--run-dir", type=Path, required=True, help="where the run goes; its name names the model")
    parser.add_argument("--resume", action="store_true", help="go on from the last finished epoch, if there is one")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, as objective.attack.eps=4/255"
    )
    parser.add_argument("--tensorboard", action="store_true", help="curves in RUN/tensorboard/ too; needs tensorboard")
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


def _record(recipe: Recipe, run: Path, data: Dataset, maps: Maps | None, training: Training) -> runs.RunRecord:
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
        train_pictures=len(training.train),
        salience=_salience_record(recipe, maps),
        seed=recipe.seed,
        epochs=training.progress.epoch,
        seconds=round(training.progress.seconds, 3),
        initial_weights_sha256=files.sha256_file(initial) if (initial := recipe.network.weights) else None,
        best_epoch=training.progress.best_epoch,
        best_robust=training.progress.best_robust,
        processes=training.group.size,
        commit=commit,
        dirty=dirty,
        device=_device_name(training.device),
        threads=torch.get_num_threads(),
        versions={"python": sys.version.split()[0], **{name: version(name) for name in _PACKAGES}},
    )


def _maps(recipe: Recipe, kept: Split, run: Path) -> Maps | None:
    """Returns the maps of the training pictures, kept in the run's ``salience/`` for a resume and for the reader."""
    if recipe.salience is None:
        return None
    return salience.load(
        recipe.salience,
        kept,
        training=True,
        seed=recipe.seed,
        load_classifier=models.load_classifier,
        cache=run / "salience",
    )


def _near(maps: Salience, device: torch.device) -> Salience:
    return maps.to(device) if fits(maps, device) else maps


def _salience_record(recipe: Recipe, maps: Maps | None) -> dict[str, object]:
    if maps is None or not isinstance(recipe.objective, SipAt):
        return {}
    spared = float((maps.values() > recipe.objective.threshold).float().mean())
    return {**dataclasses.asdict(maps.record), "share_spared": round(spared, 6)}


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
