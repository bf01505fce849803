"""Quadrature of a parameter with nodes where its density is: equal or Gauss's steps of s, where x = c + b sinh s.

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """n = ``size`` nodes over [``low``, ``high``], closest at ``centre``, of B data sets, each [B]; ``scale`` is b.

    A fixed parameter has one node, ``low``.
    """

    low: Floats
    high: Floats
    size: int
    centre: Floats
    scale: Floats
    rule: Rule = "midpoint"

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to integrate."""
        return self.size == 1

    @property
    def nodes(self) -> Floats:
        """Values of the parameter, [B, n]."""
        return self.low[:, None] if self.fixed else self.at(places(self.rule, self.size)[0])

    @property
    def edges(self) -> Floats:
        """Ends of the cells that the nodes stand for, [B, n + 1]."""
        return self.low[:, None] if self.fixed else self.at(places(self.rule, self.size)[2])

    @property
    def log_weights(self) -> Floats:
        """Logarithms of what a density at the nodes is to be multiplied by, [B, n]."""
        if self.fixed:
            return np.zeros((len(self.low), 1))
        nodes, weights, _ = places(self.rule, self.size)
        first, length = self._s
        return np.log(weights * length * self.scale[:, None] * np.cosh(first + length * nodes))

    @property
    def _s(self) -> tuple[Floats, Floats]:
        """The least s and the length of its range, [B, 1]."""
        first, last = (np.arcsinh((end - self.centre) / self.scale)[:, None] for end in (self.low, self.high))
        return first, last - first

    def at(self, t: Floats) -> Floats:
        """Returns the parameter [B, K] at shares t [K] or [B, K], 0 to 1, of the range of s."""
        first, length = self._s
        value = self.centre[:, None] + self.scale[:, None] * np.sinh(first + length * t)
        return np.clip(value, self.low[:, None], self.high[:, None])

    def quantiles(self, mass: Floats, shares: Floats) -> Floats:
        """Returns the values [B, K] below which shares [K] of the mass [B, n] of the nodes lie.

        The logarithm of the density over s, a parabola where it is normal, is a cubic spline between the nodes.
        """
        if self.fixed:
            return np.broadcast_to(self.low[:, None], (len(self.low), len(shares)))
        nodes, weights, _ = places(self.rule, self.size)
        points = np.linspace(0, 1, FINER * self.size + 1)
        heights = np.log(np.maximum(mass / mass.max(axis=1, keepdims=True), LEAST_MASS) / weights)
        between = CubicSpline(nodes, heights, axis=1)(points)
        density = np.exp(np.minimum(between, heights.max(axis=1, keepdims=True) + 1))
        below = np.cumsum(density[:, 1:] + density[:, :-1], axis=1)
        found = [np.interp(shares * each[-1], np.concatenate([[0.0], each]), points) for each in below]
        return self.at(np.array(found))


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
