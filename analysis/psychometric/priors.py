"""Prior densities of the parameters, with their slopes and curvatures.

Ours: asymptotes Beta(1, b) on (0, 0.5), overdispersion Beta(1, 10) on (0, 1), ln w normal or flat, m flat. As an
option those of psignifit 4 (Schütt et al. 2016, appendix A), which depend on the levels that were tested.
All are densities of the parameter itself (no Jacobian), so that the mode does not depend on the parametrisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from analysis.psychometric.sigmoids import Floats

ASYMPTOTE = 0.5  # the most that γ and λ may be
BETA = 10.0  # γ, λ, η ~ Beta(1, 10)
NEVER = -1e10  # log density where a parameter may not be
LEAST_COSINE = 1e-5

Terms = tuple[Floats, Floats, Floats]
"""Log density, its slope, and minus its second derivative (not negative), each of the shape of the argument."""


@dataclass(frozen=True, kw_only=True)
class LevelPrior:
    """psignifit 4's priors of m and w: ``low`` and ``high`` end what was tested, ``gap`` is the least distance.

    m is flat between the ends and falls as a cosine to 0 half a range beyond; w rises from ``gap`` to twice as much,
    is flat to the range D and falls to 0 at 3 D.
    """

    low: float
    high: float
    gap: float

    def __post_init__(self) -> None:
        if not (self.low < self.high and 0 < self.gap <= self.high - self.low):
            raise ValueError(f"LevelPrior: expected low < high and 0 < gap ≤ their distance, got {self}")

    @property
    def span(self) -> float:
        """D, the range of what was tested."""
        return self.high - self.low

    def threshold(self, m: Floats) -> Terms:
        """Returns the terms over m."""
        half = self.span / 2
        inside = np.clip(m, self.low, self.high)
        return cosine_fall((m - inside) / half, 1 / half)

    def width(self, log_w: Floats) -> Terms:
        """Returns the terms over ln w, of the density of w."""
        w = np.exp(log_w)
        rise = cosine_fall(np.minimum(w - 2 * self.gap, 0) / self.gap, 1 / self.gap)
        fall = cosine_fall(np.maximum(w - self.span, 0) / (2 * self.span), 1 / (2 * self.span))
        value, slope, curvature = (one + other for one, other in zip(rise, fall, strict=True))
        return value, slope * w, np.maximum(curvature * w**2 - slope * w, 0)


def level_prior(levels: Floats) -> LevelPrior:
    """Returns psignifit's prior for tested levels [L]; those that are −∞ (no signal) count for nothing."""
    distinct = np.unique(levels[np.isfinite(levels)])
    return LevelPrior(low=float(distinct[0]), high=float(distinct[-1]), gap=float(np.diff(distinct).min()))


def cosine_fall(distance: Floats, scale: float) -> Terms:
    """Returns the terms of ln((1 + cos(π d)) / 2), d in (−1, 1), over x where d = ``scale`` · x + constant."""
    half = np.pi / 2 * distance
    cosine = np.cos(half)
    inside = (np.abs(distance) < 1) & (cosine > LEAST_COSINE)
    cosine = np.where(inside, cosine, 1.0)
    rate = np.pi / 2 * scale
    value = np.where(inside, 2 * np.log(cosine), NEVER)
    slope = np.where(inside, -2 * rate * np.sin(half) / cosine, 0.0)
    falling = inside & (distance != 0)  # at 0 the density is flat on one side: a curvature there made fits crawl
    return value, slope, np.where(falling, 2 * (rate / cosine) ** 2, 0.0)


def normal_prior(value: Floats, centre: float, sd: float) -> Terms:
    """Returns the terms of a normal density."""
    return -(((value - centre) / sd) ** 2) / 2, (centre - value) / sd**2, np.full_like(value, 1 / sd**2)


def beta_prior(logit: Floats, beta: float = BETA, ceiling: float = ASYMPTOTE) -> Terms:
    """Returns the terms over ``logit`` of the Beta(1, ``beta``) prior on ``ceiling`` · expit(logit)."""
    value = ceiling * special.expit(logit)
    slope = value * (1 - value / ceiling)
    weight = (beta - 1) / np.maximum(1 - value, 1e-12)
    return (beta - 1) * np.log1p(-np.minimum(value, 1 - 1e-12)), -weight * slope, weight / (1 - value) * slope**2
