"""The purifier: a small U-shaped net of gated convolutions that completes what a random transform has destroyed.

Gated convolutions are those of Yu et al. 2019 (arXiv 1806.03589), whose in-painting net the AToP paper fine-tunes at
256×256; ours is far smaller, has no norm layers (a picture's completion depends on no other picture, and training and
evaluation mode are the same) and is trained from scratch at any size from 8×8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.tensors import Images


class GatedConvolution(nn.Module):
    """ELU of one convolution times the sigmoid of another: the net learns which pixels to believe."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, 2 * outputs, 3, stride=stride, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the gated features."""
        features, gate = self.convolution(x).chunk(2, dim=1)
        return functional.elu(features) * torch.sigmoid(gate)


class Purifier(nn.Module):
    """Maps a transformed picture and its mask ([B, 4, H, W], 1 = missing) to the whole picture, RGB in [0, 1].

    Two halvings, two dilated convolutions at a quarter of the size, two doublings with the finer features beside them.
    """

    def __init__(self, width: int) -> None:
        """Builds the net with ``width`` channels at full size, 2 × and 4 × as many at a half and a quarter."""
        super().__init__()
        self.at_full = GatedConvolution(4, width)
        self.at_half = GatedConvolution(width, 2 * width, stride=2)
        self.at_quarter = nn.Sequential(
            GatedConvolution(2 * width, 4 * width, stride=2),
            GatedConvolution(4 * width, 4 * width, dilation=2),
            GatedConvolution(4 * width, 4 * width, dilation=4),
        )
        self.to_half = GatedConvolution(6 * width, 2 * width)
        self.to_full = GatedConvolution(3 * width, width)
        self.picture = nn.Conv2d(width + 4, 3, 3, padding=1)

    def forward(self, x: Images) -> Images:
        """Returns the completed pictures, [B, 3, H, W] in [0, 1]."""
        full = self.at_full(x)
        half = self.at_half(full)
        up = self.to_half(torch.cat([_doubled(self.at_quarter(half), half), half], dim=1))
        up = self.to_full(torch.cat([_doubled(up, full), full], dim=1))
        return torch.sigmoid(self.picture(torch.cat([up, x], dim=1)).to(x.dtype))


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """Returns ``x`` at twice its size, every value four times, cut to the size of ``like``.

    By copies rather than by interpolation, whose backward pass on a GPU need not be deterministic.
    """
    batch, channels, height, width = x.shape
    copies = x[:, :, :, None, :, None].expand(batch, channels, height, 2, width, 2)
    return copies.reshape(batch, channels, 2 * height, 2 * width)[..., : like.shape[-2], : like.shape[-1]]
