"""One observer, one curve: intervals of each printed quantity, goodness of fit, and calibration of the posterior.

Design of the protocol: S normal, m 0.1, w 1.2, seven levels on [−1.2, 1.2] (or on its upper half), γ 0.5 or 0.03, and
trials without signal (as many as at two levels) in yes-no.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit, ndtr
from scipy.stats import binom

from analysis.likelihood import Floats, log_likelihood
from analysis.psychometric import (
    BETA,
    SIGMOIDS,
    CurveInterval,
    PsychometricFit,
    PsychometricModel,
    Quantity,
    fit_psychometric,
    interval,
    posterior,
    posterior_of,
    profile_interval,
)
from analysis.psychometric.profiles import value_of
from analysis.psychometric.sigmoids import Shape
from benchmarks.coverage import fit_tests
from benchmarks.coverage.acceptance import Gate, Share, covered
from core import rng

M, W, GUESS = 0.1, 1.2, 0.03
BATCH, BATCHES = 500, 4  # 2000 data sets a cell
HEAVY = 100  # data sets of a batch with a posterior of η
PRIOR_BATCH, PRIOR_BATCHES, DRAWS = 20, 50, 99
REPORT_WIDTH = (1.44, 1.0)  # 0.6 of the range that is tested, as 3 octaves are of the usual five
WIDTH_PRIOR = (1.2, 0.5)  # of calibration, where parameters are drawn from the prior
QUANTITIES = {
    "m": Quantity(), "ln w": Quantity(name="width"), "slope": Quantity(name="slope"),
    "threshold at 0.75": Quantity(proportion=0.75),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A cell: ``trials`` a level.

    Attributes:
        eta: makes answers of a level hang together, which the binomial fit does not know.
        family: S of the observer; ``fitted`` that of the fit.
        wide: w is twice the usual, which is the whole range of levels: not all of the rise is tested.
        tested: whether goodness of fit is tested too (ten times the work of an interval).
        integrated: whether η is integrated out of a posterior too (twenty times the work).
    """

    task: str
    trials: int
    lapse: float = 0.02
    eta: float = 0.0
    upper_half: bool = False
    family: Shape = "normal"
    fitted: Shape = "normal"
    wide: bool = False
    tested: bool = False
    integrated: bool = False

    @property
    def name(self) -> str:
        """Short."""
        half, wide = "-upper" if self.upper_half else "", "-wide" if self.wide else ""
        shape = "" if self.family == self.fitted == "normal" else f"-{self.family}-{self.fitted}"
        return f"{self.task}-n{self.trials}-lapse{self.lapse:g}-eta{self.eta:g}{half}{wide}{shape}"

    @property
    def words(self) -> str:
        """The cell in words."""
        levels = "7 levels, the upper half of the curve" if self.upper_half else "7 levels, the whole curve"
        levels = "7 levels that the curve outruns" if self.wide else levels
        hidden = f", overdispersion η {self.eta:g}" if self.eta else ""
        shape = "" if self.family == self.fitted == "normal" else f", S {self.family}, fitted {self.fitted}"
        return f"one curve, {self.task}, {levels} × {self.trials} trials, lapses {self.lapse:g}{hidden}{shape}"

    @property
    def known(self) -> bool:
        """Whether the fit's model is that of the observer."""
        return not self.eta and self.family == self.fitted

    @property
    def says_little(self) -> bool:
        """Whether answers say little of the width, so that its prior makes the interval cautious (``profiles``)."""
        return self.task == "2afc" or self.upper_half or self.trials < 20

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
    def parameters(self) -> Floats:
        """The truth as the fit has it: m, ln w, logit 2γ, logit 2λ."""
        return np.array([M, np.log(2 * W if self.wide else W), logit(2 * GUESS), logit(2 * self.lapse)])

    @property
    def probability(self) -> Floats:
        """P(yes) at each level."""
        guess, sigmoid = 0.5 if self.task == "2afc" else GUESS, SIGMOIDS[self.family]
        z = (self.levels - M) * sigmoid.width / np.exp(self.parameters[1]) + sigmoid.quantile(0.5)
        return guess + (1 - guess - self.lapse) * np.where(np.isfinite(z), sigmoid.cdf(np.maximum(z, -1e3)), 0.0)

    @property
    def model(self) -> PsychometricModel:
        """What is fitted: asymptotes as the task has them, binomial, the report's prior of the width."""
        guess = 0.5 if self.task == "2afc" else None
        return PsychometricModel(family=self.fitted, guess=guess, width_prior=REPORT_WIDTH)

    def truth(self, quantity: Quantity) -> float:
        """Returns m, ln w, ln slope or a threshold of the observer."""
        return float(value_of(self.model, quantity, self.parameters))


def batch(curve: Curve, seed: int, number: int, size: int = BATCH) -> dict[str, Any]:
    """Returns intervals of ``size`` data sets, p-values of every other one and posteriors of every fourth."""
    generator = rng.numpy_generator(seed, "coverage", curve.words, number)
    fit = fit_psychometric(
        curve.model, curve.levels, draw_answers(curve, size, generator), np.tile(curve.shown, (size, 1))
    )
    row: dict[str, Any] = {
        name: _logged(quantity, *profile_interval(fit, quantity)) for name, quantity in QUANTITIES.items()
    }
    whole = [posterior_of(fit, index) for index in range(size // 4)]
    row["posterior m"] = [found.interval("threshold") for found in whole]
    row["posterior ln w"] = [tuple(np.log(found.interval("width"))) for found in whole]
    row["quasi-t"] = [_ends(interval(fit, method="quasi-t", index=index)) for index in range(size)]
    if curve.tested:
        row |= fit_tests.p_values(fit, range(size // (2 if curve.known else 5)), number * size, generator)
    if curve.integrated:
        row |= _overdispersed(fit, min(HEAVY, size // 5))
    return row


def draw_answers(curve: Curve, size: int, generator: np.random.Generator) -> Floats:
    """Returns hits [size, L] of the observer."""
    p = np.tile(curve.probability, (size, 1))
    if curve.eta:
        v = 1 / curve.eta**2 - 1
        p = generator.beta(p * v, (1 - p) * v)
    return generator.binomial(curve.shown.astype(int), p).astype(float)


def _logged(quantity: Quantity, low: Floats, high: Floats) -> list[tuple[float, float]]:
    with np.errstate(divide="ignore"):
        low, high = (low, high) if quantity.name == "threshold" else (np.log(low), np.log(high))
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _ends(found: CurveInterval) -> tuple[float, float]:
    return found.low, found.high


def _overdispersed(fit: PsychometricFit, size: int) -> dict[str, Any]:
    """The posterior with η integrated out."""
    knows = dataclasses.replace(fit.model, overdispersed=True)
    whole = [posterior(knows, fit.levels, fit.hits[index], fit.trials[index]) for index in range(size)]
    return {
        "overdispersed m": [found.interval("threshold") for found in whole],
        "eta": [found.interval("eta") for found in whole],
    }


def shares(curve: Curve, rows: Sequence[dict[str, Any]]) -> list[Share]:
    """Returns the coverage of each interval.

    The default of m, ln w and slope is the profile likelihood, beside which quasi-t, cautious where answers are not
    overdispersed, is printed of m; posteriors are offered, and reported here.
    """
    found = [_profile(curve, name, _all(rows, name)) for name in QUANTITIES]
    found.append(covered("m, posterior", _all(rows, "posterior m"), M, "reported"))
    found.append(covered("ln w, posterior", _all(rows, "posterior ln w"), curve.truth(QUANTITIES["ln w"]), "reported"))
    gate: Gate = "not below" if curve.family == curve.fitted and not curve.wide else "reported"
    found.append(covered("m, quasi-t", _all(rows, "quasi-t"), M, gate))
    if curve.integrated:
        found.append(covered("m, posterior with η integrated out", _all(rows, "overdispersed m"), M, "reported"))
        found.append(covered("η, posterior", _all(rows, "eta"), curve.eta, "reported"))
    if curve.tested:
        found += fit_tests.shares(rows, known=curve.known)
    return found


def _profile(curve: Curve, name: str, found: list[Any]) -> Share:
    gate: Gate = "not below" if name != "m" and curve.says_little else "inside"
    if not curve.known or curve.wide:
        gate = "reported"
    balanced = curve.lapse > 0 and (name == "m" or curve.trials >= 40)
    return covered(
        f"{name}, profile", found, curve.truth(QUANTITIES[name]), gate, sides=gate != "reported" and balanced
    )


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
    p: Floats = 0.5 + (0.5 - lapse) * ndtr((curve.levels - m) / np.exp(log_w) * SIGMOIDS["normal"].width)
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
