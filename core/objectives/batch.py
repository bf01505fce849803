"""What an objective is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from core.tensors import Images, Labels, Logits, PerPicture, Salience


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Augmented pictures in [0, 1], their classes, maps aligned to them, and the attack's random numbers."""

    images: Images
    labels: Labels
    salience: Salience | None
    generator: torch.Generator


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of each picture (the loop takes its mean), and the logits of the pictures that were trained on."""

    per_picture: PerPicture
    logits: Logits
