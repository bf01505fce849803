"""Normalisation as a layer, so that attacks, budgets and stimuli all speak of pictures in [0, 1]."""

from __future__ import annotations

import torch
from torch import nn

from core.tensors import Images


class Normalise(nn.Module):
    """Returns (x − mean) / sd per channel; the statistics are buffers, saved with the weights."""

    mean: torch.Tensor
    sd: torch.Tensor

    def __init__(self, mean: tuple[float, ...] = (0.5, 0.5, 0.5), sd: tuple[float, ...] = (0.25, 0.25, 0.25)) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("sd", torch.tensor(sd).view(1, -1, 1, 1))

    def forward(self, x: Images) -> Images:
        return (x - self.mean) / self.sd
