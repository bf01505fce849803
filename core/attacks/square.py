"""Square, a random search that sees logits only (Andriushchenko et al. 2020, arXiv 1912.00049), inside any mask.

What differs from the published one, since a budget is a map here: each picture has windows of its own, whose places are
drawn inside the box around the pixels that it may change, and whose area is a share of these pixels. Limits are the
picture's own at every element. In full-picture budgets that is the published attack with one draw for each picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import torch

from core.attacks.front import Front
from core.attacks.square_l2 import Bumps
from core.attacks.square_linf import Squares
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
        share: of the changeable pixels that the first squares cover, in L2 the first windows.
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
        ConfigError: the budget is one of moves.
    """
    search = _search(front, generator)
    now = search.start()
    gap = _gap(front, now)
    for query in range(1, settings.queries):
        if (kept := front.leaving(query)) is not None:
            now, gap = now[kept], gap[kept]
            search.leave(kept)
            if front.empty:
                break
        if kept is not None or query % _DRAWN_AT_ONCE == 1:
            search.draw(_shares(settings, query))
        candidate = search.candidate(now)
        value = _gap(front, candidate)
        closer = value < gap
        now, gap = torch.where(closer[:, None, None, None], candidate, now), torch.where(closer, value, gap)
    return front.found(otherwise=now)


def _search(front: Front, generator: torch.Generator) -> Squares | Bumps:
    """Returns what to try in budgets of this norm."""
    match front.budget.norm:
        case "linf":
            return Squares(front, generator)
        case "l2":
            return Bumps(front, generator)
        case "flow":
            raise ConfigError("square: expected a budget of norm 'linf' or 'l2', got 'flow'; leave it out there")
        case unknown:
            assert_never(unknown)


def _gap(front: Front, point: Images) -> PerPicture:
    """Returns by how much each picture has still to move its logits; less is closer.

    In float32 always: what a query gains is often less than bfloat16 can tell.
    """
    with torch.autocast(point.device.type, enabled=False):
        front.look(point)
    return front.ahead


def _shares(settings: Square, query: int) -> list[float]:
    """Returns the share of the changeable pixels of windows from ``query`` on, until they are drawn again."""
    last = query + _DRAWN_AT_ONCE - (query - 1) % _DRAWN_AT_ONCE
    return [settings.share * _share_after(number, settings.queries) for number in range(query, last)]


def _share_after(query: int, queries: int) -> float:
    """Returns what remains of the first squares' area: the published schedule, rescaled to the number of queries."""
    return 0.5 ** sum(query * 10_000 // queries > halved for halved in _HALVED_AFTER)
