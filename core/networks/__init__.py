"""Classifiers by name. All take pictures in [0, 1]; normalisation is their first layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

import torch

from core.networks.small import SmallNet
from core.tensors import Classifier, generator

Name = Literal["small"]


@dataclass(frozen=True, kw_only=True)
class Network:
    """Which classifier to build: its name, and the channels of its first stage."""

    name: Name = "small"
    width: int = 32


def build(network: Network, classes: int, seed: int) -> Classifier:
    """Returns a new classifier on the CPU, its weights drawn from (seed, "weights") alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator("cpu", seed, "weights").initial_seed())
        match network.name:
            case "small":
                return SmallNet(classes, network.width)
            case unknown:
                assert_never(unknown)
