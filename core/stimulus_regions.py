"""The salience maps by which a set's regions are told: made a batch at a time, kept in the set, read back."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from core import models
from core.datasets.split import Split
from core.errors import StimulusError
from core.regions import Region
from core.salience.making import prepare
from core.salience.scale import scaled
from core.stimulus_request import Request
from core.tensors import Bytes

Levels = NDArray[np.uint8]  # a map, [height, width], 255 = matters most
Allowed = NDArray[np.bool_]  # pixels that may change, [height, width]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps about to be made: ``inputs``, all that decides them, and the maps of any pictures, uint8 [N, 1, H, W]."""

    inputs: dict[str, Any]
    of: Callable[[Split], Bytes]


def maps_of(request: Request, test: Split, device: torch.device) -> Maps | None:
    """Returns how to make the maps of test pictures; ``None`` if no region needs any.

    Levels are those of ``core.salience.load``. Where the source has no map of a picture, it is all zero.

    Raises:
        DataError: the maps do not belong to the pictures.
        RunError: the run that should give them is not finished.
    """
    source = request.salience
    if source is None or request.regions == ("full",):
        return None
    making = prepare(source, test, request.seed, device, models.load_classifier, {})
    annotated = dict(zip(test.ids, making.annotated.tolist(), strict=True))
    of_batch = making.start()

    def of(pictures: Split) -> Bytes:
        raw = of_batch(pictures)
        known = torch.tensor([annotated[name] for name in pictures.ids], device=raw.device)
        return scaled(raw, source.scale).mul(255).round().to(torch.uint8) * known[:, None, None, None]

    return Maps(inputs=making.inputs, of=of)


def allowed(region: Region | str, levels: Levels | None, threshold: float, shape: tuple[int, int]) -> Allowed:
    """Returns the pixels that a region lets change: all; those above ``threshold``; or the rest, ties included."""
    if region == "full":
        return np.ones(shape, dtype=np.bool_)
    assert levels is not None
    salient: Allowed = levels.astype(np.float32) / np.float32(255) > np.float32(threshold)
    return salient if region == "salient" else ~salient


def encode_map(levels: Levels) -> bytes:
    """Returns a map as a grey PNG file, without compression and metadata."""
    buffer = io.BytesIO()
    Image.fromarray(levels, mode="L").save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def decode_map(data: bytes, where: Path, shape: tuple[int, int]) -> Levels:
    """Returns the map in a file's bytes.

    Raises:
        StimulusError: it is no map, or not of ``shape`` (height, width).
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, levels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise StimulusError(f"{where}: expected a map (grey PNG), could not read it: {error}; restore it") from None
    if mode != "L" or levels.shape != shape:
        raise StimulusError(
            f"{where}: expected a grey map of {shape[1]}×{shape[0]} pixels like its picture, got "
            f"{'×'.join(map(str, levels.shape[1::-1]))} (mode {mode}); make the set again"
        )
    return levels
