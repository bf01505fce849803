"""Residual networks for small pictures: a 3×3 stem of stride 1, after which the grid is halved two or three times.

The feature grid of those with pre-activation is taken behind the last batch norm and ReLU, where the mean is taken.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import nn
from torch.nn import functional

from core.tensors import Features

Block = Callable[[int, int, int], nn.Module]


def resnet_18(width: int) -> tuple[nn.Module, int]:
    """Returns ResNet-18 without head, and its channels; ``width`` is 64 (He et al. 2016, arXiv 1512.03385).

    Shortcuts between shapes are a 1×1 convolution with batch norm, their option B.
    """
    widths = [width * factor for factor in (1, 2, 4, 8)]
    stem = nn.Sequential(_convolution(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages = _stages(Basic, width, widths, blocks=2)
    return _initialised(nn.Sequential(OrderedDict(stem=stem, **stages))), widths[-1]


def preact_resnet_18(width: int) -> tuple[nn.Module, int]:
    """Returns PreActResNet-18 without head, and its channels; ``width`` is 64 (He et al. 2016, arXiv 1603.05027)."""
    return _preactivated(width, [width * factor for factor in (1, 2, 4, 8)], blocks=2)


def wide_resnet(depth: int, factor: int, width: int) -> tuple[nn.Module, int]:
    """Returns WideResNet-``depth``-``factor`` without head, and its channels (Zagoruyko & Komodakis 2016, 1605.07146).

    Without dropout. ``width``, the channels of the stem, is 16; ``depth`` is 6n + 4, with n blocks in each stage.
    """
    return _preactivated(width, [width * factor * step for step in (1, 2, 4)], blocks=(depth - 4) // 6)


class Basic(nn.Module):
    """Two 3×3 convolutions, batch norm behind each; ReLU behind the sum with the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            _convolution(outputs, outputs, 3),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Features) -> Features:
        return functional.relu(self.branch(x) + self.shortcut(x))


class PreActivated(nn.Module):
    """Batch norm and ReLU before each of two 3×3 convolutions; a shortcut that changes shape starts behind the first.

    That shortcut is a 1×1 convolution; where the shape stays, the shortcut is the input itself.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            _convolution(inputs, outputs, 3, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            _convolution(outputs, outputs, 3),
        )
        self.shortcut = _convolution(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: Features) -> Features:
        activated = self.activate(x)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        total: Features = self.branch(activated) + shortcut
        return total


def _preactivated(width: int, widths: Sequence[int], blocks: int) -> tuple[nn.Module, int]:
    last = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True))
    stages = _stages(PreActivated, width, widths, blocks)
    return _initialised(nn.Sequential(OrderedDict(stem=_convolution(3, width, 3), **stages, last=last))), widths[-1]


def _stages(block: Block, inputs: int, widths: Sequence[int], blocks: int) -> dict[str, nn.Module]:
    stages: dict[str, nn.Module] = {}
    for index, outputs in enumerate(widths):
        first = block(inputs, outputs, 1 if index == 0 else 2)
        stages[f"stage{index + 1}"] = nn.Sequential(first, *(block(outputs, outputs, 1) for _ in range(blocks - 1)))
        inputs = outputs
    return stages


def _convolution(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


def _initialised(body: nn.Module) -> nn.Module:
    """Returns ``body`` with convolutions drawn as He et al. 2015 (arXiv 1502.01852, eq. 14) have it."""
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body
