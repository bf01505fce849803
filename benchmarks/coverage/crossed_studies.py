"""Comparisons of two machines on the same pictures."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.coverage.acceptance import Share, erred
from core import rng
from core.evaluation_comparisons import mcnemar


def machines(seed: int, number: int) -> list[float]:
    """Returns McNemar p-values of 500 comparisons of two equally robust machines on the same 200 pictures."""
    generator = rng.numpy_generator(seed, "coverage of McNemar's test", number)
    hard = generator.standard_normal((500, 200))
    right = [hard + generator.standard_normal((500, 200)) > 0 for _ in range(2)]
    gained, lost = (right[0] & ~right[1]).sum(axis=1), (~right[0] & right[1]).sum(axis=1)
    return [mcnemar(int(g), int(n)) for g, n in zip(gained, lost, strict=True)]


def machine_shares(rows: Sequence[list[float]]) -> list[Share]:
    """Returns how often McNemar's exact test errs."""
    return [erred("McNemar's exact test of two machines", [p < 0.05 for row in rows for p in row], "not above")]
