"""What a resume needs: one safetensors file with weights, optimiser, average and counters, whole or absent."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from core import checkpoints
from core.averaging import Average
from core.errors import RunError
from core.objectives.explainer import Explainer
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What lasts from epoch to epoch.

    Attributes:
        epoch: epochs done.
        seconds: spent in them.
        best_epoch: the one with the best held-out robust accuracy, if one is selected.
        best_robust: that accuracy.
    """

    epoch: int = 0
    seconds: float = 0.0
    best_epoch: int | None = None
    best_robust: float | None = None


def path_in(run: Path) -> Path:
    """Returns the path of the state file of a run."""
    return run / "last" / "state.safetensors"


def save(
    run: Path,
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    explainer: Explainer | None,
    progress: Progress,
) -> None:
    """Writes the state after an epoch, atomically."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser/{key}/{name}"] = torch.as_tensor(value)
    if average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in average.tensors.items()}
    if explainer is not None:
        tensors |= {f"explainer/{name}": tensor for name, tensor in explainer.tensors().items()}
    metadata = {"progress": json.dumps(dataclasses.asdict(progress)), "steps": str(average.steps if average else 0)}
    checkpoints.save(path_in(run), tensors, metadata)


def restore(
    run: Path,
    model: Classifier,
    optimiser: torch.optim.Optimizer,
    average: Average | None,
    explainer: Explainer | None,
) -> Progress:
    """Loads the state of a run into model, optimiser, average and explainer; returns how far it was.

    Raises:
        RunError: the state is of another program version or recipe.
    """
    tensors, metadata = checkpoints.read(path_in(run))
    try:
        progress = Progress(**json.loads(metadata["progress"]))
        model.load_state_dict(_part(tensors, "model/"))
        for name, parameter in model.named_parameters():
            _restore_optimiser(optimiser, parameter, tensors, name)
        if average is not None:
            average.restore(_part(tensors, "average/"), int(metadata["steps"]))
        if explainer is not None:
            explainer.restore(_part(tensors, "explainer/"))
    except (KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{path_in(run)}: does not fit this program: {error}; remove {run} and train again") from None
    return progress


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, parameter: torch.nn.Parameter, tensors: dict[str, Tensor], name: str
) -> None:
    for key in ("momentum_buffer", "step", "exp_avg", "exp_avg_sq"):
        if (value := tensors.get(f"optimiser/{key}/{name}")) is not None:
            optimiser.state[parameter][key] = value if key == "step" else value.to(parameter.device)
