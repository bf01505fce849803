"""The discriminator that tells pictures from completions, and its hinge losses.

Sources: spectral normalisation, Miyato et al. 2018 (arXiv 1802.05957); hinge losses, their equations 16 and 17; patches
judged one by one and the mask as a fourth channel, Yu et al. 2019 (arXiv 1806.03589).
"""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import spectral_norm

from core.tensors import Images, PerPicture, Salience

Verdicts = Float[Tensor, "batch 1 rows columns"]  # one a patch; above 0 = a picture, below 0 = a completion


class Discriminator(nn.Module):
    """Four 5×5 convolutions of stride 2 and a 3×3 head, all spectrally normalised; leaky ReLU (slope 0.2) between."""

    def __init__(self, width: int) -> None:
        """Builds the net with ``width`` channels after the first convolution, at most 4 × as many later."""
        super().__init__()
        channels = (4, width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)), nn.LeakyReLU(0.2)]
        self.patches = nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels[-1], 1, 3, padding=1)))

    def forward(self, x: Images, mask: Salience) -> Verdicts:
        """Returns a verdict on each patch of pictures in [0, 1] whose completed pixels ``mask`` marks with 1."""
        verdicts: Verdicts = self.patches(torch.cat([x, mask], dim=1)).to(x.dtype)
        return verdicts


def judge_detached(discriminator: Discriminator, x: Images, mask: Salience) -> Verdicts:
    """Returns the verdicts with gradients for ``x`` but none for the discriminator's weights."""
    weights = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    verdicts: Verdicts = functional_call(discriminator, weights, (x, mask))
    return verdicts


def discriminator_hinge(real: Verdicts, completed: Verdicts) -> PerPicture:
    """Returns ½ (relu(1 − D(real)) + relu(1 + D(completed))), the mean over the patches of each picture."""
    return (torch.relu(1 - real) + torch.relu(1 + completed)).flatten(1).mean(dim=1) / 2


def purifier_hinge(completed: Verdicts) -> PerPicture:
    """Returns −D(completed), the mean over the patches of each picture."""
    return -completed.flatten(1).mean(dim=1)
