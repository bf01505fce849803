"""Gaussian smoothing of maps."""

from __future__ import annotations

import torch
from torch.nn import functional

from core.tensors import Salience


def gaussian(maps: Salience, sd: float) -> Salience:
    """Returns maps smoothed by a Gaussian of ``sd`` pixels, cut at 2.5 sd, borders reflected; 0 leaves them as is."""
    if sd <= 0:
        return maps
    radius = min(max(1, round(2.5 * sd)), min(maps.shape[-2:]) - 1)
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-offsets.square() / (2 * sd**2), dim=0)
    padded = functional.pad(maps, (radius,) * 4, mode="reflect")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))
