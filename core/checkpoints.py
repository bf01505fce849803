"""Weights and training states in safetensors, whole or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from core import files
from core.errors import MachineError, RunError


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors and text metadata as one safetensors file, atomically.

    Raises:
        MachineError: the disk does not take it.
    """
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with files.atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, dict(metadata))
        except safetensors.SafetensorError as error:
            raise MachineError(f"{path}: could not be written: {error}; make room on the disk and go on") from None


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
