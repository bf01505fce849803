"""Weights to start from, out of a local file: of torchvision, or of one of our own runs. The head is left out."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.errors import ConfigError
from core.networks.transformer import TokenGrid, fitted_positions
from core.tensors import Classifier

_HEADS = ("head.", "fc.", "classifier.", "heads.", "AuxLogits.")
_OPTIONAL = ("num_batches_tracked", "normalise.mean", "normalise.sd")  # older files lack the first, others the rest
_UNREADABLE = (  # what reading a damaged or forbidden file raises
    OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError,
    pickle.UnpicklingError, safetensors.SafetensorError,
)  # fmt: skip
_OLD_NAMES = {  # of torchvision's published files
    r"(denselayer\d+\.(?:norm|conv))\.([12])\.": r"\1\2.",
    r"mlp\.linear_1\.": "mlp.0.",
    r"mlp\.linear_2\.": "mlp.3.",
}


def load(model: Classifier, path: Path) -> None:
    """Copies the weights in ``path`` into ``model``, except its head; names may be ours or torchvision's.

    Position embeddings of a transformer are resized to its grid.

    Args:
        model: as ``core.networks.build`` makes them.
        path: a ``.safetensors`` file, or a ``.pth`` file with names and tensors and nothing else.

    Raises:
        ConfigError: no such file, it cannot be read, or its names or shapes are not those of ``model``.
    """
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    prefix = "body." if any(name.startswith("body.") for name in wanted) else ""
    found = {_our_name(name, prefix): tensor for name, tensor in _read(path).items() if not name.startswith(_HEADS)}
    body = getattr(model, "body", None)
    if isinstance(body, TokenGrid) and (name := "body.encoder.pos_embedding") in found:
        found[name] = fitted_positions(found[name], body.grid)
    _check(path, found, wanted)
    model.load_state_dict({**model.state_dict(), **found})


def _our_name(name: str, prefix: str) -> str:
    for old, new in _OLD_NAMES.items():
        name = re.sub(old, new, name)
    return name if name.startswith((prefix, "normalise.")) else prefix + name


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return _tensors(path, torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise ConfigError(f"network: weights: {path}: no such file; correct the path or leave it out") from None
    except _UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"network: weights: {path}: expected tensors (.safetensors or .pth), could not read them: {reason}"
        ) from None


def _tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values()):
        return {str(name): tensor for name, tensor in content.items()}
    raise ConfigError(
        f"network: weights: {path}: expected names with tensors, got {type(content).__name__} of something else; save "
        "the state dict alone"
    )


def _check(path: Path, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in found and not name.endswith(_OPTIONAL)]
    strangers = [name for name in found if name not in wanted]
    if missing or strangers:
        which = f"lacks {missing[0]!r}" if missing else f"has {strangers[0]!r}"
        raise ConfigError(
            f"network: weights: {path}: expected the weights of this network, the file {which} "
            f"({len(missing)} missing, {len(strangers)} unknown); give a file of the same network"
        )
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise ConfigError(
                f"network: weights: {path}: expected {name} of shape {tuple(wanted[name].shape)}, got "
                f"{tuple(tensor.shape)}; width and patch must be those of the file"
            )
