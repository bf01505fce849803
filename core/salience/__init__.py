"""Salience maps by source: pictures in, maps in [0, 1] out, 1 = matters most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import torch

from core.errors import ConfigError
from core.salience.spectral import spectral_residual
from core.tensors import Bytes, Salience, to_unit

Source = Literal["spectral-residual"]


@dataclass(frozen=True, kw_only=True)
class SalienceSource:
    """Which maps to use, and on what scale.

    Attributes:
        source: ``"spectral-residual"`` needs no model and no download.
        scale: ``"rank"``: a pixel's value is its rank among the pixels of its picture, so that a threshold of 0.75
            spares a quarter of every picture; ``"min-max"``: the raw map stretched to 0..1.
    """

    source: Source = "spectral-residual"
    scale: Literal["rank", "min-max"] = "rank"


def maps(salience: SalienceSource, pixels: Bytes, batch_size: int = 512) -> Salience:
    """Returns a map for each picture, float32 in [0, 1], [N, 1, H, W]."""
    batches = [_scaled(salience, _raw(salience, batch)) for batch in pixels.split(batch_size)]
    if not batches:
        raise ConfigError("salience: expected pictures, got none")
    return torch.cat(batches)


def _raw(salience: SalienceSource, pixels: Bytes) -> Salience:
    match salience.source:
        case "spectral-residual":
            return spectral_residual(to_unit(pixels))
        case unknown:
            assert_never(unknown)


def _scaled(salience: SalienceSource, raw: Salience) -> Salience:
    values = raw.flatten(1)
    if salience.scale == "rank":
        scaled = values.argsort(dim=1, stable=True).argsort(dim=1).float() / (values.shape[1] - 1)
    else:
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        scaled = (values - low) / (high - low).clamp(min=1e-12)
    return scaled.view_as(raw)
