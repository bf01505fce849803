"""The whole posterior of one data set on a grid (Schütt et al. 2016), with η integrated out where it is free.

Nodes are laid where the posterior is, in some rounds of a coarse grid: midpoints of cells for m and ln w, whose density
vanishes at both ends, so that the rule converges fast; Gauss's nodes for γ, λ and η, whose density ends at 0 with some
height. A marginal's distribution function is the integral of a smooth curve through its density (psignifit 4.3 takes
sums at the centres of cells and so errs by half a cell).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.psychometric import model as models
from analysis.psychometric.fitting import PsychometricFit
from analysis.psychometric.grid import log_likelihood_grid
from analysis.psychometric.model import PsychometricModel, rate_prior
from analysis.psychometric.priors import ASYMPTOTE, BETA, normal_prior
from analysis.psychometric.quadrature import Axis
from analysis.psychometric.sigmoids import Floats, on_axis

Parameter = Literal["threshold", "width", "guess", "lapse", "eta"]
PARAMETERS: tuple[Parameter, ...] = ("threshold", "width", "guess", "lapse", "eta")
COARSE = (13, 11, 6, 6, 5)
ROUNDS = 4
LEAST_MASS = 3e-5
FEW_CELLS = 3
FIRST_RATE = 2  # γ, λ and η come after m and ln w
FIRST_SCALE = 0.03  # of rates, before anything is known
MIDDLE, WIDER = (0.16, 0.5, 0.84), 0.75  # shares of a marginal; their distance is about two standard deviations
MOST_ETA = 0.999


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Number of nodes of m, ln w, γ, λ and η; a fixed parameter has one."""

    threshold: int = 24
    width: int = 20
    guess: int = 7
    lapse: int = 7
    eta: int = 7

    @property
    def sizes(self) -> tuple[int, ...]:
        """In the order of the parameters."""
        return self.threshold, self.width, self.guess, self.lapse, self.eta


YES_NO = Resolution()
FORCED_CHOICE = Resolution(threshold=30, width=26, lapse=10, eta=8)  # with γ fixed the same effort buys finer ones


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """``mass`` [M, W, G, A, E] of the nodes sums to 1; ``axes`` are of m (on the axis of S), ln w, γ, λ and η."""

    model: PsychometricModel
    axes: tuple[Axis, ...]
    mass: NDArray[np.float32]

    @cached_property
    def marginals(self) -> tuple[Floats, ...]:
        """Mass of the nodes of each parameter."""
        return _marginals(self.mass)

    def nodes(self, name: Parameter) -> Floats:
        """Returns the values of a parameter at its nodes."""
        value = self.axes[PARAMETERS.index(name)].nodes
        return np.exp(value) if name == "width" else value

    def marginal(self, name: Parameter) -> Floats:
        """Returns the mass of a parameter's nodes."""
        return self.marginals[PARAMETERS.index(name)]

    def mean(self, name: Parameter) -> float:
        """Returns the posterior mean (of w itself, and of m on the axis of S)."""
        return float(self.nodes(name) @ self.marginal(name))

    def quantile(self, name: Parameter, share: float) -> float:
        """Returns the value below which ``share`` of the posterior lies."""
        return float(self.quantiles(name, np.array([share]))[0])

    def quantiles(self, name: Parameter, shares: Floats) -> Floats:
        """Returns the values below which shares of the posterior lie, of the shape of ``shares``."""
        value = self.axes[PARAMETERS.index(name)].quantile(self.marginal(name), shares)
        return np.exp(value) if name == "width" else value

    def interval(self, name: Parameter, level: float = 0.95) -> tuple[float, float]:
        """Returns the equal-tailed credible interval."""
        low, high = self.quantiles(name, np.array([(1 - level) / 2, (1 + level) / 2]))
        return float(low), float(high)

    def draws(self, number: int, generator: np.random.Generator) -> dict[Parameter, Floats]:
        """Returns draws [number] of all parameters together.

        A node is drawn by its mass, and each parameter spread over the node's share of its own distribution function.
        """
        flat = np.cumsum(self.mass.ravel(), dtype=np.float64)
        cells = np.minimum(np.searchsorted(flat, generator.uniform(size=number) * flat[-1]), len(flat) - 1)
        found: dict[Parameter, Floats] = {}
        for name, index in zip(PARAMETERS, np.unravel_index(cells, self.mass.shape), strict=True):
            marginal = self.marginal(name)
            above = np.cumsum(marginal)
            shares = above[index] - generator.uniform(size=number) * marginal[index]
            found[name] = self.quantiles(name, np.clip(shares / above[-1], 0, 1))
        if self.model.equal_asymptotes:
            found["guess"] = found["lapse"]
        return found


def posterior_of(fit: PsychometricFit, index: int = 0, resolution: Resolution | None = None) -> Posterior:
    """Returns the posterior of data set ``index`` of a fit; see ``posterior``."""
    return posterior(fit.model, fit.levels, fit.hits[index], fit.trials[index], resolution)


def posterior(
    model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, resolution: Resolution | None = None
) -> Posterior:
    """Returns the posterior of one data set.

    A prior on ln w is a density of ln w, psignifit's one of w.

    Args:
        model: what is fitted, and its priors.
        levels: x of each row, [L].
        hits: [L].
        trials: [L].
        resolution: number of cells; the default depends on whether γ is estimated.
    """
    axis = on_axis(model.family, levels)
    used = trials > 0
    data = (axis[used], hits[used], trials[used])
    axes = _first_axes(model, axis)
    for _ in range(ROUNDS):
        axes = _closer(axes, _mass(model, data, axes))
    sizes = (resolution or (YES_NO if model.free_guess else FORCED_CHOICE)).sizes
    axes = tuple(
        dataclasses.replace(each, size=1 if each.fixed else size, rule="gauss" if number >= FIRST_RATE else "midpoint")
        for number, (each, size) in enumerate(zip(axes, sizes, strict=True))
    )
    return Posterior(model=model, axes=axes, mass=_mass(model, data, axes))


def _first_axes(model: PsychometricModel, axis: Floats) -> tuple[Axis, ...]:
    low, high = models.box(model, axis)
    guess = (0.0, 0.0) if model.equal_asymptotes else _asymptote_range(model.guess)
    eta = (0.0, MOST_ETA) if model.overdispersed else (0.0, 0.0)
    ranges = (
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
        guess,
        _asymptote_range(model.lapse),
        eta,
    )
    return tuple(
        Axis(
            low=low,
            high=high,
            size=1 if low == high else size,
            centre=low if number >= FIRST_RATE else (low + high) / 2,
            scale=FIRST_SCALE if number >= FIRST_RATE else high - low,
        )
        for number, ((low, high), size) in enumerate(zip(ranges, COARSE, strict=True))
    )


def _asymptote_range(fixed: float | None) -> tuple[float, float]:
    return (0.0, ASYMPTOTE) if fixed is None else (fixed, fixed)


def _closer(axes: tuple[Axis, ...], mass: NDArray[np.float32]) -> tuple[Axis, ...]:
    """The axes without the cells at either end that hold next to nothing, and with their nodes where the mass is."""
    return tuple(
        axis if axis.fixed else _closer_axis(axis, marginal)
        for axis, marginal in zip(axes, _marginals(mass), strict=True)
    )


def _closer_axis(axis: Axis, marginal: Floats) -> Axis:
    used, edges = np.flatnonzero(marginal > LEAST_MASS), axis.edges
    spare = 1 if len(used) <= FEW_CELLS else 0  # so narrow that midpoints may have missed a neighbour's mass
    low, high = max(used[0] - spare, 0), min(used[-1] + 1 + spare, len(edges) - 1)
    below = np.concatenate([[0.0], np.cumsum(marginal)])
    left, centre, right = np.interp(MIDDLE, below / below[-1], edges)
    return dataclasses.replace(
        axis, low=float(edges[low]), high=float(edges[high]), centre=float(centre), scale=float(right - left) * WIDER
    )


def _mass(model: PsychometricModel, data: tuple[Floats, Floats, Floats], axes: tuple[Axis, ...]) -> NDArray[np.float32]:
    m, log_w, guess, lapse, eta = (axis.nodes for axis in axes)
    total = log_likelihood_grid(model, *data, (m, log_w, guess, lapse, eta))
    shapes, rates = _log_weights(model, axes)
    total += shapes[:, :, None, None, None]
    total += rates
    total -= total.max()
    np.exp(total, out=total)
    total /= total.sum(dtype=np.float64)
    return total


def _log_weights(model: PsychometricModel, axes: tuple[Axis, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log prior plus log weight, of m and ln w [M, W], and of γ, λ and η [G, A, E]."""
    m, log_w, guess, lapse, eta = (axis.nodes for axis in axes)
    weights = [axis.log_weights for axis in axes]
    threshold, width = np.zeros_like(m), np.zeros_like(log_w)
    if model.levels is not None:
        threshold, width = model.levels.threshold(m)[0], model.levels.width(log_w)[0] + log_w
    elif model.width_prior is not None:
        width = normal_prior(log_w, np.log(model.width_prior[0]), model.width_prior[1])[0]
    rates = zip(
        (guess, lapse, eta),
        (model.free_guess, model.lapse is None, model.overdispersed),
        (model.beta, model.beta, BETA),
        strict=True,
    )
    priors = [rate_prior(rate, beta)[0] if free else np.zeros(1) for rate, free, beta in rates]
    g, a, e = (prior + weight for prior, weight in zip(priors, weights[2:], strict=True))
    shapes = (threshold + weights[0])[:, None] + width + weights[1]
    return shapes.astype(np.float32), (g[:, None, None] + a[:, None] + e).astype(np.float32)


def _marginals(mass: NDArray[np.float32]) -> tuple[Floats, ...]:
    """Sums over all other axes, by products with ones, which are faster than sums over several axes."""
    m, w, g, a, e = mass.shape
    flat = mass.reshape(m * w, g * a * e)
    shapes = (flat @ np.ones(flat.shape[1], dtype=np.float32)).reshape(m, w).astype(np.float64)
    rates = (np.ones(len(flat), dtype=np.float32) @ flat).reshape(g, a, e).astype(np.float64)
    sums = (
        shapes.sum(axis=1),
        shapes.sum(axis=0),
        rates.sum(axis=(1, 2)),
        rates.sum(axis=(0, 2)),
        rates.sum(axis=(0, 1)),
    )
    return tuple(each / each.sum() for each in sums)
