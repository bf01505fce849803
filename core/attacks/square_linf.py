"""What Square tries in L∞: vertical stripes, then squares, each channel at an end of its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from core.attacks.front import Front
from core.attacks.windows import Box, signs
from core.tensors import Images


class Squares:
    """Candidates for the rows of a front; ``leave`` follows the rows that leave it."""

    def __init__(self, front: Front, generator: torch.Generator) -> None:
        self._generator, self._box = generator, Box.around(front.x, front.budget)
        self._lowest, self._highest = (
            front.budget.project(front.x, front.x + sign * front.budget.eps) for sign in (-1, 1)
        )
        self._draws: Iterator[tuple[Tensor, Tensor]] = iter(())

    def start(self) -> Images:
        """Returns pictures with random stripes of one pixel's width."""
        batch, channels, _, width = self._lowest.shape
        return torch.where(signs((batch, channels, 1, width), self._generator), self._highest, self._lowest)

    def leave(self, kept: Tensor) -> None:
        """Goes on with the rows that are kept."""
        self._lowest, self._highest, self._box = self._lowest[kept], self._highest[kept], self._box.of(kept)

    def draw(self, shares: Sequence[float]) -> None:
        """Draws the squares of the next candidates, one for each of ``shares`` of the changeable pixels."""
        self._draws = self._drawn(shares)

    def candidate(self, now: Images) -> Images:
        """Returns ``now`` with the next square in each picture."""
        inside, up = next(self._draws)
        return torch.where(inside, torch.where(up, self._highest, self._lowest), now)

    def _drawn(self, shares: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields where the squares lie, [B, 1, H, W], and which channels they raise, [B, C, 1, 1]."""
        batch, channels, height, width = self._lowest.shape
        windows = self._box.draw(shares, self._generator)
        raised = signs((len(shares), batch, channels, 1, 1), self._generator)
        for tall, wide, up in zip(windows.tall(height), windows.wide(width), raised, strict=True):
            yield tall[:, None, :, None] & wide[:, None, None, :], up
