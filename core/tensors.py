"""Shapes and dtypes of the tensors that travel through ``core``; checked in tests only, by beartype."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from core import rng

Images = Float[Tensor, "batch channel height width"]  # intensities in [0, 1]
Bytes = UInt8[Tensor, "batch channel height width"]  # intensities in grey levels 0..255
Labels = Int64[Tensor, " batch"]
Logits = Float[Tensor, "batch classes"]
PerPicture = Float[Tensor, " batch"]
Salience = Float[Tensor, "batch 1 height width"]  # in [0, 1]; 1 = matters most
Limits = Float[Tensor, "#batch #channel #height #width"]  # budgets per element, in [0, 1] units
Features = Float[Tensor, "batch features rows columns"]  # the grid that a classifier's logits are made of
Classifier = nn.Module  # maps Images to Logits; normalisation is one of its layers


class FeatureClassifier(Protocol):
    """A classifier in two parts, ``model(x) == model.classify(model.features(x))``, as all of ``core.networks`` are."""

    def features(self, x: Images) -> Features:
        """Returns the last feature grid."""

    def classify(self, features: Features) -> Logits:
        """Returns the logits that ``features`` gives."""


def generator(device: torch.device | str, seed: int, *purpose: str | int) -> torch.Generator:
    """Returns a generator on ``device`` for one purpose, made from (seed, purpose) alone."""
    return torch.Generator(device=device).manual_seed(rng.derive(seed, *purpose))


def to_unit(pixels: Bytes) -> Images:
    """Returns 8-bit intensities as float32 in [0, 1]."""
    return pixels.float() / 255
