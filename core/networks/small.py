"""A small convolutional net for the demo and for tests: four convolutions, seconds to train on two cores."""

from __future__ import annotations

from torch import nn

from core.networks.normalise import Normalise
from core.tensors import Features, Images, Logits


class SmallNet(nn.Module):
    """Four 3×3 convolutions with batch norm, three of stride 2, global average pooling and a linear head."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Normalise(),
            *_stage(3, width, stride=2),
            *_stage(width, 2 * width, stride=1),
            *_stage(2 * width, 4 * width, stride=2),
            *_stage(4 * width, 4 * width, stride=2),
        )
        self.head = nn.Linear(4 * width, classes)

    def classify(self, features: Features) -> Logits:
        logits: Logits = self.head(features.mean(dim=(2, 3)))
        return logits

    def forward(self, x: Images) -> Logits:
        return self.classify(self.features(x))


def _stage(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
