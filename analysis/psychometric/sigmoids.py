"""The shapes of psychometric functions: distribution functions in standard form.

Table of Schütt, Harmeling, Macke & Wichmann (2016), Vision Research 122, 105-123, with Student's t with one degree of
freedom and the hyperbolic secant. A Weibull function of x is the Gumbel one of ln x, with x = 0 at −∞.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Shape = Literal["normal", "logistic", "gumbel", "reverse-gumbel", "hyperbolic-secant", "student-t"]
Family = Shape | Literal["weibull"]
WIDTH_TAIL = 0.05
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, kw_only=True)
class Sigmoid:
    """A distribution function, its density, the density's slope and the quantile function, all in standard form."""

    cdf: Callable[[Floats], Floats]
    density: Callable[[Floats], Floats]
    density_slope: Callable[[Floats], Floats]
    quantile: Callable[[float], float]

    @property
    def width(self) -> float:
        """Distance between the 5 % and the 95 % point."""
        return self.quantile(1 - WIDTH_TAIL) - self.quantile(WIDTH_TAIL)


def _gumbel_density(z: Floats) -> Floats:
    bounded = np.minimum(z, LARGEST_EXPONENT)
    density: Floats = np.exp(bounded - np.exp(bounded))
    return density


def _gumbel_slope(z: Floats) -> Floats:
    bounded = np.minimum(z, LARGEST_EXPONENT)
    rise = np.exp(bounded)
    slope: Floats = np.exp(bounded - rise) * (1 - rise)
    return slope


def _secant_density(z: Floats) -> Floats:
    tail = np.exp(-np.minimum(np.abs(z) * np.pi / 2, LARGEST_EXPONENT))
    density: Floats = tail / (1 + tail**2)
    return density


def _normal_density(z: Floats) -> Floats:
    density: Floats = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return density


SIGMOIDS: dict[Shape, Sigmoid] = {
    "normal": Sigmoid(
        cdf=special.ndtr,
        density=_normal_density,
        density_slope=lambda z: -z * _normal_density(z),
        quantile=lambda q: float(special.ndtri(q)),
    ),
    "logistic": Sigmoid(
        cdf=special.expit,
        density=lambda z: special.expit(z) * special.expit(-z),
        density_slope=lambda z: special.expit(z) * special.expit(-z) * (1 - 2 * special.expit(z)),
        quantile=lambda q: float(special.logit(q)),
    ),
    "gumbel": Sigmoid(  # of the smallest value: Weibull on the axis without the logarithm
        cdf=lambda z: -np.expm1(-np.exp(np.minimum(z, LARGEST_EXPONENT))),
        density=_gumbel_density,
        density_slope=_gumbel_slope,
        quantile=lambda q: float(np.log(-np.log1p(-q))),
    ),
    "reverse-gumbel": Sigmoid(  # of the largest value
        cdf=lambda z: np.exp(-np.exp(np.minimum(-z, LARGEST_EXPONENT))),
        density=lambda z: _gumbel_density(-z),
        density_slope=lambda z: -_gumbel_slope(-z),
        quantile=lambda q: float(-np.log(-np.log(q))),
    ),
    "hyperbolic-secant": Sigmoid(
        cdf=lambda z: 2 / np.pi * np.arctan(np.exp(np.clip(np.pi / 2 * z, -LARGEST_EXPONENT, LARGEST_EXPONENT))),
        density=_secant_density,
        density_slope=lambda z: -np.pi / 2 * np.tanh(np.pi / 2 * z) * _secant_density(z),
        quantile=lambda q: float(2 / np.pi * np.log(np.tan(np.pi / 2 * q))),
    ),
    "student-t": Sigmoid(  # one degree of freedom: Cauchy
        cdf=lambda z: 0.5 + np.arctan(z) / np.pi,
        density=lambda z: 1 / (np.pi * (1 + z**2)),
        density_slope=lambda z: -2 * z / (np.pi * (1 + z**2) ** 2),
        quantile=lambda q: float(np.tan(np.pi * (q - 0.5))),
    ),
}


def sigmoid_of(family: Family) -> Sigmoid:
    """Returns the standard form of a family; Weibull's is Gumbel's, on ln x (``on_axis``)."""
    return SIGMOIDS["gumbel"] if family == "weibull" else SIGMOIDS[family]


def on_axis(family: Family, levels: Floats) -> Floats:
    """Returns the levels on the axis on which S is a distribution function: ln x for Weibull (0 is −∞), else x."""
    if family != "weibull":
        return levels
    return log_levels(levels, np.log)


def log_levels(eps: Floats, logarithm: Callable[[Floats], Floats] = np.log2) -> Floats:
    """Returns log2 ε, −∞ where ε is 0, so that ψ(0) = γ exactly.

    Raises:
        ValueError: a negative level.
    """
    if (np.asarray(eps) < 0).any():
        raise ValueError(f"expected levels of 0 or more on a logarithmic axis, got {np.min(eps):g}; use a linear one")
    positive = np.where(eps > 0, eps, 1.0)
    return np.where(eps > 0, logarithm(positive), -np.inf)


def linear_levels(eps: Floats) -> Floats:
    """Returns ε as it is, but −∞ where ε is 0: without signal S is 0 and ψ(0) = γ exactly, on a linear axis too."""
    return np.where(np.asarray(eps) == 0, -np.inf, eps)
