"""Measures how fast curves are fitted, beside psignifit 4.3 and statsmodels, in one run, the rivals taking turns.

``python benchmarks/analysis_speed.py [--rounds 3]`` writes benchmarks/results/analysis_speed.json. Needs the ``bench``
extra. psignifit always integrates over η, so our posteriors beside its default do too, under the same priors; those
without η are beside psignifit with η held at 0. How close posteriors are to a finer quadrature's, and how many fits
miss their optimum, is measured here as well. How a report grows with trials is measured by benchmarks/report_scale.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from scipy.stats import norm
from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM
from tqdm import tqdm

from analysis import intervals, likelihood
from analysis.estimates import PSYCHOMETRIC
from analysis.likelihood import Floats
from analysis.mixed_models import Random, fit
from analysis.psychometric import PsychometricModel, fit_psychometric, level_prior, posterior, posterior_batch
from analysis.psychometric import model as models
from analysis.psychometric.fitting import evaluation
from benchmarks import posterior_check
from benchmarks.claims import RESULTS, Claim, versions, write
from core import rng
from core.errors import DONE, MachineError, exit_code

LEVELS = np.array([-1.25, -0.75, -0.25, 0.25, 0.75, 1.25])
TRIALS = 40.0
BATCH, WARM_UP, SINGLES, POSTERIORS = 10_000, 50, 10, 100
REFERENCED, MISSED_BY = 5000, 1e-6  # fits beside tight ones, and by how much of log posterior one misses
CHECKED, UNSEEN = 30, 4  # random data sets beside the finer quadrature; nodes were chosen by those of seeds 1, 2 and 4
PARTICIPANTS, MODELS, REPLICATES = 40, 6, 2000
PEOPLE, PICTURES, SHOWN = 16, 60, 60
COMMAND = "python benchmarks/analysis_speed.py"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds of one unit of work in each round, ours and the other's."""

    ours: list[float]
    other: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as fast ours was, round by round."""
        return [other / ours for ours, other in zip(self.ours, self.other, strict=True)]


def answers(number: int, seed: int) -> Floats:
    """Returns answers [number, 6] of a yes-no observer: m 0.1, w 1.2, γ 0.03, λ 0.02, 40 trials a level."""
    p = 0.03 + 0.95 * norm.cdf((LEVELS - 0.1) * 3.28971 / 1.2)
    return (
        rng.numpy_generator(seed, "analysis speed").binomial(int(TRIALS), p, size=(number, len(LEVELS))).astype(float)
    )


def psignifit_fit(hits: Floats, **options: Any) -> Any:
    """Returns psignifit's default yes-no fit: the whole posterior over m, w, λ, γ and η."""
    try:
        psignifit = importlib.import_module("psignifit")
    except ModuleNotFoundError:
        raise MachineError(
            "psignifit is not installed, which this benchmark compares with; install the extra: pip install -e .[bench]"
        ) from None
    data = np.column_stack([LEVELS, hits, np.full(len(LEVELS), TRIALS)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return psignifit.psignifit(data, sigmoid="norm", experiment_type="yes/no", **options)


def own_model(*, overdispersed: bool = True) -> PsychometricModel:
    """Returns the model with psignifit's priors."""
    return PsychometricModel(family="normal", levels=level_prior(LEVELS), overdispersed=overdispersed)


def own_posterior(hits: Floats) -> tuple[float, tuple[float, float]]:
    """Returns our posterior of the same parameters under the same priors: mean and 95 % of m."""
    found = posterior(own_model(), LEVELS, hits, np.full(len(LEVELS), TRIALS))
    found.interval("width")
    return found.mean("threshold"), found.interval("threshold")


def own_posteriors(hits: Floats, *, overdispersed: bool) -> Floats:
    """Returns the bounds of m of many data sets."""
    found = posterior_batch(own_model(overdispersed=overdispersed), LEVELS, hits, np.full_like(hits, TRIALS))
    found.intervals("width")
    return np.stack(found.intervals("threshold"))


def seconds(work: Callable[[], Any]) -> float:
    """Returns how long a call took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Single posteriors, posteriors in a batch with η and without, and batched fits, each beside psignifit.

    ``differences`` are those of the bounds of m from psignifit's, ``shifted`` those from its bounds half a cell up.
    """

    single: Timed
    batch: Timed
    binomial: Timed
    fits: Timed
    differences: list[float]
    shifted: list[float]


def curves(rounds: int, seed: int) -> Curves:
    """Returns all that is measured beside psignifit, in turns."""
    hits, trials = answers(BATCH, seed), np.full((BATCH, len(LEVELS)), TRIALS)
    model = PsychometricModel(family="normal")
    own_posterior(hits[0])
    fit_psychometric(model, LEVELS, hits[:WARM_UP], trials[:WARM_UP])
    single, batch, binomial, fits, theirs, plain, off = [], [], [], [], [], [], []
    for turn in tqdm(range(rounds), desc="psignifit beside ours", unit="round"):
        few, many = hits[turn * SINGLES :][:SINGLES], hits[turn * POSTERIORS :][:POSTERIORS]
        single.append(seconds(lambda few=few: [own_posterior(row) for row in few]) / SINGLES)  # type: ignore[misc]
        begin = time.perf_counter()
        found = psignifit_fit(few[0])
        theirs.append(time.perf_counter() - begin)
        batch.append(_seconds_of_posteriors(many, overdispersed=True))
        plain.append(seconds(lambda few=few: psignifit_fit(few[0], fixed_parameters={"eta": 0.0})))  # type: ignore[misc]
        binomial.append(_seconds_of_posteriors(many, overdispersed=False))
        fits.append(seconds(lambda: fit_psychometric(model, LEVELS, hits, trials)) / BATCH)
        off.append(_bounds(found, own_posterior(few[0])[1]))
    return Curves(
        single=Timed(ours=single, other=theirs),
        batch=Timed(ours=batch, other=theirs),
        binomial=Timed(ours=binomial, other=plain),
        fits=Timed(ours=fits, other=theirs),
        differences=[each[0] for each in off],
        shifted=[each[1] for each in off],
    )


def _seconds_of_posteriors(hits: Floats, *, overdispersed: bool) -> float:
    return seconds(lambda: own_posteriors(hits, overdispersed=overdispersed)) / len(hits)


def _bounds(theirs: Any, ours: tuple[float, float]) -> tuple[float, float]:
    """Largest difference of our bounds of m from psignifit's, and from those half a cell up, in its widths."""
    low, high = theirs.confidence_intervals["threshold"]["0.95"]
    half = float(np.diff(theirs.parameter_values["threshold"]).mean()) / 2
    apart = np.subtract(ours, (low, high))
    return float(np.abs(apart).max() / (high - low)), float(np.abs(apart - half).max() / (high - low))


def mixed(rounds: int, seed: int) -> Timed:
    """Returns our Laplace approximation beside statsmodels' variational Bayes on the same crossed answers."""
    generator = rng.numpy_generator(seed, "analysis speed", "mixed")
    person = np.repeat(np.arange(PEOPLE), SHOWN)
    picture = np.concatenate([generator.permutation(PICTURES)[:SHOWN] for _ in range(PEOPLE)])
    x = generator.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=len(person))
    effects = 0.4 * generator.standard_normal(PEOPLE)[person] + 0.6 * generator.standard_normal(PICTURES)[picture]
    yes = (generator.uniform(size=len(x)) < 1 / (1 + np.exp(-0.3 - 2 * x - effects))).astype(float)
    design = np.column_stack([np.ones_like(x), x])
    random = [Random(name="participant", group=person), Random(name="picture", group=picture, eliminated=True)]
    blocks = np.concatenate([np.eye(PEOPLE)[person], np.eye(PICTURES)[picture]], axis=1)
    kinds = np.repeat([0, 1], [PEOPLE, PICTURES])
    ours, other = [], []
    for _ in tqdm(range(rounds), desc="statsmodels beside ours", unit="round"):
        ours.append(seconds(lambda: fit(design, yes, np.ones_like(yes), random)))
        rival = BinomialBayesMixedGLM(yes, design, blocks, kinds)
        other.append(seconds(rival.fit_vb))
    return Timed(ours=ours, other=other)


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """Seconds for all draws' pooled curves and for all participants' own, and the share of own fits that missed."""

    pooled: list[float]
    own: list[float]
    missed: list[float]


def clustered(rounds: int, seed: int) -> Clustered:
    """Returns what 2,000 draws of 40 participants with 6 source models take."""
    levels = np.concatenate([[-np.inf], np.arange(6.0)])
    p = np.clip(0.1 + 0.88 / (1 + np.exp(-(np.arange(-1, 6.0) - 2.5) * 1.9)), 0.1, 1)
    generator = rng.numpy_generator(seed, "analysis speed", "clustered")
    yes = generator.binomial(20, p, size=(MODELS, PARTICIPANTS, len(levels))).astype(float)
    trials = np.full((PARTICIPANTS, len(levels)), 20.0)
    pooled, own, missed = [], [], []
    for _ in tqdm(range(rounds), desc="clustered replicates", unit="round"):
        begin = time.perf_counter()
        weights = np.concatenate(list(intervals.participant_weights(PARTICIPANTS, REPLICATES, seed, progress=False)))
        for counts in yes:
            fit_psychometric(PSYCHOMETRIC, levels, weights @ counts, weights @ trials)
        pooled.append(time.perf_counter() - begin)
        again = generator.binomial(20, p, size=(REPLICATES * MODELS * PARTICIPANTS, len(levels))).astype(float)
        full = np.full_like(again, 20.0)
        begin = time.perf_counter()
        found = fit_psychometric(PSYCHOMETRIC, levels, again, full)
        own.append(time.perf_counter() - begin)
        few = slice(0, REFERENCED)
        best = tight_fits(PSYCHOMETRIC, levels, again[few], full[few])
        missed.append(float((found.fit.objective[few] < best - MISSED_BY).mean()))
    return Clustered(pooled=pooled, own=own, missed=missed)


def tight_fits(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns the best log posteriors [B] of three starts of Fisher scoring that go on to the last digits."""
    low, high = models.box(model, levels)
    found = []
    for start in models.starts(model, levels):
        at = np.tile(start, (len(hits), 1))
        for _ in range(3):  # a search that has come to rest is begun again, with little damping
            at = likelihood.climb(evaluation(model, levels, hits, trials), at, low, high, steps=400).parameters
        found.append(likelihood.climb(evaluation(model, levels, hits, trials), at, low, high, steps=400))
    return likelihood.best_of(found).objective


def quadrature(seed: int) -> tuple[list[float], list[float]]:
    """Returns how far our posteriors are from a finer quadrature's, and how far that moved at its last refinement."""
    found, moved = [], []
    for data in tqdm(posterior_check.data_sets(CHECKED, seed), total=CHECKED, desc="finer quadrature", unit="data set"):
        fine, last = posterior_check.reference(data)
        found.append(posterior_check.ours(data).differs(fine))
        moved.append(last)
    return found, moved


def _claim(
    words: str,
    values: Sequence[float],
    unit: str,
    aim: float | None,
    seed: int,
    *,
    beside: str | None = None,
    n: int = 0,
    largest: bool = False,
) -> Claim:
    middle = float(max(values) if largest else np.median(values))
    met = None if aim is None else (middle >= aim if unit == "×" else middle < aim)
    return Claim(
        claim=words,
        value=middle,
        unit=unit,
        aim=aim,
        met=None if met is None else bool(met),
        compared_with=beside,
        spread=(float(min(values)), float(max(values))),
        n=n or len(values),
        seed=seed,
        command=COMMAND,
        versions=versions("numpy", "scipy", "psignifit", "statsmodels"),
    )


def measure(rounds: int, seed: int) -> list[Claim]:
    """Returns the claims."""
    found = curves(rounds, seed)
    return [*_posterior_claims(found, seed), *_fit_claims(found, rounds, seed)]


def _posterior_claims(found: Curves, seed: int) -> list[Claim]:
    rival, data = "psignifit 4.3, default yes-no fit", "6 levels × 40 trials"
    apart, moved = quadrature(seed + UNSEEN)
    fine = "midpoint quadrature with up to 10⁷ cells, refined until bounds stay"
    return [
        _claim(f"whole posterior of a yes-no curve, η integrated out by both; {data}", found.single.ratios, "×", 200.0,
               seed, beside=rival),
        _claim(f"such posteriors in a batch of {POSTERIORS}; {data}", found.batch.ratios, "×", 200.0, seed,
               beside=rival),
        _claim(f"posteriors without η in a batch of {POSTERIORS}; {data}", found.binomial.ratios, "×", None, seed,
               beside="psignifit 4.3, yes-no, η held at 0"),
        _claim(f"seconds of ours for one posterior, η integrated out; {data}", found.single.ours, "s", None, seed),
        _claim("seconds of ours for each in a batch, η integrated out", found.batch.ours, "s", None, seed),
        _claim("seconds of ours for each in a batch, without η", found.binomial.ours, "s", None, seed),
        _claim(f"seconds of psignifit, η integrated out; {data}", found.single.other, "s", None, seed),
        _claim(f"seconds of psignifit, η held at 0; {data}", found.binomial.other, "s", None, seed),
        _claim("largest difference of the bounds of m from psignifit's, in widths of its interval", found.differences,
               "widths", None, seed, largest=True),
        _claim("the same from psignifit's bounds moved up by half a cell, by which they are low", found.shifted,
               "widths", None, seed, largest=True),
        _claim(f"largest difference of means and 95 % bounds, in widths, {CHECKED} random data sets",
               apart, "widths", 0.02, seed + UNSEEN, beside=fine, largest=True),
        _claim("largest change of that quadrature at its last refinement, in widths", moved, "widths", 0.02,
               seed + UNSEEN, largest=True),
    ]  # fmt: skip


def _fit_claims(found: Curves, rounds: int, seed: int) -> list[Claim]:
    laplace, groups = mixed(rounds, seed), clustered(rounds, seed)
    data, own_s = "6 levels × 40 trials", [1 / each for each in found.fits.ours]
    rows, vb = f"{PEOPLE} participants × {SHOWN} pictures, logit", "statsmodels BinomialBayesMixedGLM.fit_vb"
    return [
        _claim(f"maximum a posteriori fit in a batch of {BATCH}; {data}", found.fits.ratios, "×", 10_000.0, seed,
               beside="psignifit 4.3, default yes-no fit"),
        _claim("fits a second in that batch", own_s, "fits/s", None, seed),
        _claim(f"Laplace approximation of a mixed model; {rows}", laplace.ratios, "×", 1.0, seed, beside=vb),
        _claim(f"seconds of our Laplace approximation; {rows}", laplace.ours, "s", None, seed),
        _claim("seconds for 2,000 clustered replicates × 6 source models, pooled curves of 40 participants",
               groups.pooled, "s", 15.0, seed),
        _claim("seconds for 2,000 replicates × 6 source models × 40 participants, a curve each (480,000 fits)",
               groups.own, "s", 15.0, seed),
        _claim(f"share of those fits below the best of three tight ones by {MISSED_BY:g} of log posterior or more",
               groups.missed, "share", 0.001, seed, n=REFERENCED * rounds),
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the claims."""
    parser = argparse.ArgumentParser(prog="analysis_speed", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of each rival (default: 3)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "analysis_speed.json")
    arguments = parser.parse_args(argv)
    claims = measure(arguments.rounds, arguments.seed)
    write(arguments.out, claims)
    for row in claims:
        low, high = row.spread or (row.value, row.value)
        print(f"{row.value:.4g} {row.unit} [{low:.4g}, {high:.4g}]  {row.claim}")
    return DONE


if __name__ == "__main__":
    sys.exit(exit_code(main))
