"""A data set in memory: uint8 tensors with names, and the fingerprint that tells whether two are the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from core import rng
from core.errors import ConfigError
from core.tensors import Bytes, Labels


@dataclass(frozen=True, kw_only=True)
class Split:
    """Pictures: ``pixels`` [N, 3, H, W] uint8, ``labels`` [N], ``ids`` (``<split>/<class>/<name>``)."""

    pixels: Bytes
    labels: Labels
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> Split:
        """Returns the same pictures on ``device``."""
        return Split(pixels=self.pixels.to(device), labels=self.labels.to(device), ids=self.ids)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training and test pictures of the same classes and size."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split

    def fingerprint(self) -> str:
        """Returns a SHA-256 over classes, ids, labels and pixels: equal if and only if the data are."""
        digest = hashlib.sha256("\n".join(self.classes).encode())
        for split in (self.train, self.test):
            digest.update("\n".join(split.ids).encode())
            digest.update(split.labels.numpy().tobytes())
            digest.update(split.pixels.numpy().tobytes())
        return digest.hexdigest()


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Returns ``split`` in two: what is kept for training, and a ``share`` of each class, drawn by (seed, class).

    Raises:
        ConfigError: ``share`` leaves a class without pictures on one side.
    """
    held: list[int] = []
    for label in split.labels.unique().tolist():
        members = torch.nonzero(split.labels == label).flatten().tolist()
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise ConfigError(
                f"hold_out: expected a share that leaves some of the {len(members)} pictures of class {label} on both "
                f"sides, got {share}"
            )
        order = rng.numpy_generator(seed, "hold out", label).permutation(len(members))
        held += [members[place] for place in order[:count]]
    chosen = torch.zeros(len(split), dtype=torch.bool)
    chosen[held] = True
    return _part(split, ~chosen), _part(split, chosen)


def _part(split: Split, chosen: torch.Tensor) -> Split:
    ids = tuple(name for name, wanted in zip(split.ids, chosen.tolist(), strict=True) if wanted)
    return Split(pixels=split.pixels[chosen], labels=split.labels[chosen], ids=ids)
