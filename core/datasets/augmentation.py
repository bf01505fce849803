"""Random crop and horizontal flip, drawn once for each picture and applied alike to the picture and its map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Settings: pixels of reflected border from which crops may start, and whether to mirror half of the pictures."""

    crop_border: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.crop_border < 0:
            raise ConfigError(f"augmentation: crop_border: expected at least 0, got {self.crop_border}")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What was drawn for a batch: offsets of the crops (0..2 × border), [B], and which pictures are mirrored, [B]."""

    top: Tensor
    left: Tensor
    mirrored: Tensor
    border: int

    def apply(self, planes: Tensor) -> Tensor:
        """Returns pictures or maps ([B, C, H, W], any dtype) cropped and mirrored as drawn."""
        height, width = planes.shape[-2:]
        rows = self.top[:, None] + torch.arange(height, device=planes.device) - self.border
        columns = self.left[:, None] + torch.arange(width, device=planes.device) - self.border
        columns = torch.where(self.mirrored[:, None], columns.flip(1), columns)
        batch = torch.arange(len(planes), device=planes.device)[:, None, None, None]
        channels = torch.arange(planes.shape[1], device=planes.device)[None, :, None, None]
        return planes[
            batch, channels, _reflect(rows, height)[:, None, :, None], _reflect(columns, width)[:, None, None]
        ]


def draw(augmentation: Augmentation, pictures: int, generator: torch.Generator) -> Draw:
    """Returns what happens to each of ``pictures`` pictures, on the generator's device."""
    limit, device = 2 * augmentation.crop_border + 1, generator.device
    top, left = torch.randint(limit, (2, pictures), generator=generator, device=device)
    coin = torch.rand(pictures, generator=generator, device=device) < (0.5 if augmentation.flip else 0.0)
    return Draw(top=top, left=left, mirrored=coin, border=augmentation.crop_border)


def _reflect(index: Tensor, size: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= size, 2 * (size - 1) - index, index)
