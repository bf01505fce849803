"""What Square tries in L2: pairs of bumps of opposite sign, and what is left of the budget moved into a window.

Source: Andriushchenko et al. 2020 (arXiv 1912.00049), section 3.4 and its equation of a bump. Everything is in units of
the limits, in which the budget is a ball of radius 1, whatever its map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.front import Front
from core.attacks.windows import Box, signs
from core.tensors import Images

_TILES = 5  # along the shorter side of the box, at the start
_LEAST_SIDE = 3  # of a window: two bumps of one pixel each are hardly a shape
_TINY = 1e-12


@dataclass(frozen=True)
class _Draw:
    """One draw of all pictures: the shape with which to fill windows, its sign, and where to take from.

    shape: [B, 1, H, W], 0 outside the window that is filled; sign: ±1, [B, C, 1, 1]; filled, emptied: [B, 1, H, W].
    """

    shape: Tensor
    sign: Tensor
    filled: Tensor
    emptied: Tensor


class Bumps:
    """Candidates for the rows of a front; ``leave`` follows the rows that leave it."""

    def __init__(self, front: Front, generator: torch.Generator) -> None:
        self._front, self._generator = front, generator
        self._box = Box.around(front.x, front.budget)
        self._draws: Iterator[_Draw] = iter(())

    def start(self) -> Images:
        """Returns pictures with a tiling of pairs of bumps that spends the whole budget."""
        batch, channels, height, width = self._front.x.shape
        side = (torch.minimum(self._box.height, self._box.width) // _TILES).clamp(min=1)[:, None]
        rows, columns = (
            torch.arange(size, device=side.device) - first[:, None]
            for size, first in ((height, self._box.top), (width, self._box.left))
        )
        drawn = signs((batch, channels + 1, height, width), self._generator)
        tiles = (rows.clamp(min=0) // side)[:, None, :, None], (columns.clamp(min=0) // side)[:, None, None, :]
        number = (torch.arange(size, device=side.device).view(shape) for size, shape in
                  ((batch, (-1, 1, 1, 1)), (channels + 1, (1, -1, 1, 1))))  # fmt: skip
        of_tile = drawn[(*number, *tiles)]
        shape = _pair(rows % side, columns % side, side, of_tile[:, 0])
        offset = shape[:, None] * (2.0 * of_tile[:, 1:] - 1) * self._allowed
        return self._placed(_unit(offset, (1, 2, 3)))

    def leave(self, kept: Tensor) -> None:
        """Goes on with the rows that are kept; the front has done so already."""
        self._box = self._box.of(kept)

    def draw(self, shares: Sequence[float]) -> None:
        """Draws the windows of the next candidates, one pair for each of ``shares`` of the changeable pixels."""
        self._draws = self._drawn(shares)

    def candidate(self, now: Images) -> Images:
        """Returns ``now`` with another pair of bumps added in one window, at the cost of another window.

        Each channel of the first window gets what both had, and its share of what is unspent. A channel that has
        nothing to change in the window stays.
        """
        draw, allowed = next(self._draws), self._allowed
        offset = (now - self._front.x) / self._front.budget.eps.clamp(min=_TINY) * allowed
        shape = (draw.shape * allowed).expand_as(offset)
        unspent = (1 - _energy(offset, (1, 2, 3))).clamp(min=0) / offset.shape[1]
        either = draw.filled | draw.emptied
        available = (_energy(offset * either, (2, 3)) + unspent).sqrt()
        aim = _unit(_unit(offset * draw.filled, (2, 3)) + draw.sign * _unit(shape, (2, 3)), (2, 3))
        moved = torch.where(either, aim * available, offset)
        return self._placed(torch.where(shape.any(dim=3, keepdim=True).any(dim=2, keepdim=True), moved, offset))

    @property
    def _allowed(self) -> Tensor:
        return self._front.budget.eps > 0

    def _placed(self, offset: Images) -> Images:
        front = self._front
        return front.budget.project(front.x, front.x + offset * front.budget.eps)

    def _drawn(self, shares: Sequence[float]) -> Iterator[_Draw]:
        batch, channels, height, width = self._front.x.shape
        filled, emptied = (self._box.draw(shares, self._generator, least=_LEAST_SIDE) for _ in range(2))
        drawn = signs((len(shares), batch, channels + 1, 1, 1), self._generator)
        places = [torch.arange(size, device=drawn.device) for size in (height, width)]
        windows = [(w.tall(height), w.wide(width)) for w in (filled, emptied)]
        for number in range(len(shares)):
            first, second = (
                (tall[number][:, None, :, None] & wide[number][:, None, None, :]) for tall, wide in windows
            )
            rows, columns = places[0] - filled.top[number][:, None], places[1] - filled.left[number][:, None]
            shape = _pair(rows, columns, filled.side[number][:, None], drawn[number][:, 0])
            yield _Draw(shape[:, None] * first, 2.0 * drawn[number][:, 1:] - 1, first, second)


def _pair(rows: Tensor, columns: Tensor, side: Tensor, upright: Tensor) -> Tensor:
    """Returns two bumps of opposite sign that halve a window, one above the other where ``upright``, or side by side.

    The height of a bump at distance d from its middle (the larger of rows and columns) is Σ_{j = d + 1}^{n + 1} 1 / j²
    with n = ⌊side / 2⌋.

    Args:
        rows: of pixels, counted from the window's first, [B, H].
        columns: likewise, [B, W].
        side: of the window, [B, 1].
        upright: [B, H or 1, W or 1].
    """
    half = side // 2
    sums = (1 / torch.arange(1.0, 2 + max(rows.shape[1], columns.shape[1]), device=rows.device).square()).cumsum(0)
    sums = torch.cat([sums.new_zeros(1), sums])
    far = [(_middle_of_half(places, side), (places - half).abs(), places >= half) for places in (rows, columns)]
    (tall, across_rows, below), (wide, across_columns, beyond) = far
    distance = torch.where(
        upright,
        torch.maximum(tall[:, :, None], across_columns[:, None]),
        torch.maximum(across_rows[:, :, None], wide[:, None]),
    )
    sign = torch.where(torch.where(upright, below[:, :, None], beyond[:, None]), -1.0, 1.0)
    last = (half + 1).long()[:, :, None]
    return sign * (sums[last] - sums[distance.long().minimum(last)])


def _middle_of_half(places: Tensor, side: Tensor) -> Tensor:
    """Returns how far each place along a window is from the middle of the half in which it lies."""
    half = side // 2
    middle = torch.where(places < half, half // 2, half + (side - half) // 2)
    return (places - middle).abs()


def _energy(offset: Tensor, over: tuple[int, ...]) -> Tensor:
    return offset.square().sum(dim=over, keepdim=True)


def _unit(offset: Tensor, over: tuple[int, ...]) -> Tensor:
    return offset / _energy(offset, over).sqrt().clamp(min=_TINY)
