"""Quadrature of one parameter with nodes where its density is: equal or Gauss's steps of s, where x = c + b sinh s.

Near c steps are about equal in x, in the tails they grow, so that few nodes serve a narrow density with long tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.polynomial import legendre
from scipy.interpolate import CubicSpline

from analysis.psychometric.sigmoids import Floats

Rule = Literal["midpoint", "gauss"]
FINER = 16  # points of a distribution function for each node
LEAST_MASS = 1e-30
FEWEST = 4  # nodes that a cubic spline needs


@dataclass(frozen=True, kw_only=True)
class Axis:
    """n = ``size`` nodes over [``low``, ``high``], closest at ``centre``; ``scale`` is b. A fixed parameter has one."""

    low: float
    high: float
    size: int
    centre: float = 0.0
    scale: float = 1.0
    rule: Rule = "midpoint"

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to integrate."""
        return self.low == self.high

    @property
    def nodes(self) -> Floats:
        """Values of the parameter, [n]."""
        return np.array([self.low]) if self.fixed else self.at(places(self.rule, self.size)[0])

    @property
    def edges(self) -> Floats:
        """Ends of the cells that the nodes stand for, [n + 1]."""
        return np.array([self.low]) if self.fixed else self.at(places(self.rule, self.size)[2])

    @property
    def log_weights(self) -> Floats:
        """Logarithms of what a density at the nodes is to be multiplied by, [n]."""
        if self.fixed:
            return np.zeros(1)
        nodes, weights, _ = places(self.rule, self.size)
        first, last = self._ends
        return np.log(weights * (last - first) * self.scale * np.cosh(first + (last - first) * nodes))

    @property
    def _ends(self) -> tuple[float, float]:
        first, last = np.arcsinh((np.array([self.low, self.high]) - self.centre) / self.scale)
        return float(first), float(last)

    def at(self, t: Floats) -> Floats:
        """Returns the parameter at shares t, 0 to 1, of the range of s."""
        first, last = self._ends
        return np.clip(self.centre + self.scale * np.sinh(first + (last - first) * t), self.low, self.high)

    def quantile(self, mass: Floats, share: Floats) -> Floats:
        """Returns the values below which shares of the mass [n] of the nodes lie.

        The logarithm of the density over s, a parabola where it is normal, is a cubic spline between the nodes.
        """
        if self.fixed:
            return np.full(np.shape(share), self.low)
        nodes, weights, _ = places(self.rule, self.size)
        points = np.linspace(0, 1, FINER * self.size + 1)
        heights = np.log(np.maximum(mass / mass.max(), LEAST_MASS) / weights)
        if self.size < FEWEST:
            density = np.exp(np.interp(points, nodes, heights))
        else:
            density = np.exp(np.minimum(CubicSpline(nodes, heights)(points), heights.max() + 1))
        below = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
        return self.at(np.interp(np.asarray(share) * below[-1], below, points))


@cache
def places(rule: Rule, size: int) -> tuple[Floats, Floats, Floats]:
    """Returns nodes and weights [n] on [0, 1], and the edges [n + 1] of cells as wide as the weights around them.

    Partial sums of Gauss's weights separate his nodes (Chebyshev, Markov and Stieltjes).
    """
    if rule == "midpoint":
        edges = np.linspace(0, 1, size + 1)
        return (edges[1:] + edges[:-1]) / 2, np.full(size, 1 / size), edges
    nodes, weights = legendre.leggauss(size)
    return (nodes + 1) / 2, weights / 2, np.concatenate([[0.0], np.cumsum(weights) / 2])
