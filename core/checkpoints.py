"""Weights and training states in safetensors, whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core import files, networks, recipe, runs
from core.errors import RunError
from core.tensors import Classifier


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and text metadata as one safetensors file, atomically."""
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with files.atomic_path(path) as temporary:
        save_file(plain, temporary, dict(metadata))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors and the metadata of a safetensors file.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
        return load_file(path), metadata
    except safetensors.SafetensorError as error:
        raise RunError(
            f"{path}: expected a safetensors file, could not read it: {error}; train the run again"
        ) from None


def load_classifier(run: Path, device: torch.device) -> Classifier:
    """Returns the trained classifier of a finished run, in evaluation mode, float32, on ``device``.

    Raises:
        RunError: the run is not finished, or its weights do not fit its recipe.
    """
    path = runs.weights_path(run)
    made, record = recipe.read(run), runs.read_run(run)
    model = networks.build(made.network, len(record.classes), made.seed)
    try:
        model.load_state_dict(read(path)[0])
    except RuntimeError as error:
        raise RunError(f"{path}: the weights do not fit {run / 'config.toml'}: {error}; train the run again") from None
    return model.to(device).eval()
