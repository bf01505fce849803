"""ViT-B/16 of torchvision, for pictures and patches of any size, read out by the mean of its patch tokens.

Behind the last block the class token alone would carry the logits, and no gradient would reach the grid. The mean of
the patch tokens does as well as a read-out (Beyer et al. 2022, arXiv 2205.01580) and gives class-activation maps the
same meaning as in a convolutional network. The class token stays among the tokens, so that torchvision's weights fit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import ConfigError
from core.tensors import Features, Images
from core.torchvision_cpu import torchvision

BASE_WIDTH, DEPTH = 768, 12


class TokenGrid(nn.Module):
    """Maps pictures to the patch tokens behind the last block and its layer norm, as a grid."""

    def __init__(self, size: tuple[int, int], patch: int, width: int) -> None:
        """Builds the transformer.

        Args:
            size: (height, width) of the pictures; ``patch`` divides both.
            patch: side of a patch in pixels.
            width: of a token; 64 to a head, as in ViT-B.
        """
        super().__init__()
        whole = torchvision().models.VisionTransformer(
            image_size=patch,  # one patch: the positions of all of them follow
            patch_size=patch,
            num_layers=DEPTH,
            num_heads=heads(width),
            hidden_dim=width,
            mlp_dim=4 * width,
        )
        self.size, self.grid = size, (size[0] // patch, size[1] // patch)
        self.conv_proj, self.class_token, self.encoder = whole.conv_proj, whole.class_token, whole.encoder
        positions = torch.empty(1, 1 + math.prod(self.grid), width)
        self.encoder.pos_embedding = nn.Parameter(nn.init.normal_(positions, std=0.02))

    def forward(self, x: Images) -> Features:
        if tuple(x.shape[2:]) != self.size:
            raise ConfigError(
                f"vit-b-16: expected pictures of {self.size[1]}×{self.size[0]} pixels, for which it was built, got "
                f"{x.shape[3]}×{x.shape[2]}; set data.size"
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        tokens = self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), patches], dim=1))
        grid: Features = tokens[:, 1:].transpose(1, 2).unflatten(2, self.grid)
        return grid


def heads(width: int) -> int:
    """Returns how many attention heads a token of this width has."""
    return max(1, width // 64)


def patch_side(size: tuple[int, int], patch: int | None) -> int:
    """Returns the side of a patch: ``patch``, or the largest up to 16 that divides the picture into 8 × 8 or more.

    Raises:
        ConfigError: ``patch`` does not divide the picture.
    """
    both = math.gcd(*size)
    if patch is None:
        return max(side for side in range(1, 17) if both % side == 0 and (side == 1 or min(size) // side >= 8))
    if both % patch:
        raise ConfigError(
            f"network: patch: expected a divisor of {size[1]}×{size[0]} pixels, got {patch}; leave it out to have "
            f"{patch_side(size, None)}, or set data.size"
        )
    return patch


def fitted_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns the embeddings of positions, [1, 1 + tokens, width], of a square grid resized bicubically to ``grid``.

    The class token's stays as it is (Dosovitskiy et al. 2021, arXiv 2010.11929, section 3.2). Anything that is not of a
    square grid comes back unchanged.
    """
    side = math.isqrt(positions.shape[1] - 1)
    if side * side != positions.shape[1] - 1 or (side, side) == grid:
        return positions
    square = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    resized = functional.interpolate(square, grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
