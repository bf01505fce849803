"""The whole posterior of data sets on grids (Schütt et al. 2016), with η integrated out where it is free.

Nodes are laid where the posterior is, in some rounds of a coarse grid: midpoints of cells for m and ln w, whose density
vanishes at both ends, so that the rule converges fast; Gauss's nodes for γ, λ and η, whose density ends at 0 with some
height. A marginal's distribution function is the integral of a smooth curve through its density (psignifit 4.3 takes
sums at the centres of cells and so errs by half a cell).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import repeat
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
COARSE = (41, 21, 5, 6, 4)
MOST_ROUNDS, KEPT = 20, 0.6  # rounds go on as long as a range or scale falls below that share of the one before
LEAST_MASS = 1e-5
FEW_CELLS = 3
FIRST_RATE = 2  # γ, λ and η come after m and ln w
FIRST_SCALE = 0.03  # of rates, before anything is known
MIDDLE = (0.35, 0.5, 0.65)  # shares of a marginal; a normal one has 0.77 standard deviations between them
WIDER, WIDER_RATES = 3.0, 7.5  # scales of axes in those distances
NARROWER = 2.5  # ln w that is looked at below its median whatever coarse grids say
MOST_ETA = 0.999
CHUNK = 4  # data sets at once; more no longer fit the processor's cache


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Number of nodes of m, ln w, γ, λ and η; a fixed parameter has one."""

    threshold: int = 32
    width: int = 26
    guess: int = 8
    lapse: int = 8
    eta: int = 8

    @property
    def sizes(self) -> tuple[int, ...]:
        """In the order of the parameters."""
        return self.threshold, self.width, self.guess, self.lapse, self.eta


FORCED_CHOICE = Resolution(threshold=44, width=34, lapse=18, eta=14)  # with γ fixed the same effort buys finer nodes
YES_NO = Resolution()
YES_NO_BINOMIAL = Resolution(threshold=44, width=36, guess=10, lapse=10)  # so does η at 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Marginals:
    """Posterior of each parameter of B data sets: ``masses`` [B, n] of the nodes of each of the ``axes``."""

    axes: tuple[Axis, ...]
    masses: tuple[Floats, ...]

    def mean(self, name: Parameter) -> Floats:
        """Returns posterior means [B] (of w itself, and of m on the axis of S)."""
        place = PARAMETERS.index(name)
        found: Floats = (_shown(name, self.axes[place].nodes) * self.masses[place]).sum(axis=1)
        return found

    def quantiles(self, name: Parameter, shares: Floats) -> Floats:
        """Returns the values [B, K] below which shares [K] of the posteriors lie."""
        place = PARAMETERS.index(name)
        return _shown(name, self.axes[place].quantiles(self.masses[place], shares))

    def intervals(self, name: Parameter, level: float = 0.95) -> tuple[Floats, Floats]:
        """Returns the bounds, each [B], of equal-tailed credible intervals."""
        bounds = self.quantiles(name, np.array([(1 - level) / 2, (1 + level) / 2]))
        return bounds[:, 0], bounds[:, 1]


def _shown(name: Parameter, value: Floats) -> Floats:
    return np.asarray(np.exp(value)) if name == "width" else value


@dataclass(frozen=True, kw_only=True, eq=False)
class Posterior:
    """One data set's: ``mass`` [M, W, G, A, E] of the nodes of m, ln w, γ, λ and η, and its marginals (B = 1)."""

    model: PsychometricModel
    marginals: Marginals
    mass: NDArray[np.float32]

    def nodes(self, name: Parameter) -> Floats:
        """Returns the values of a parameter at its nodes."""
        return _shown(name, self.marginals.axes[PARAMETERS.index(name)].nodes[0])

    def marginal(self, name: Parameter) -> Floats:
        """Returns the mass of a parameter's nodes."""
        found: Floats = self.marginals.masses[PARAMETERS.index(name)][0]
        return found

    def mean(self, name: Parameter) -> float:
        """Returns the posterior mean (of w itself, and of m on the axis of S)."""
        return float(self.marginals.mean(name)[0])

    def quantile(self, name: Parameter, share: float) -> float:
        """Returns the value below which ``share`` of the posterior lies."""
        return float(self.marginals.quantiles(name, np.array([share]))[0, 0])

    def interval(self, name: Parameter, level: float = 0.95) -> tuple[float, float]:
        """Returns the equal-tailed credible interval."""
        low, high = self.marginals.intervals(name, level)
        return float(low[0]), float(high[0])

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
            found[name] = self.marginals.quantiles(name, np.clip(shares / above[-1], 0, 1))[0]
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
        resolution: number of nodes; the default depends on whether γ and η are estimated.
    """
    marginals, mass = _posteriors(model, levels, hits[None], trials[None], resolution)
    return Posterior(model=model, marginals=marginals, mass=mass[0] / mass[0].sum(dtype=np.float64))


def posterior_batch(
    model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, resolution: Resolution | None = None
) -> Marginals:
    """Returns the marginal posteriors of many data sets, each of which is what ``posterior`` gives.

    Args:
        model: what is fitted, and its priors.
        levels: x of each row, [L].
        hits: [B, L].
        trials: [B, L].
        resolution: number of nodes; the default depends on whether γ and η are estimated.
    """
    parts = [
        _posteriors(model, levels, hits[begin : begin + CHUNK], trials[begin : begin + CHUNK], resolution)[0]
        for begin in range(0, len(hits), CHUNK)
    ]
    names = ("low", "high", "centre", "scale")
    axes = tuple(
        dataclasses.replace(each[0], **{name: np.concatenate([getattr(axis, name) for axis in each]) for name in names})
        for each in zip(*(part.axes for part in parts), strict=True)
    )
    masses = tuple(np.concatenate(each) for each in zip(*(part.masses for part in parts), strict=True))
    return Marginals(axes=axes, masses=masses)


def _posteriors(
    model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, resolution: Resolution | None
) -> tuple[Marginals, NDArray[np.float32]]:
    axis = on_axis(model.family, levels)
    axes = _first_axes(model, axis, len(hits))
    settled = np.zeros(len(hits), dtype=bool)
    for _ in range(MOST_ROUNDS):
        masses = _marginals(_mass(model, axis, hits, trials, axes, rough=True))
        closer = tuple(_closer(*each) for each in zip(PARAMETERS, axes, masses, strict=True))
        axes, settled = tuple(map(_where, repeat(settled), axes, closer)), settled | _settled(axes, closer)
        if settled.all():
            break
    sizes = (resolution or _resolution(model)).sizes
    axes = tuple(
        dataclasses.replace(each, size=1 if each.fixed else size, rule="gauss" if number >= FIRST_RATE else "midpoint")
        for number, (each, size) in enumerate(zip(axes, sizes, strict=True))
    )
    mass = _mass(model, axis, hits, trials, axes)
    return Marginals(axes=axes, masses=_marginals(mass)), mass


def _resolution(model: PsychometricModel) -> Resolution:
    if not model.free_guess:
        return FORCED_CHOICE
    return YES_NO if model.overdispersed else YES_NO_BINOMIAL


def _first_axes(model: PsychometricModel, axis: Floats, number: int) -> tuple[Axis, ...]:
    """Of ``number`` data sets, over all that a parameter may be."""
    low, high = models.box(model, axis)
    shapes = [_first(low[0], high[0], COARSE[0], number), _first(low[1], high[1], COARSE[1], number)]
    free = (model.free_guess, model.lapse is None, model.overdispersed)
    fixed = (model.guess or 0.0, model.lapse or 0.0, 0.0)
    rates = [
        _first(0.0, top, size, number, FIRST_SCALE) if is_free else _first(value, value, 1, number)
        for top, size, is_free, value in zip((ASYMPTOTE, ASYMPTOTE, MOST_ETA), COARSE[2:], free, fixed, strict=True)
    ]
    return (*shapes, *rates)


def _first(low: float, high: float, size: int, number: int, scale: float | None = None) -> Axis:
    """Nodes crowd at 0 if there is a scale."""
    values = (low, high, (low + high) / 2 if scale is None else low, high - low if scale is None else scale)
    low_, high_, centre, b = (np.full(number, float(value)) for value in values)
    return Axis(low=low_, high=high_, size=size, centre=centre, scale=b)


def _settled(axes: tuple[Axis, ...], closer: tuple[Axis, ...]) -> NDArray[np.bool_]:
    """Of which data sets the closer axes are hardly shorter than those before, so that no node is wasted, [B]."""
    kept = [
        np.minimum((new.high - new.low) / (old.high - old.low), new.scale / old.scale) > KEPT
        for old, new in zip(axes, closer, strict=True)
        if not old.fixed
    ]
    return np.asarray(np.logical_and.reduce(kept))


def _where(first: NDArray[np.bool_], one: Axis, other: Axis) -> Axis:
    """The axis of one for the data sets that are marked, of the other elsewhere."""
    pairs = {name: (getattr(one, name), getattr(other, name)) for name in ("low", "high", "centre", "scale")}
    return dataclasses.replace(one, **{name: np.where(first, *pair) for name, pair in pairs.items()})


def _closer(name: Parameter, axis: Axis, mass: Floats) -> Axis:
    """The axis without the cells at either end that hold next to nothing, and with its nodes where the mass is.

    Narrow curves stay in: where one level alone says where a steep curve is, their ridge may lie between coarse nodes.
    """
    if axis.fixed:
        return axis
    used, edges, rows = mass > LEAST_MASS, axis.edges, np.arange(len(mass))
    spare = used.sum(axis=1) <= FEW_CELLS  # so narrow that midpoints may have missed a neighbour's mass
    first = np.maximum(used.argmax(axis=1) - spare, 0)
    last = np.minimum(axis.size - used[:, ::-1].argmax(axis=1) + spare, axis.size)
    below = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    middle = np.array([np.interp(MIDDLE, each / each[-1], ends) for each, ends in zip(below, edges, strict=True)])
    low, high, centre = edges[rows, first], edges[rows, last], middle[:, 1]
    if name == "width":
        low = np.minimum(low, np.maximum(axis.low, centre - NARROWER))
    scale = (middle[:, 2] - middle[:, 0]) * (WIDER if name in ("threshold", "width") else WIDER_RATES)
    return dataclasses.replace(axis, low=low, high=high, centre=centre, scale=scale)


def _mass(
    model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats, axes: tuple[Axis, ...], *, rough: bool = False
) -> NDArray[np.float32]:
    """Posterior [B, M, W, G, A, E] of the nodes, the largest of each data set being 1."""
    m, log_w, guess, lapse, eta = (each.nodes for each in axes)
    total = log_likelihood_grid(model, axis, hits, trials, (m, log_w, guess, lapse, eta), rough=rough)
    shapes, rates = _log_weights(model, axes)
    total += shapes[..., None, None, None]
    total += rates[:, None, None]
    total -= total.reshape(len(total), -1).max(axis=1)[:, None, None, None, None, None]
    np.exp(total, out=total)
    return total


def _log_weights(model: PsychometricModel, axes: tuple[Axis, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log prior plus log weight, of m and ln w [B, M, W], and of γ, λ and η [B, G, A, E]."""
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
    priors = [rate_prior(rate, beta)[0] if free else np.zeros_like(rate) for rate, free, beta in rates]
    g, a, e = (prior + weight for prior, weight in zip(priors, weights[2:], strict=True))
    shapes = (threshold + weights[0])[:, :, None] + (width + weights[1])[:, None]
    return shapes.astype(np.float32), (g[:, :, None, None] + a[:, None, :, None] + e[:, None, None]).astype(np.float32)


def _marginals(mass: NDArray[np.float32]) -> tuple[Floats, ...]:
    """Shares [B, n] of all nodes, summed by products with ones, which are faster than sums over several axes."""
    number, m, w, g, a, e = mass.shape
    flat = mass.reshape(number, m * w, g * a * e)
    shapes = (flat @ np.ones(g * a * e, dtype=np.float32)).reshape(number, m, w).astype(np.float64)
    rates = (np.ones(m * w, dtype=np.float32) @ flat).reshape(number, g, a, e).astype(np.float64)
    sums = (
        shapes.sum(axis=2), shapes.sum(axis=1),
        rates.sum(axis=(2, 3)), rates.sum(axis=(1, 3)), rates.sum(axis=(1, 2)),
    )  # fmt: skip
    return tuple(each / each.sum(axis=1, keepdims=True) for each in sums)
