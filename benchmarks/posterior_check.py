"""Posteriors of random data sets beside a much finer quadrature that shares nothing with them but the model.

The reference is the midpoint rule on equal cells of m, ln w, √γ, √λ and √η in double precision, the beta-binomial
probabilities as products, without a table, a logarithmic gamma function or a node placed where mass is. Its sizes are
multiplied until bounds stay. ``analysis_speed`` writes the largest difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import gumbel_l, logistic, norm

from analysis.likelihood import Floats
from analysis.psychometric import Family, PsychometricModel, posterior
from analysis.psychometric.posteriors import PARAMETERS, Parameter
from core import rng

Task = Literal["2afc", "16afc", "yes-no"]
GUESS: dict[Task, float | None] = {"2afc": 0.5, "16afc": 1 / 16, "yes-no": None}
FAMILIES: tuple[Family, ...] = ("normal", "logistic", "gumbel")
LAWS: dict[Family, Any] = {"normal": norm, "logistic": logistic, "gumbel": gumbel_l}
TAIL = 2e-5  # mass that is cut off at either end of each parameter
ROUGH, ROUNDS = (20, 16, 8, 8, 6), 5
FINER = 1.3  # cells of each parameter from one refinement to the next
WIDTH_PRIOR = (1.5, 1.0)  # centre of w and standard deviation of ln w
BETA = 10
SHAPES = ("middle", "floor", "ceiling", "steep", "wide")


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Answers at ``levels``, and the model that is fitted to them."""

    name: str
    model: PsychometricModel
    levels: Floats
    hits: Floats
    trials: Floats


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Mean and 95 % bounds of each estimated parameter."""

    values: dict[Parameter, tuple[float, float, float]]

    def differs(self, other: Summary) -> float:
        """Returns the largest difference from another summary, in widths of the other's intervals."""
        return max(
            float(np.abs(np.subtract(self.values[name], found)).max()) / (found[2] - found[1])
            for name, found in other.values.items()
        )

    def beyond(self, before: Summary) -> Summary:
        """Returns what this summary and one of larger cells point to."""
        share = 1 / (FINER**2 - 1)
        return Summary(
            values={
                name: tuple(x + (x - y) * share for x, y in zip(found, before.values[name], strict=True))  # type: ignore[misc]
                for name, found in self.values.items()
            }
        )


def data_sets(number: int, seed: int) -> Iterator[DataSet]:
    """Yields random data sets: three tasks, 8 to 120 trials a level, with and without η, five kinds of curves."""
    for index in range(number):
        generator = rng.numpy_generator(seed, "posterior check", index)
        task: Task = ("2afc", "yes-no", "16afc")[index % 3]
        overdispersed, shape = index % 2 == 1, SHAPES[index % 5]
        family = FAMILIES[int(generator.integers(3))]
        counts = [8, 20, 40, 120] if not overdispersed else [8, 20] if task == "yes-no" else [8, 20, 40]
        count = int(generator.choice(counts))
        levels = np.linspace(-1.25, 1.25, int(generator.integers(5, 8)))
        m = {"floor": 1.6, "ceiling": -1.6}.get(shape, float(generator.uniform(-0.6, 0.6)))
        w = {"steep": 0.2, "wide": 4.0}.get(shape, float(generator.uniform(0.7, 2.0)))
        guess, lapse = GUESS[task], float(generator.uniform(0, 0.06))
        below = float(generator.uniform(0, 0.1)) if guess is None else guess
        p = below + (1 - below - lapse) * norm.cdf((levels - m) * 3.29 / w)
        eta = 0.25 * overdispersed
        if overdispersed:
            p = generator.beta(np.clip(p, 1e-3, 1) * (1 / eta**2 - 1), np.clip(1 - p, 1e-3, 1) * (1 / eta**2 - 1))
        yield DataSet(
            name=f"{index}: {task}, {family}, {shape}, {len(levels)} × {count}{', η' if overdispersed else ''}",
            model=PsychometricModel(
                family=family,
                guess=guess,
                width_prior=WIDTH_PRIOR,
                overdispersed=overdispersed,
            ),
            levels=levels,
            hits=generator.binomial(count, p).astype(float),
            trials=np.full(len(levels), float(count)),
        )


def ours(data: DataSet) -> Summary:
    """Returns what the report would say."""
    found = posterior(data.model, data.levels, data.hits, data.trials)
    free = _free(data.model)
    return Summary(
        values={
            name: (found.mean(name), *found.interval(name))
            for name, is_free in zip(PARAMETERS, free, strict=True)
            if is_free
        }
    )


def reference(data: DataSet, most: float | None = None) -> tuple[Summary, float]:
    """Returns the fine quadrature's summary, and how far it moved at the last refinement, in widths.

    The error of the midpoint rule falls with the square of the cells, so that the last two are extrapolated. Where five
    parameters are estimated it is refined until it moves by less than 0.8 %, else 0.3 % of a width.
    """
    most = most or (0.008 if all(_free(data.model)) else 0.003)
    free = _free(data.model)
    span = float(np.ptp(data.levels))
    ranges = [
        (float(data.levels[0]) - span, float(data.levels[-1]) + span),
        (float(np.log(span * 1e-3)), float(np.log(span * 30))),
        *((0.0, top) for top in (np.sqrt(0.5), np.sqrt(0.5), np.sqrt(0.999))),
    ]
    for _ in range(ROUNDS):
        mass, edges = _mass(data, ranges, tuple(n if is_free else 1 for n, is_free in zip(ROUGH, free, strict=True)))
        ranges = [_cut(_marginal(mass, axis), each) for axis, each in enumerate(edges)]
    size = np.array([28, 24, 10, 10, 8] if data.model.guess is None else [40, 36, 1, 16, 12], dtype=float)
    found, moved = _summary(data, ranges, _sizes(size, free)), np.inf
    while moved > most:
        size = size * FINER
        before, found = found, _summary(data, ranges, _sizes(size, free))
        moved = found.differs(before)
    return found.beyond(before), moved


def _sizes(size: Floats, free: tuple[bool, ...]) -> tuple[int, ...]:
    return tuple(int(np.ceil(n)) if is_free else 1 for n, is_free in zip(size, free, strict=True))


def _free(model: PsychometricModel) -> tuple[bool, ...]:
    return True, True, model.guess is None, model.lapse is None, model.overdispersed


def _summary(data: DataSet, ranges: list[tuple[float, float]], sizes: tuple[int, ...]) -> Summary:
    mass, edges = _mass(data, ranges, sizes)
    found: dict[Parameter, tuple[float, float, float]] = {}
    for axis, (name, is_free) in enumerate(zip(PARAMETERS, _free(data.model), strict=True)):
        if not is_free:
            continue
        marginal, ends = _marginal(mass, axis), edges[axis]
        middle = (ends[1:] + ends[:-1]) / 2
        below = np.concatenate([[0.0], np.cumsum(marginal)])
        rising = np.concatenate([[True], np.diff(below) > 1e-12])
        low, high = PchipInterpolator(below[rising], ends[rising])([0.025, 0.975])
        values = [np.exp(x) if name == "width" else x**2 if axis > 1 else x for x in (middle, low, high)]
        found[name] = (float(values[0] @ marginal), float(values[1]), float(values[2]))
    return Summary(values=found)


def _marginal(mass: Floats, axis: int) -> Floats:
    found: Floats = mass.sum(axis=tuple(other for other in range(5) if other != axis))
    return found


def _cut(marginal: Floats, edges: Floats) -> tuple[float, float]:
    """The range without the outermost cells that together hold less than the tail."""
    if len(marginal) == 1:
        return float(edges[0]), float(edges[-1])
    below = np.cumsum(marginal)
    first, last = int((below < TAIL).sum()), int((below < 1 - TAIL).sum())
    return float(edges[max(first - 1, 0)]), float(edges[min(last + 2, len(edges) - 1)])


def _mass(data: DataSet, ranges: list[tuple[float, float]], sizes: tuple[int, ...]) -> tuple[Floats, list[Floats]]:
    edges = [np.linspace(low, high, n + 1) for (low, high), n in zip(ranges, sizes, strict=True)]
    m, log_w, root_g, root_l, root_e = ((each[1:] + each[:-1]) / 2 for each in edges)
    guess = root_g**2 if data.model.guess is None else np.array([data.model.guess])
    lapse, eta = root_l**2, root_e**2 if data.model.overdispersed else np.zeros(1)
    prior = -(((log_w - np.log(WIDTH_PRIOR[0])) / WIDTH_PRIOR[1]) ** 2)[None, :, None, None] / 2
    prior = prior + ((BETA - 1) * np.log1p(-guess) + np.log(root_g))[None, None, :, None] * (data.model.guess is None)
    prior = prior + ((BETA - 1) * np.log1p(-lapse) + np.log(root_l))
    law = LAWS[data.model.family]
    wide = law.ppf(0.95) - law.ppf(0.05)
    log = np.empty((len(m), len(log_w), len(guess), len(lapse), len(eta)))
    z = (data.levels[:, None, None] - m[:, None]) / np.exp(log_w) * wide + law.ppf(0.5)
    with np.errstate(over="ignore"):
        s = law.cdf(z)[..., None, None]
    for number, each in enumerate(eta):
        extra = (BETA - 1) * np.log1p(-each) + np.log(root_e[number]) if data.model.overdispersed else 0.0
        log[..., number] = prior + extra
        for row, (k, n) in enumerate(zip(data.hits.astype(int), data.trials.astype(int), strict=True)):
            p = guess[:, None] + (1 - guess[:, None] - lapse) * s[row]
            log[..., number] += _log_probability(p, k, n, each)
    mass = np.exp(log - log.max())
    return mass / mass.sum(), edges


def _log_probability(p: Floats, k: int, n: int, eta: float) -> Floats:
    """The answers of a row one after another: each more likely to be what those before were, by η² / (1 − η²)."""
    with np.errstate(divide="ignore"):
        if eta == 0:
            return np.asarray(k * np.log(np.maximum(p, 1e-300)) + (n - k) * np.log1p(-np.minimum(p, 1 - 1e-16)))
        more = eta**2 / (1 - eta**2)
        found = np.zeros_like(p)
        for chance, number in ((p, k), (1 - p, n - k)):
            product, factor = np.ones_like(p), chance.copy()
            for _ in range(number):
                product *= factor
                factor += more
            found += np.log(np.maximum(product, 1e-300))
        return np.asarray(found - np.log1p(more * np.arange(n)).sum())
