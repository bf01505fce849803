"""Classifiers by name. All take pictures in [0, 1]; normalisation is their first layer.

Each has ``features`` and ``classify`` (``core.tensors.FeatureClassifier``), whose composition it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import torch
from torch import nn

from core.errors import ConfigError
from core.networks import imagenet, pretrained, residual, transformer
from core.networks.normalise import Normalise
from core.networks.pooled import Pooled
from core.networks.small import SmallNet
from core.tensors import Classifier, generator

Name = Literal[
    "small",
    "resnet-18",
    "preact-resnet-18",
    "wide-resnet-28-10",
    "wide-resnet-34-10",
    "resnet-50",
    "densenet-121",
    "inception-v3",
    "vit-b-16",
]
_FIXED_WIDTH = ("resnet-50", "densenet-121", "inception-v3")


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which classifier to build.

    Attributes:
        name: ``"small"``; for small pictures ``"resnet-18"``, ``"preact-resnet-18"``, ``"wide-resnet-28-10"``,
            ``"wide-resnet-34-10"``; of torchvision ``"resnet-50"``, ``"densenet-121"``, ``"inception-v3"``,
            ``"vit-b-16"``.
        width: channels of the first stage, to which all others are proportional; of a transformer the width of a
            token. Without it the published one (small 32, ResNets 64, WideResNets 16, transformer 768). The networks
            of torchvision that are not transformers have a width of their own.
        patch: side of a transformer's patches in pixels; without it the largest up to 16 that gives 8 × 8 or more.
        weights: file of weights to start from (``.safetensors`` or ``.pth``), of torchvision or of a run; the head is
            always new.
    """

    name: Name = "small"
    width: int | None = None
    patch: int | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        for key in ("width", "patch"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ConfigError(f"network: {key}: expected at least 1, got {value}")
        if self.patch is not None and self.name != "vit-b-16":
            raise ConfigError(f"network: patch: expected with 'vit-b-16' only, got {self.name!r}; leave it out")
        if self.width is not None and self.name in _FIXED_WIDTH:
            raise ConfigError(f"network: width: {self.name} has a width of its own, got {self.width}; leave it out")
        if self.name == "vit-b-16" and self.width and self.width % transformer.heads(self.width):
            raise ConfigError(f"network: width: expected a multiple of 64 or less than 128, got {self.width}")


def build(network: Network, classes: int, seed: int, size: tuple[int, int] | None = None) -> Classifier:
    """Returns a new classifier on the CPU, its weights drawn from (seed, "weights") alone, or read from a file.

    Args:
        network: which.
        classes: how many.
        seed: of the run.
        size: (height, width) of the pictures; a transformer needs it, others check it.

    Raises:
        ConfigError: the pictures are too small or do not divide into patches, or the file of weights does not fit.
    """
    least = imagenet.LEAST_SIDE.get(network.name, 1)
    if size is not None and min(size) < least:
        raise ConfigError(
            f"network: {network.name}: expected pictures of at least {least}×{least} pixels, got {size[1]}×{size[0]}; "
            "set data.size or choose another network"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator("cpu", seed, "weights").initial_seed())
        model = _made(network, classes, size)
    if network.weights is not None:
        pretrained.load(model, network.weights)
    return model


def _made(network: Network, classes: int, size: tuple[int, int] | None) -> Classifier:
    normalise, width = Normalise(), network.width
    match network.name:
        case "small":
            return SmallNet(classes, width or 32)
        case "resnet-18":
            body, channels = residual.resnet_18(width or 64)
        case "preact-resnet-18":
            body, channels = residual.preact_resnet_18(width or 64)
        case "wide-resnet-28-10":
            body, channels = residual.wide_resnet(28, 10, width or 16)
        case "wide-resnet-34-10":
            body, channels = residual.wide_resnet(34, 10, width or 16)
        case "resnet-50":
            normalise, (body, channels) = imagenet.normalise(), imagenet.resnet_50()
        case "densenet-121":
            normalise, (body, channels) = imagenet.normalise(), imagenet.densenet_121()
        case "inception-v3":
            normalise, (body, channels) = Normalise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), imagenet.inception_v3()
        case "vit-b-16":
            normalise, (body, channels) = imagenet.normalise(), _token_grid(network, size)
        case unknown:
            assert_never(unknown)
    return Pooled(normalise, body, channels, classes)


def _token_grid(network: Network, size: tuple[int, int] | None) -> tuple[nn.Module, int]:
    if size is None:
        raise ConfigError("network: vit-b-16: expected the size of the pictures, got none; give build() a size")
    width = network.width or transformer.BASE_WIDTH
    size = (size[0], size[1])
    return transformer.TokenGrid(size, transformer.patch_side(size, network.patch), width), width
