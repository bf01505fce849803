"""What every larger classifier here has in common: a feature grid, its mean, one linear layer."""

from __future__ import annotations

from torch import nn

from core.networks.normalise import Normalise
from core.tensors import Features, Images, Logits


class Pooled(nn.Module):
    """A classifier whose logits are linear in the mean of its last feature grid.

    Class-activation maps act on that grid: ``features`` makes it of pictures, ``classify`` makes the logits of it.

    Attributes:
        normalise: the first layer.
        body: maps normalised pictures to the grid, [B, C, h, w].
        head: maps the mean over the grid, [B, C], to the logits.
    """

    def __init__(self, normalise: Normalise, body: nn.Module, channels: int, classes: int) -> None:
        super().__init__()
        self.normalise, self.body, self.head = normalise, body, nn.Linear(channels, classes)

    def features(self, x: Images) -> Features:
        grid: Features = self.body(self.normalise(x))
        return grid

    def classify(self, features: Features) -> Logits:
        logits: Logits = self.head(features.mean(dim=(2, 3)))
        return logits

    def forward(self, x: Images) -> Logits:
        return self.classify(self.features(x))
