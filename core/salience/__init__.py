"""Salience maps by source: pictures in, maps in [0, 1] out, 1 = matters most. See docs/salience.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core import progress
from core.datasets.split import Split
from core.errors import ConfigError
from core.salience import cache as stored_maps
from core.salience.cache import Stored
from core.salience.making import LoadClassifier, Making, Source, part, prepare
from core.salience.matching import Size
from core.salience.scale import scaled, unannotated_rows
from core.tensors import Bytes, Salience, to_unit

__all__ = ["LoadClassifier", "Maps", "MapsRecord", "Size", "Source", "load", "maps"]


@dataclass(frozen=True, kw_only=True)
class MapsRecord:
    """Where maps came from.

    Attributes:
        source: name of the source.
        scale: ``"rank"``, ``"min-max"`` or ``"none"``.
        pictures: number of pictures.
        absent: pictures that the source has no map of; theirs is all zero.
        unannotated: pictures, of those that the source has a map of, whose map was taken away; theirs is all zero.
        blank: pictures that have a map, and it is all zero nevertheless.
        inputs: all that decided the maps before any was taken away: settings, hashes of pictures, weights and files.
    """

    source: str
    scale: str
    pictures: int
    absent: int
    unannotated: int
    blank: int
    inputs: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps of pictures: ``levels`` uint8 [N, 1, H, W], which pictures have one (bool [N]), and where they came from."""

    levels: Bytes
    annotated: Tensor
    record: MapsRecord

    def values(self) -> Salience:
        """Returns the maps as float32 in [0, 1], level / 255."""
        return to_unit(self.levels)


def load(
    source: Source,
    split: Split,
    *,
    training: bool,
    seed: int = 0,
    load_classifier: LoadClassifier | None = None,
    originals: Mapping[str, Size] | None = None,
    cache: Path | None = None,
    device: torch.device | None = None,
    batch_size: int = 128,
) -> Maps:
    """Returns a map for each picture of ``split``, on its device: cached ones if they are of the same inputs.

    Maps have 256 levels whether they were cached or not, so that both give the same numbers.

    Args:
        source: which maps.
        split: the pictures.
        training: whether these are training pictures, of which the share ``source.unannotated`` goes without a map.
        seed: of that choice, and of random areas.
        load_classifier: how to load the classifier of a finished run on a device; for the sources that need one.
        originals: (width, height) of the pictures' files by source_id, where they were resized; for maps in files.
        cache: folder in which maps are kept, in a folder of their own for each set of inputs.
        device: where to compute; without it where the pictures lie.
        batch_size: pictures at once.

    Raises:
        ConfigError: no pictures, or a source that needs a classifier and has no way to load it.
        DataError: maps that do not fit the pictures.
        RunError: the run that should give the maps is not finished.
    """
    if not len(split):
        raise ConfigError("salience: expected pictures, got none")
    device = device or split.pixels.device
    making = prepare(source, split, seed, device, load_classifier, originals or {})
    stored = _stored(source, split, making, cache, device, batch_size)
    taken = torch.zeros(len(split), dtype=torch.bool)
    if training:
        taken = unannotated_rows(split.ids, source.unannotated, seed)
    annotated = stored.annotated & ~taken
    levels = stored.levels * annotated[:, None, None, None]
    record = MapsRecord(
        source=source.source,
        scale=source.scale,
        pictures=len(split),
        absent=int((~stored.annotated).sum()),
        unannotated=int((stored.annotated & taken).sum()),
        blank=int((annotated & (levels.amax(dim=(1, 2, 3)) == 0)).sum()),
        inputs=making.inputs,
    )
    home = split.pixels.device
    return Maps(levels=levels.to(home), annotated=annotated.to(home), record=record)


def maps(source: Source, pixels: Bytes, batch_size: int = 512) -> Salience:
    """Returns a map for each picture, float32 in [0, 1], [N, 1, H, W], of a source that needs nothing but pictures."""
    ids = tuple(f"{index:06d}" for index in range(len(pixels)))
    split = Split(pixels=pixels, labels=torch.zeros(len(pixels), dtype=torch.int64), ids=ids)
    return load(source, split, training=False, batch_size=batch_size).values()


def _stored(
    source: Source, split: Split, making: Making, cache: Path | None, device: torch.device, batch_size: int
) -> Stored:
    if cache is None:
        return _made(source, split, making, device, batch_size)
    folder = stored_maps.folder(cache, making.inputs)
    height, width = split.pixels.shape[2:]
    if (found := stored_maps.read(folder, making.inputs, (len(split), height, width))) is not None:
        return found
    made = _made(source, split, making, device, batch_size)
    stored_maps.write(folder, making.inputs, made, split.ids)
    return made


def _made(source: Source, split: Split, making: Making, device: torch.device, batch_size: int) -> Stored:
    of_batch, levels = making.start(), []
    with progress.bar(f"salience {source.source}", len(split), "pictures") as bar:
        for start in range(0, len(split), batch_size):
            pictures = part(split, slice(start, start + batch_size)).to(device)
            levels.append(scaled(of_batch(pictures), source.scale).mul(255).round().to(torch.uint8).cpu())
            bar.update(len(pictures))
    return Stored(levels=torch.cat(levels) * making.annotated[:, None, None, None], annotated=making.annotated)
