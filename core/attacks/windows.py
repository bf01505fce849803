"""Where a random search changes pictures: square windows, inside the box around what each picture may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.budget import Budget
from core.tensors import Images


@dataclass(frozen=True)
class Windows:
    """Square windows, one a picture and draw: first row, first column and side, whole numbers, [..., B]."""

    top: Tensor
    left: Tensor
    side: Tensor

    def tall(self, height: int) -> Tensor:
        """Returns which of ``height`` rows each window takes; [..., B, H]."""
        return _between(height, self.top, self.side)

    def wide(self, width: int) -> Tensor:
        """Returns which of ``width`` columns each window takes; [..., B, W]."""
        return _between(width, self.left, self.side)


@dataclass(frozen=True)
class Box:
    """The smallest box around the pixels that each picture may change: its place, its sides, count of these pixels."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    pixels: Tensor

    @staticmethod
    def around(x: Images, budget: Budget) -> Box:
        """Returns the boxes of ``x``."""
        batch, _, height, width = x.shape
        allowed = (budget.eps > 0).any(dim=1).expand(batch, height, width)
        top, tall = _extent(allowed.any(dim=2))
        left, wide = _extent(allowed.any(dim=1))
        return Box(top, left, tall, wide, allowed.flatten(1).sum(dim=1))

    def of(self, kept: Tensor) -> Box:
        """Returns the boxes of the pictures that are kept."""
        return Box(*(getattr(self, field.name)[kept] for field in dataclasses.fields(self)))

    def draw(self, shares: Sequence[float], generator: torch.Generator, *, least: int = 1) -> Windows:
        """Returns a random window for each of ``shares`` of the changeable pixels and each picture, [shares, B].

        ``least`` is the shortest side, where the box is as long.
        """
        area = torch.tensor(shares, device=self.pixels.device)[:, None] * self.pixels
        side = area.sqrt().round().clamp(min=least).minimum(torch.minimum(self.height, self.width))
        drawn = torch.rand((2, *side.shape), generator=generator, device=side.device)
        top = self.top + (drawn[0] * (self.height - side + 1)).floor()
        return Windows(top=top, left=self.left + (drawn[1] * (self.width - side + 1)).floor(), side=side)


def signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns random bools of ``shape``."""
    return torch.randint(0, 2, shape, generator=generator, device=generator.device, dtype=torch.uint8).bool()


def _extent(hit: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first place that is hit in each row, and the distance to the last, both ends included."""
    size = hit.shape[1]
    places = torch.arange(size, device=hit.device)
    first = torch.where(hit, places, size).amin(dim=1)
    last = torch.where(hit, places, -1).amax(dim=1)
    return first.clamp(max=size - 1), (last - first + 1).clamp(min=1)


def _between(size: int, first: Tensor, length: Tensor) -> Tensor:
    places = torch.arange(size, device=first.device)
    return (places >= first[..., None]) & (places < (first + length)[..., None])
