"""The whole posterior of one data set on a grid (Schütt et al. 2016), with η integrated out where it is free.

Midpoint rule on cells that are laid where the posterior is. A marginal's distribution function is exact at the edges of
the cells and goes monotonically between them: psignifit 4.3 takes the sums at the centres and so errs by half a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.interpolate import PchipInterpolator

from analysis.psychometric import model as models
from analysis.psychometric.fitting import PsychometricFit
from analysis.psychometric.grid import Axes, log_likelihood_grid
from analysis.psychometric.model import PsychometricModel
from analysis.psychometric.priors import ASYMPTOTE, BETA, beta_prior, normal_prior
from analysis.psychometric.sigmoids import Floats, on_axis

Parameter = Literal["threshold", "width", "guess", "lapse", "eta"]
PARAMETERS: tuple[Parameter, ...] = ("threshold", "width", "guess", "lapse", "eta")
COARSE = (13, 11, 6, 6, 6)
ROUNDS = 5
LEAST_MASS = 2e-5
FEW_CELLS = 3
MOST_ETA = 0.999


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Number of cells of m, ln w, γ, λ and η; a fixed parameter has one."""

    threshold: int = 24
    width: int = 22
    guess: int = 14
    lapse: int = 10
    eta: int = 8

    @property
    def sizes(self) -> tuple[int, ...]:
        """In the order of the parameters."""
        return self.threshold, self.width, self.guess, self.lapse, self.eta


YES_NO = Resolution()
FORCED_CHOICE = Resolution(threshold=32, width=28, lapse=36, eta=12)  # with γ fixed the same effort buys finer cells


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """``mass`` [M, W, G, A, E] of the cells sums to 1; ``edges`` are of m (on the axis of S), ln w, γ, λ and η."""

    model: PsychometricModel
    edges: tuple[Floats, ...]
    mass: NDArray[np.float32]

    def nodes(self, name: Parameter) -> Floats:
        """Returns the values of a parameter at the midpoints of its cells."""
        middle = _middle(self.edges[PARAMETERS.index(name)])
        return np.exp(middle) if name == "width" else middle

    def marginal(self, name: Parameter) -> Floats:
        """Returns the mass of a parameter's cells."""
        others = tuple(axis for axis in range(5) if axis != PARAMETERS.index(name))
        summed = self.mass.sum(axis=others, dtype=np.float64)
        marginal: Floats = summed / summed.sum()
        return marginal

    def mean(self, name: Parameter) -> float:
        """Returns the posterior mean (of w itself, and of m on the axis of S)."""
        return float(self.nodes(name) @ self.marginal(name))

    def quantile(self, name: Parameter, share: float) -> float:
        """Returns the value below which ``share`` of the posterior lies."""
        edges = self.edges[PARAMETERS.index(name)]
        if len(edges) == 1:
            return float(edges[0])
        below = np.concatenate([[0.0], np.cumsum(self.marginal(name))])
        rising = np.concatenate([[True], np.diff(below) > 1e-12])
        value = float(PchipInterpolator(below[rising], edges[rising])(share * below[-1]))
        return float(np.exp(value)) if name == "width" else value

    def interval(self, name: Parameter, level: float = 0.95) -> tuple[float, float]:
        """Returns the equal-tailed credible interval."""
        tail = (1 - level) / 2
        return self.quantile(name, tail), self.quantile(name, 1 - tail)

    def draws(self, number: int, generator: np.random.Generator) -> dict[Parameter, Floats]:
        """Returns draws [number] of all parameters together, spread evenly inside their cells."""
        flat = np.cumsum(self.mass.ravel(), dtype=np.float64)
        cells = np.minimum(np.searchsorted(flat, generator.uniform(size=number) * flat[-1]), len(flat) - 1)
        found: dict[Parameter, Floats] = {}
        for name, edges, index in zip(PARAMETERS, self.edges, np.unravel_index(cells, self.mass.shape), strict=True):
            value = np.full(number, edges[0])
            if len(edges) > 1:
                value = edges[index] + generator.uniform(size=number) * np.diff(edges)[index]
            found[name] = np.exp(value) if name == "width" else value
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
    ranges = _ranges(model, axis)
    for _ in range(ROUNDS):
        edges = _edges(ranges, COARSE)
        ranges = _trimmed(edges, _mass(model, data, edges), ranges)
    edges = _edges(ranges, (resolution or (YES_NO if model.free_guess else FORCED_CHOICE)).sizes)
    return Posterior(model=model, edges=edges, mass=_mass(model, data, edges))


def _ranges(model: PsychometricModel, axis: Floats) -> list[tuple[float, float]]:
    low, high = models.box(model, axis)
    guess = (0.0, 0.0) if model.equal_asymptotes else _asymptote_range(model.guess)
    eta = (0.0, MOST_ETA) if model.overdispersed else (0.0, 0.0)
    return [(low[0], high[0]), (low[1], high[1]), guess, _asymptote_range(model.lapse), eta]


def _asymptote_range(fixed: float | None) -> tuple[float, float]:
    return (0.0, ASYMPTOTE) if fixed is None else (fixed, fixed)


def _edges(ranges: list[tuple[float, float]], sizes: tuple[int, ...]) -> tuple[Floats, ...]:
    """One edge where a parameter is fixed. Cells are finer towards an end at 0, where asymptotes and η crowd."""
    found = []
    for axis, ((low, high), size) in enumerate(zip(ranges, sizes, strict=True)):
        steps = np.linspace(0, 1, size + 1)
        crowded = axis >= 2 and low == 0
        found.append(np.array([low]) if low == high else low + (high - low) * (steps**1.5 if crowded else steps))
    return tuple(found)


def _middle(edges: Floats) -> Floats:
    return edges if len(edges) == 1 else (edges[1:] + edges[:-1]) / 2


def _mass(
    model: PsychometricModel, data: tuple[Floats, Floats, Floats], edges: tuple[Floats, ...]
) -> NDArray[np.float32]:
    m, log_w, guess, lapse, eta = (_middle(each) for each in edges)
    axes: Axes = (m, log_w, guess, lapse, eta)
    total = log_likelihood_grid(model, *data, axes)
    for axis, prior in enumerate(_log_weights(model, axes, edges)):
        shape = [1] * 5
        shape[axis] = -1
        total += prior.astype(np.float32).reshape(shape)
    total -= total.max()
    np.exp(total, out=total)
    total /= total.sum(dtype=np.float64)
    return total


def _log_weights(model: PsychometricModel, axes: Axes, edges: tuple[Floats, ...]) -> list[Floats]:
    """Log prior of the nodes of each axis plus the log size of their cells."""
    m, log_w, guess, lapse, eta = axes
    sizes = [np.zeros(1) if len(each) == 1 else np.log(np.diff(each)) for each in edges]
    if model.levels is not None:
        threshold, width = model.levels.threshold(m)[0], model.levels.width(log_w)[0] + log_w
    else:
        threshold, width = np.zeros_like(m), np.zeros_like(log_w)
        if model.width_prior is not None:
            width = normal_prior(log_w, np.log(model.width_prior[0]), model.width_prior[1])[0]
    return [
        threshold + sizes[0],
        width + sizes[1],
        (_beta(guess, model.beta) if model.free_guess else np.zeros(1)) + sizes[2],
        (_beta(lapse, model.beta) if model.lapse is None else np.zeros(1)) + sizes[3],
        (_beta(eta, BETA) if model.overdispersed else np.zeros(1)) + sizes[4],
    ]


def _beta(value: Floats, beta: float) -> Floats:
    return beta_prior(special.logit(value), beta, 1.0)[0]


def _trimmed(
    edges: tuple[Floats, ...], mass: NDArray[np.float32], ranges: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The ranges without the cells at either end that hold next to nothing."""
    found = []
    for axis, (each, old) in enumerate(zip(edges, ranges, strict=True)):
        if len(each) == 1:
            found.append(old)
            continue
        marginal = mass.sum(axis=tuple(other for other in range(5) if other != axis), dtype=np.float64)
        used = np.flatnonzero(marginal > LEAST_MASS)
        spare = 1 if len(used) <= FEW_CELLS else 0  # so narrow that midpoints may have missed a neighbour's mass
        found.append((float(each[max(used[0] - spare, 0)]), float(each[min(used[-1] + 1 + spare, len(each) - 1)])))
    return found
