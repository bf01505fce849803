"""Square, a random search that sees logits only (Andriushchenko et al. 2020, arXiv 1912.00049), inside any mask.

What differs from the published one, since a budget is a map here: each picture has squares of its own, whose places are
drawn inside the box around the pixels that it may change, and whose area is a share of these pixels. Limits are the
picture's own at every element. In full-picture budgets that is the published attack with one draw for each picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.front import Front
from core.attacks.tries import Tries
from core.errors import ConfigError
from core.tensors import Images, PerPicture

_HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries; rescaled to as many as there are
_DRAWN_AT_ONCE = 32  # queries


@dataclass(frozen=True, kw_only=True)
class Square(Tries):
    """Settings of Square.

    Attributes:
        queries: forward passes.
        share: of the changeable pixels that the first squares cover.
    """

    queries: int = 5000
    share: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("queries")
        if not 0 < self.share <= 1:
            raise ConfigError(f"square: share: expected above 0 and at most 1, got {self.share}")

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return self.named(f"square-{self.queries}")


def square(front: Front, settings: Square, generator: torch.Generator) -> Images:
    """Returns a fooling point for each picture of ``front`` where there was one, or else the one of least margin.

    Raises:
        ConfigError: the budget is not L∞.
    """
    if front.budget.norm != "linf":
        raise ConfigError(f"square: expected a budget of norm 'linf', got {front.budget.norm!r}; leave it out there")
    box = _Box.around(front)
    lowest, highest = (front.budget.project(front.x, front.x + sign * front.budget.eps) for sign in (-1, 1))
    now = torch.where(_signs((*front.x.shape[:2], 1, front.x.shape[3]), generator), highest, lowest)
    gap = _gap(front, now)
    for query in range(1, settings.queries):
        if (kept := front.leaving(query)) is not None:
            now, gap, lowest, highest, box = now[kept], gap[kept], lowest[kept], highest[kept], box.of(kept)
            if front.empty:
                break
        if kept is not None or query % _DRAWN_AT_ONCE == 1:
            draws = iter(box.draw(_shares(settings, query), front.x.shape[1], generator))
        inside, up = next(draws)
        candidate = torch.where(inside, torch.where(up, highest, lowest), now)
        value = _gap(front, candidate)
        closer = value < gap
        now, gap = torch.where(closer[:, None, None, None], candidate, now), torch.where(closer, value, gap)
    return front.found(otherwise=now)


@dataclass(frozen=True)
class _Box:
    """The smallest box around the pixels that each picture may change: first row and column, sides, count of pixels."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    pixels: Tensor
    rows: Tensor  # 0, 1, … over the picture's rows, and its columns
    columns: Tensor

    @staticmethod
    def around(front: Front) -> _Box:
        batch, _, height, width = front.x.shape
        allowed = (front.budget.eps > 0).any(dim=1).expand(batch, height, width)
        rows = torch.arange(height, device=front.x.device)
        columns = torch.arange(width, device=front.x.device)
        top, tall = _extent(allowed.any(dim=2), rows)
        left, wide = _extent(allowed.any(dim=1), columns)
        return _Box(top, left, tall, wide, allowed.flatten(1).sum(dim=1), rows, columns)

    def of(self, kept: Tensor) -> _Box:
        names = ("top", "left", "height", "width", "pixels")
        return dataclasses.replace(self, **{name: getattr(self, name)[kept] for name in names})

    def draw(
        self, shares: Sequence[float], channels: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields for each of ``shares`` of the changeable pixels a random square of that area in each picture.

        That is where it lies, [B, 1, H, W], and which channels it raises, [B, C, 1, 1]. All are drawn at once.
        """
        area = torch.tensor(shares, device=self.pixels.device)[:, None] * self.pixels
        side = area.sqrt().round().clamp(min=1).minimum(torch.minimum(self.height, self.width))
        drawn = torch.rand((2, *side.shape), generator=generator, device=side.device)
        tall = _between(self.rows, self.top + (drawn[0] * (self.height - side + 1)).floor(), side)
        wide = _between(self.columns, self.left + (drawn[1] * (self.width - side + 1)).floor(), side)
        raised = _signs((*side.shape, channels, 1, 1), generator)
        for rows, columns, up in zip(tall, wide, raised, strict=True):
            yield rows[:, None, :, None] & columns[:, None, None, :], up


def _extent(hit: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first place that is hit in each row, and the distance to the last, both ends included."""
    size = len(places)
    first = torch.where(hit, places, size).amin(dim=1)
    last = torch.where(hit, places, -1).amax(dim=1)
    return first.clamp(max=size - 1), (last - first + 1).clamp(min=1)


def _between(places: Tensor, first: Tensor, length: Tensor) -> Tensor:
    return (places >= first[..., None]) & (places < (first + length)[..., None])


def _gap(front: Front, point: Images) -> PerPicture:
    """Returns by how much each picture has still to move its logits; less is closer.

    In float32 always: what a query gains is often less than bfloat16 can tell.
    """
    with torch.autocast(point.device.type, enabled=False):
        front.look(point)
    return front.ahead


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator, device=generator.device, dtype=torch.uint8).bool()


def _shares(settings: Square, query: int) -> list[float]:
    """Returns the share of the changeable pixels of squares from ``query`` on, until they are drawn again."""
    last = query + _DRAWN_AT_ONCE - (query - 1) % _DRAWN_AT_ONCE
    return [settings.share * _share_after(number, settings.queries) for number in range(query, last)]


def _share_after(query: int, queries: int) -> float:
    """Returns what remains of the first squares' area: the published schedule, rescaled to the number of queries."""
    return 0.5 ** sum(query * 10_000 // queries > halved for halved in _HALVED_AFTER)
