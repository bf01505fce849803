"""From a recipe to a model, new or trained: a plain network, or a purifier in front of one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from core import checkpoints, config, files, networks, recipe, runs
from core.errors import RunError
from core.objectives.atop import Atop
from core.purification.pipeline import Purified, compose
from core.purification.transforms import block_sides
from core.recipe import Recipe
from core.runs import RunRecord, Weights
from core.tensors import Classifier

_PROTECTED = "classifier.toml"  # recipe of the classifier behind a purifier, kept so that the run stands alone


def new(made: Recipe, classes: int, size: tuple[int, int]) -> Classifier:
    """Returns the untrained model of a recipe for pictures of ``size`` (height, width), on the CPU.

    An AToP recipe's classifier comes trained from its run.

    Raises:
        RunError: the classifier's run is absent, not finished, or has another number of classes.
    """
    if not isinstance(made.objective, Atop):
        return networks.build(made.network, classes, made.seed, size)
    run = made.objective.classifier
    record = runs.read_run(run)
    if (found := len(record.classes)) != classes:
        raise RunError(f"{run}: expected a classifier of {classes} classes, got {found}; train it on the same data")
    block_sides(made.objective.purification.transform, *size)
    protected = load_classifier(run, torch.device("cpu"))
    return compose(made.objective.purification, protected, made.seed)


def keep_recipes(run: Path, made: Recipe) -> None:
    """Writes the resolved recipe into a run directory, with that of the protected classifier if there is one."""
    if isinstance(made.objective, Atop):
        files.write_text(run / _PROTECTED, config.dumps(recipe.read(made.objective.classifier)))
    files.write_text(run / "config.toml", config.dumps(made))


def load_classifier(run: Path, device: torch.device, weights: Weights = "last") -> Classifier:
    """Returns the trained model of a finished run, in evaluation mode, float32, on ``device``.

    Raises:
        RunError: the run is not finished, or its weights do not fit its recipe.
    """
    path = runs.weights_path(run, weights)
    model = _empty(run, runs.read_run(run))
    try:
        model.load_state_dict(checkpoints.read(path)[0])
    except RuntimeError as error:
        raise RunError(f"{path}: the weights do not fit {run / 'config.toml'}: {error}; train the run again") from None
    return model.to(device).eval()


def _empty(run: Path, record: RunRecord) -> Classifier | Purified:
    """Returns the model of a run with weights that are still to be loaded."""
    made = recipe.read(run)
    if not isinstance(made.objective, Atop):
        return _network(made, record)
    protected = _network(config.load(Recipe, run / _PROTECTED), record)
    return compose(made.objective.purification, protected, made.seed)


def _network(made: Recipe, record: RunRecord) -> Classifier:
    network = dataclasses.replace(
        made.network, weights=None
    )  # the run's own weights take the place of any it began with
    return networks.build(network, len(record.classes), made.seed, (record.height, record.width))
