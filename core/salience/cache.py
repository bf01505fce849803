"""Maps on disk: ``maps.npz`` (8-bit, no pickle) and ``manifest.json``, which says what they were made of."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core import files
from core.errors import DataError
from core.tensors import Bytes

SCHEMA_VERSION = 1
THRESHOLD_RULE = (
    "a map is level / 255; a pixel is salient if its map lies above the threshold, and may be perturbed if it is at "
    "most the threshold"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Maps as levels 0..255, uint8 [N, 1, H, W], and which pictures have one, bool [N]."""

    levels: Bytes
    annotated: Tensor


def folder(root: Path, inputs: Mapping[str, Any]) -> Path:
    """Returns where the maps made of ``inputs`` belong: other inputs, another folder."""
    return root / f"{inputs['source']}-{inputs_sha256(inputs)[:16]}"


def inputs_sha256(inputs: Mapping[str, Any]) -> str:
    """Returns the SHA-256 over inputs, made of JSON values, in sorted order."""
    text = "\n".join(f"{name} {inputs[name]!r}" for name in sorted(inputs))
    return files.sha256_bytes(text.encode())


def write(path: Path, inputs: Mapping[str, Any], stored: Stored, ids: Sequence[str]) -> None:
    """Writes maps with their pictures' ids, then the manifest that makes them valid; the same maps, the same bytes.

    Maps that cannot be kept, for want of disk or rights, are a warning in the log, no more: they can be made again.
    """
    try:
        with files.atomic_path(path / "maps.npz") as temporary:
            with temporary.open("wb") as file:
                np.savez_compressed(
                    file, levels=stored.levels.numpy(), annotated=stored.annotated.numpy(), ids=np.asarray(ids)
                )
            sha256 = files.sha256_file(temporary)
        files.write_json(path / "manifest.json", _manifest(inputs, sha256))
    except OSError as error:
        _log.warning("%s: these salience maps could not be kept, so they will be made again: %s", path, error)


def _manifest(inputs: Mapping[str, Any], maps_sha256: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "inputs": dict(inputs),
        "threshold_rule": THRESHOLD_RULE,
        "maps_sha256": maps_sha256,
    }


def read(path: Path, inputs: Mapping[str, Any], shape: tuple[int, int, int]) -> Stored | None:
    """Returns the maps in a folder, or None if there are none, if they are of other inputs, or damaged.

    Args:
        path: the folder.
        inputs: what the maps must have been made of.
        shape: number, height and width of the maps.
    """
    if not (path / "maps.npz").exists():
        return None
    try:
        return _read(path, inputs, shape)
    except (DataError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        _log.warning("%s: cannot use these salience maps, so they are made again: %s", path, error)
        return None


def _read(path: Path, inputs: Mapping[str, Any], shape: tuple[int, int, int]) -> Stored:
    manifest = files.read_json(path / "manifest.json", DataError, "make the maps again")
    if manifest.get("schema_version") != SCHEMA_VERSION or manifest.get("inputs") != inputs:
        raise DataError("they were made of other inputs")
    if manifest.get("maps_sha256") != files.sha256_file(path / "maps.npz"):
        raise DataError("maps.npz is not the file that the manifest lists")
    with np.load(path / "maps.npz", allow_pickle=False) as arrays:
        levels, annotated = torch.from_numpy(arrays["levels"]), torch.from_numpy(arrays["annotated"])
    if levels.shape != (shape[0], 1, *shape[1:]) or levels.dtype != torch.uint8 or annotated.shape != shape[:1]:
        raise DataError(f"expected uint8 maps {shape}, got {levels.dtype} {tuple(levels.shape)}")
    return Stored(levels=levels, annotated=annotated)
