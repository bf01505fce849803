"""What a simulated share may be if the method keeps its promise: exact binomial bounds at α = 0.01 a check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom, kstest

from analysis.intervals import wilson

Gate = Literal["inside", "not below", "not above", "reported"]
ALPHA = 0.01  # of each check
GATES: dict[Gate, str] = {
    "inside": "correctly specified: inside the band",
    "not below": "documented as conservative: not below the band",
    "not above": "documented as conservative: not above the band",
    "reported": "reported, not judged",
}


@dataclass(frozen=True, kw_only=True)
class Share:
    """How often something happened that should with probability ``nominal``; ``gate`` says how it is judged.

    Attributes:
        kind: ``coverage`` of an interval, ``error`` of a test, or ``uniform``: Kolmogorov-Smirnov p of p-values.
        below: of a coverage, how often the truth lay below the interval; ``above``: above it.
        width: median width of the intervals.
        sides: whether misses on either side are judged too (each should be half of them); not where a method is
            documented as asymmetric.
    """

    quantity: str
    kind: Literal["coverage", "error", "uniform"]
    value: float
    n: int
    nominal: float
    gate: Gate
    below: int | None = None
    above: int | None = None
    width: float | None = None
    sides: bool = False

    @property
    def band(self) -> tuple[float, float]:
        """What ``value`` may be."""
        return self.band_at(ALPHA)

    @property
    def met(self) -> bool | None:
        """Whether it is; ``None`` where it is not judged."""
        return self.met_at(ALPHA)

    def band_at(self, alpha: float) -> tuple[float, float]:
        """What ``value`` is but for ``alpha`` where the method keeps its promise."""
        return (alpha, 1.0) if self.kind == "uniform" else binomial_band(self.n, self.nominal, alpha)

    def met_at(self, alpha: float) -> bool | None:
        """Whether ``value`` lies where it does but for ``alpha``; ``None`` where it is not judged."""
        low, high = self.band_at(alpha)
        verdicts = {
            "inside": low <= self.value <= high and self.balanced(alpha),
            "not below": low <= self.value and self.balanced(alpha),
            "not above": self.value <= high,
        }
        return verdicts.get(self.gate)

    def balanced(self, alpha: float) -> bool:
        """Whether neither side has more misses than chance allows; true where sides are not judged."""
        if not self.sides or self.below is None or self.above is None:
            return True
        return max(self.below, self.above) / self.n <= side_limit(self.n, self.nominal, alpha)


def binomial_band(n: int, nominal: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Returns the least and the largest share of ``n`` that a probability ``nominal`` gives but for ``alpha``."""
    return float(binom.ppf(alpha / 2, n, nominal) / n), float(binom.ppf(1 - alpha / 2, n, nominal) / n)


def side_limit(n: int, nominal: float, alpha: float = ALPHA) -> float:
    """Returns the largest share of ``n`` that may be missed on one side (0.0345 of 2000 intervals at 95 %)."""
    return float(binom.ppf(1 - alpha / 2, n, (1 - nominal) / 2) / n)


def spread(share: Share) -> tuple[float, float] | None:
    """Returns the 95 % Wilson interval of a share; ``None`` for a p-value."""
    if share.kind == "uniform":
        return None
    low, high = wilson(np.array(share.value * share.n), np.array(float(share.n)))
    return float(low), float(high)


def covered(
    quantity: str,
    intervals: Sequence[tuple[float, float]],
    truth: float,
    gate: Gate,
    nominal: float = 0.95,
    *,
    sides: bool = False,
) -> Share:
    """Returns the coverage of intervals (low, high)."""
    low, high = np.array(intervals, dtype=float).T
    hit = (low <= truth) & (truth <= high)
    finite = np.isfinite(high - low)
    return Share(
        quantity=quantity, kind="coverage", value=float(hit.mean()), n=len(hit), nominal=nominal, gate=gate,
        below=int((truth < low).sum()), above=int((truth > high).sum()),
        width=float(np.median((high - low)[finite])) if finite.any() else None, sides=sides,
    )  # fmt: skip


def erred(quantity: str, rejected: Sequence[bool], gate: Gate, nominal: float = 0.05) -> Share:
    """Returns how often a test rejected what was true."""
    values = np.array(rejected, dtype=float)
    return Share(
        quantity=quantity, kind="error", value=float(values.mean()), n=len(values), nominal=nominal, gate=gate
    )  # fmt: skip


def uniform(quantity: str, p: Sequence[float], gate: Gate) -> Share:
    """Returns the Kolmogorov-Smirnov p-value of p-values under the model that made the data."""
    value = float(kstest(np.array(p, dtype=float), "uniform").pvalue)
    return Share(quantity=quantity, kind="uniform", value=value, n=len(p), nominal=0.5, gate=gate)
