"""One observer, one curve: profile and posterior intervals, goodness of fit, and calibration of the posterior.

Design of the protocol: S normal, m 0.1, w 1.2, seven levels on [−1.2, 1.2] (or on its upper half), γ 0.5 or 0.03, and
trials without signal (as many as at two levels) in yes-no.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from analysis.likelihood import Floats, log_likelihood
from analysis.psychometric import (
    BETA,
    PsychometricFit,
    PsychometricModel,
    Quantity,
    fit_psychometric,
    goodness_of_fit,
    interval,
    posterior,
    posterior_of,
    profile_interval,
)
from benchmarks.coverage.acceptance import Gate, Share, covered, uniform
from core import rng

M, W, GUESS = 0.1, 1.2, 0.03
SCALE = W / float(ndtri(0.95) - ndtri(0.05))
BATCH, BATCHES = 100, 20  # 2000 data sets a cell
WHOLE, TESTED, HEAVY = 50, 25, 10  # data sets of a batch with a posterior, a test of fit, a posterior with η
SAMPLES = 199
PRIOR_BATCH, PRIOR_BATCHES, DRAWS = 20, 50, 99
REPORT_WIDTH = (1.44, 1.0)  # 0.6 of the range that is tested, as 3 octaves are of the usual five
WIDTH_PRIOR = (1.2, 0.5)  # of calibration, where parameters are drawn from the prior
QUANTITIES = {"m": Quantity(), "ln w": Quantity(name="width"), "threshold at 0.75": Quantity(proportion=0.75)}
TRUTH = {"m": M, "ln w": float(np.log(W)), "threshold at 0.75": M + SCALE * float(ndtri(0.75))}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A cell: ``trials`` a level; ``eta`` makes answers of a level hang together, which the fit does not know."""

    task: str
    trials: int
    lapse: float = 0.02
    eta: float = 0.0
    upper_half: bool = False

    @property
    def name(self) -> str:
        """Short."""
        half = "-upper" if self.upper_half else ""
        return f"{self.task}-n{self.trials}-lapse{self.lapse:g}-eta{self.eta:g}{half}"

    @property
    def words(self) -> str:
        """The cell in words."""
        levels = "7 levels, the upper half of the curve" if self.upper_half else "7 levels, the whole curve"
        hidden = f", overdispersion η {self.eta:g}" if self.eta else ""
        return f"one curve, {self.task}, {levels} × {self.trials} trials, lapses {self.lapse:g}{hidden}"

    @property
    def levels(self) -> Floats:
        """Levels; −∞ stands for trials without signal."""
        shown = np.linspace(0 if self.upper_half else -1.2, 1.2, 7)
        return shown if self.task == "2afc" else np.array([-np.inf, *shown])

    @property
    def shown(self) -> Floats:
        """Trials at each level."""
        counts = np.full(7, float(self.trials))
        return counts if self.task == "2afc" else np.array([2.0 * self.trials, *counts])

    @property
    def probability(self) -> Floats:
        """P(yes) at each level."""
        guess = 0.5 if self.task == "2afc" else GUESS
        return guess + (1 - guess - self.lapse) * ndtr((self.levels - M) / SCALE)

    @property
    def model(self) -> PsychometricModel:
        """What is fitted: asymptotes as the task has them, binomial, the report's prior of the width."""
        guess = 0.5 if self.task == "2afc" else None
        return PsychometricModel(family="normal", guess=guess, width_prior=REPORT_WIDTH)


def batch(curve: Curve, seed: int, number: int) -> dict[str, Any]:
    """Returns intervals and p-values of 100 data sets."""
    generator = rng.numpy_generator(seed, "coverage", curve.words, number)
    fit = fit_psychometric(curve.model, curve.levels, _hits(curve, BATCH, generator), np.tile(curve.shown, (BATCH, 1)))
    row: dict[str, Any] = {
        name: _logged(name, *profile_interval(fit, quantity)) for name, quantity in QUANTITIES.items()
    }
    whole = [posterior_of(fit, index) for index in range(WHOLE)]
    row["posterior m"] = [found.interval("threshold") for found in whole]
    row["posterior ln w"] = [tuple(np.log(found.interval("width"))) for found in whole]
    if curve.eta:
        row |= _overdispersed(fit)
    else:
        p = [goodness_of_fit(fit, k, samples=SAMPLES, seed=BATCH * number + k).p_value for k in range(TESTED)]
        row["p"] = [value - generator.random() / (SAMPLES + 1) for value in p]  # no ties
    return row


def _hits(curve: Curve, size: int, generator: np.random.Generator) -> Floats:
    p = np.tile(curve.probability, (size, 1))
    if curve.eta:
        v = 1 / curve.eta**2 - 1
        p = generator.beta(p * v, (1 - p) * v)
    return generator.binomial(curve.shown.astype(int), p).astype(float)


def _logged(name: str, low: Floats, high: Floats) -> list[tuple[float, float]]:
    with np.errstate(divide="ignore"):
        low, high = (np.log(low), np.log(high)) if name == "ln w" else (low, high)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _overdispersed(fit: PsychometricFit) -> dict[str, Any]:
    """What the report offers where answers are overdispersed: quasi-t, and the posterior with η integrated out."""
    rows = range(HEAVY)
    quasi = [interval(fit, method="quasi-t", index=index) for index in range(BATCH)]
    knows = dataclasses.replace(fit.model, overdispersed=True)
    whole = [posterior(knows, fit.levels, fit.hits[index], fit.trials[index]) for index in rows]
    return {
        "quasi-t": [(each.low, each.high) for each in quasi],
        "overdispersed m": [found.interval("threshold") for found in whole],
    }


def shares(curve: Curve, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of each interval."""
    gate: Gate = "reported" if curve.eta else "inside"
    found = [covered(f"{name}, profile", _all(rows, name), TRUTH[name], gate) for name in QUANTITIES]
    found.append(covered("m, posterior", _all(rows, "posterior m"), M, gate))
    found.append(covered("ln w, posterior", _all(rows, "posterior ln w"), TRUTH["ln w"], gate))
    if curve.eta:
        found.append(covered("m, quasi-t", _all(rows, "quasi-t"), M, "reported"))
        found.append(covered("m, posterior with η integrated out", _all(rows, "overdispersed m"), M, "reported"))
    else:
        found.append(uniform("goodness of fit, refitted deviance", _all(rows, "p"), "inside"))
    return found


def _all(rows: Sequence[dict[str, Any]], key: str) -> list[Any]:
    return [value for row in rows for value in row[key]]


def ranks(seed: int, number: int) -> list[dict[str, float]]:
    """Returns, of data sets whose parameters come from the prior, the truth's place among 99 posterior draws.

    Of m, ln w, the lapse rate, and the log likelihood (a quantity that sees the data; Modrák et al. 2023).
    """
    generator = rng.numpy_generator(seed, "calibration", number)
    curve = Curve(task="2afc", trials=40)
    model = PsychometricModel(family="normal", guess=0.5, width_prior=WIDTH_PRIOR)
    return [_rank(curve, model, generator) for _ in range(PRIOR_BATCH)]


def _rank(curve: Curve, model: PsychometricModel, generator: np.random.Generator) -> dict[str, float]:
    span = float(np.ptp(curve.levels))
    m = generator.uniform(curve.levels[0] - span, curve.levels[-1] + span)
    log_w = generator.normal(np.log(WIDTH_PRIOR[0]), WIDTH_PRIOR[1])
    lapse = 1 - generator.uniform(0.5**BETA, 1) ** (1 / BETA)  # Beta(1, 10) below one half
    truth = np.array([[m, log_w, lapse]])
    hits = generator.binomial(curve.shown.astype(int), _probability(curve, truth)[0]).astype(float)
    drawn = posterior(model, curve.levels, hits, curve.shown).draws(DRAWS, generator)
    others = np.column_stack([drawn["threshold"], np.log(drawn["width"]), drawn["lapse"]])
    row = {name: float((others[:, k] < truth[0, k]).sum()) for k, name in enumerate(("m", "ln w", "lapse rate"))}
    likelihood = log_likelihood(_probability(curve, np.concatenate([truth, others])), hits, curve.shown)
    ties = float(generator.integers(0, 1 + int((likelihood[1:] == likelihood[0]).sum())))
    return row | {"log likelihood": float((likelihood[1:] < likelihood[0]).sum()) + ties}


def _probability(curve: Curve, theta: Floats) -> Floats:
    m, log_w, lapse = (theta[:, [column]] for column in range(3))
    p: Floats = 0.5 + (0.5 - lapse) * ndtr((curve.levels - m) / np.exp(log_w) * (W / SCALE))
    return p


def rank_shares(rows: Sequence[list[dict[str, float]]]) -> list[Share]:
    """Returns, for each quantity, the p-value of the ranks' distribution function against simultaneous bands."""
    every = [row for batch_rows in rows for row in batch_rows]
    return [
        Share(quantity=f"ranks of {name} among posterior draws", kind="uniform",
              value=uniform_ranks(np.array([row[name] for row in every])), n=len(every), nominal=0.5, gate="inside")
        for name in every[0]
    ]  # fmt: skip


def uniform_ranks(found: Floats, simulations: int = 2000) -> float:
    """Returns the share of uniform samples whose distribution function strays as far (Säilynoja et al. 2022).

    How far is the least binomial tail probability over all places; of one sample in twenty it is so small that the
    sample leaves the simultaneous 95 % bands.
    """
    generator = rng.numpy_generator(len(found), "uniform ranks")
    observed = _strays(found[None])[0]
    uniform_samples = generator.integers(0, DRAWS + 1, size=(simulations, len(found))).astype(float)
    return float((_strays(uniform_samples) <= observed).mean())


def _strays(samples: Floats) -> Floats:
    places = np.arange(1, DRAWS + 1)
    counts = np.stack([(samples < place).sum(axis=1) for place in places], axis=1)
    share, n = places / (DRAWS + 1), samples.shape[1]
    tails = 2 * np.minimum(binom.cdf(counts, n, share), binom.sf(counts - 1, n, share))
    return np.asarray(tails.min(axis=1))
