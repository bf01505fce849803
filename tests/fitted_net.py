"""A small net that was trained for a moment on noise patterns, so that its margins are not all alike."""

from __future__ import annotations

import torch

from core import networks
from core.attacks.losses import cross_entropy
from core.networks import Network
from core.tensors import generator


def fitted_net(height, width):
    """Returns the net in evaluation mode, its 60 pictures and their five classes."""
    model = networks.build(Network(width=4), classes=5, seed=1)
    x = torch.rand(60, 3, height, width, generator=generator("cpu", 1))
    y = torch.arange(60) % 5
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        optimiser.zero_grad()
        cross_entropy(model(x), y).mean().backward()
        optimiser.step()
    return model.eval(), x, y
