"""A cell of the simulation: what is simulated, how often, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.coverage.acceptance import Share


@dataclass(frozen=True, kw_only=True)
class Cell:
    """``one(seed, number)`` simulates a study (or a batch of them), ``shares`` puts all of them together."""

    name: str
    words: str
    times: int
    one: Callable[[int, int], Any]
    shares: Callable[[Sequence[Any]], list[Share]]
