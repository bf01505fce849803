"""Measures how fast curves are fitted, beside psignifit 4.3 and statsmodels, in one run, the rivals taking turns.

``python benchmarks/analysis_speed.py [--rounds 3]`` writes benchmarks/results/analysis_speed.json. Needs the ``bench``
extra. How a report's time and memory grow with trials is measured by benchmarks/report_scale.py.
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

from analysis import intervals
from analysis.estimates import PSYCHOMETRIC
from analysis.likelihood import Floats
from analysis.mixed_models import Random, fit
from analysis.psychometric import PsychometricModel, fit_psychometric, level_prior, posterior
from benchmarks.claims import RESULTS, Claim, versions, write
from core import rng
from core.errors import DONE, MachineError, exit_code

LEVELS = np.array([-1.25, -0.75, -0.25, 0.25, 0.75, 1.25])
TRIALS = 40.0
BATCH, WARM_UP = 10_000, 50
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


def psignifit_fit(hits: Floats) -> Any:
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
        return psignifit.psignifit(data, sigmoid="norm", experiment_type="yes/no")


def own_posterior(hits: Floats) -> tuple[float, tuple[float, float]]:
    """Returns our posterior of the same parameters under the same priors: mean and 95 % of m."""
    model = PsychometricModel(family="normal", levels=level_prior(LEVELS), overdispersed=True)
    found = posterior(model, LEVELS, hits, np.full(len(LEVELS), TRIALS))
    found.interval("width")
    return found.mean("threshold"), found.interval("threshold")


def seconds(work: Callable[[], Any]) -> float:
    """Returns how long a call took."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def curves(rounds: int, seed: int) -> tuple[Timed, Timed, list[float]]:
    """Returns single posteriors and batched fits beside psignifit, and how far both intervals differ."""
    hits, trials = answers(BATCH, seed), np.full((BATCH, len(LEVELS)), TRIALS)
    own_posterior(hits[0])
    model = PsychometricModel(family="normal")
    fit_psychometric(model, LEVELS, hits[:WARM_UP], trials[:WARM_UP])
    single, batched, theirs, differences = [], [], [], []
    for turn in tqdm(range(rounds), desc="psignifit beside ours", unit="round"):
        rows = hits[turn * 10 : turn * 10 + 10]
        single.append(seconds(lambda rows=rows: [own_posterior(row) for row in rows]) / 10)  # type: ignore[misc]
        begin = time.perf_counter()
        found = psignifit_fit(rows[0])
        theirs.append(time.perf_counter() - begin)
        batched.append(seconds(lambda: fit_psychometric(model, LEVELS, hits, trials)) / BATCH)
        low, high = found.confidence_intervals["threshold"]["0.95"]
        differences.append(max(abs(np.subtract(own_posterior(rows[0])[1], (low, high)))) / (high - low))
    return Timed(ours=single, other=theirs), Timed(ours=batched, other=theirs), differences


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


def clustered(rounds: int, seed: int) -> tuple[list[float], list[float]]:
    """Returns seconds for 2,000 draws of 40 participants with 6 source models: pooled curves, and all own curves."""
    levels = np.concatenate([[-np.inf], np.arange(6.0)])
    p = np.clip(0.1 + 0.88 / (1 + np.exp(-(np.arange(-1, 6.0) - 2.5) * 1.9)), 0.1, 1)
    generator = rng.numpy_generator(seed, "analysis speed", "clustered")
    yes = generator.binomial(20, p, size=(MODELS, PARTICIPANTS, len(levels))).astype(float)
    trials = np.full((PARTICIPANTS, len(levels)), 20.0)
    pooled, own = [], []
    for _ in tqdm(range(rounds), desc="clustered replicates", unit="round"):
        begin = time.perf_counter()
        weights = np.concatenate(list(intervals.participant_weights(PARTICIPANTS, REPLICATES, seed, progress=False)))
        for counts in yes:
            fit_psychometric(PSYCHOMETRIC, levels, weights @ counts, weights @ trials)
        pooled.append(time.perf_counter() - begin)
        own.append(_own_curves(yes, levels, p, generator))
    return pooled, own


def _own_curves(yes: Floats, levels: Floats, p: Floats, generator: np.random.Generator) -> float:
    """Seconds for new answers of every participant to every source model in every replicate, from one tenth of them."""
    again = generator.binomial(20, p, size=(REPLICATES // 10 * yes.shape[0] * PARTICIPANTS, len(levels))).astype(float)
    full = np.full_like(again, 20.0)
    return 10 * seconds(lambda: fit_psychometric(PSYCHOMETRIC, levels, again, full))


def _claim(
    words: str,
    values: Sequence[float],
    unit: str,
    aim: float | None,
    seed: int,
    *,
    beside: str | None = None,
    n: int = 0,
) -> Claim:
    middle = float(np.median(values))
    met = None if aim is None else (middle >= aim if beside else middle < aim)
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
    single, batched, differences = curves(rounds, seed)
    laplace = mixed(rounds, seed)
    pooled, own = clustered(rounds, seed)
    rival, vb = "psignifit 4.3, default yes-no fit", "statsmodels BinomialBayesMixedGLM.fit_vb"
    data, own_s = "6 levels × 40 trials", [1 / each for each in batched.ours]
    rows = f"{PEOPLE} participants × {SHOWN} pictures, logit"
    return [
        _claim(f"whole posterior of a yes-no curve, η integrated out; {data}", single.ratios, "×", 200.0, seed,
               beside=rival),
        _claim(f"seconds of ours for that posterior; {data}", single.ours, "s", None, seed),
        _claim(f"seconds of psignifit for that posterior; {data}", single.other, "s", None, seed),
        _claim("largest difference of the bounds of m between both posteriors, in widths of psignifit's interval",
               differences, "widths", None, seed),
        _claim(f"maximum a posteriori fit in a batch of {BATCH}; {data}", batched.ratios, "×", 10_000.0, seed,
               beside=rival),
        _claim("fits a second in that batch, three starts each", own_s, "fits/s", None, seed),
        _claim(f"Laplace approximation of a mixed model; {rows}", laplace.ratios, "×", 1.0, seed, beside=vb),
        _claim(f"seconds of our Laplace approximation; {rows}", laplace.ours, "s", None, seed),
        _claim("seconds for 2,000 clustered replicates × 6 source models, pooled curves of 40 participants", pooled,
               "s", 15.0, seed),
        _claim("seconds for 2,000 replicates × 6 source models × 40 participants, a curve each (480,000 fits; ten "
               "times a tenth)", own, "s", 15.0, seed),
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
