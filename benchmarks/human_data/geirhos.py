"""Geirhos et al. (2018): people named one of 16 objects in pictures of graded contrast or noise; CC BY 4.0.

Contrast helps: P(right) rises from chance, 1/16, to 1 − λ, where λ holds the errors of naming at full contrast. Noise
hurts: P(wrong) rises from γ, the errors of naming without noise (ε = 0, treated exactly), to 15/16, the errors of
guessing: the same function with λ fixed at 1/16 and γ free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import chi2

from analysis.intervals import bootstrap_error, t_quantile
from analysis.likelihood import Floats
from analysis.psychometric import PsychometricFit, PsychometricModel, fit_psychometric
from analysis.signal_detection import clustered

Which = Literal["contrast", "noise"]
CHOICES = 16
FAMILIES = ("normal", "logistic", "gumbel")
REPLICATES, SEED = 2000, 1
NOTE = {  # pooled answers to the same task with other people and pictures, research note 3.2, H: m, w, λ (log10 %)
    "normal": (0.82964, 1.0568, 0.16458),
    "logistic": (0.83275, 1.1407, 0.15921),
    "gumbel": (0.85576, 1.0736, 0.17412),
}


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """Counts of one distortion, [P, L]: ``counted`` are right answers with contrast, wrong ones with noise.

    ``pictures`` is how many different ones were shown, ``at_one_level`` how many of them at a single level.
    """

    which: Which
    level: Floats
    counted: Floats
    trials: Floats
    unanswered: Floats
    pictures: int
    at_one_level: int

    @property
    def axis(self) -> Floats:
        """log10 of the level; −∞ where it is 0."""
        return np.where(self.level > 0, np.log10(np.where(self.level > 0, self.level, 1.0)), -np.inf)

    def model(self, family: str, *, asymptote: float | None = None) -> PsychometricModel:
        """Returns the function to fit; ``asymptote`` fixes the errors of naming, else they are estimated."""
        chance = 1 / CHOICES
        guess, lapse = (chance, asymptote) if self.which == "contrast" else (asymptote, chance)
        return PsychometricModel(family=family, guess=guess, lapse=lapse, width_prior=None)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One fit of pooled answers: m and w in log10 of the level, with 95 % intervals over the participants."""

    family: str
    m: float
    w: float
    naming_errors: float
    deviance: float
    df: int
    p: float
    m_interval: tuple[float, float]
    w_interval: tuple[float, float]


def read(path: Path, which: Which, *, unanswered: Literal["wrong", "left out"]) -> Distortion:
    """Returns the counts of one table; contrast counts right answers, noise wrong ones."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.columns = table.columns.str.strip()  # some of these files have blanks before their headers
    answered = (table["object_response"] != "na").to_numpy()
    level = table["condition"].str.removeprefix("c").astype(float).to_numpy()
    right = (table["object_response"] == table["category"]).to_numpy()
    person, place = (np.unique(values, return_inverse=True)[1] for values in (table["subj"], level))
    use = np.ones(len(table), dtype=bool) if unanswered == "wrong" else answered
    shape = (person.max() + 1, place.max() + 1)
    hit = right if which == "contrast" else ~right
    picture = table["imagename"].str.split("_").str[6:].str.join("_")  # ImageNet's name; before it, how it was shown
    levels = table.assign(picture=picture).groupby("picture")["condition"].nunique()
    return Distortion(
        which=which, level=np.unique(level), counted=_sum(shape, person, place, use & hit),
        trials=_sum(shape, person, place, use), unanswered=_sum(shape, person, place, ~answered),
        pictures=len(levels), at_one_level=int((levels == 1).sum()),
    )  # fmt: skip


def _sum(shape: tuple[int, int], person: np.ndarray, place: np.ndarray, which: np.ndarray) -> Floats:
    found = np.zeros(shape)
    np.add.at(found, (person, place), which.astype(float))
    return found


def fit(data: Distortion, model: PsychometricModel, hits: Floats, trials: Floats) -> PsychometricFit:
    """Returns the fits of B pooled data sets [B, L]."""
    return fit_psychometric(model, data.axis, hits, trials)


def curves(data: Distortion) -> Sequence[Curve]:
    """Returns a fit of each family, errors of naming estimated."""
    return [curve(data, family) for family in FAMILIES]


def curve(data: Distortion, family: str, *, asymptote: float | None = None) -> Curve:
    """Returns one fit; intervals from resampling the five participants, t with four degrees of freedom."""
    model = data.model(family, asymptote=asymptote)

    def parameters(counts: Floats) -> Floats:
        found = fit(data, model, counts[:, 0], counts[:, 1])
        return np.stack([found.threshold, np.log(found.width)], axis=1)

    both = np.stack([data.counted, data.trials], axis=1)
    estimate, draws = clustered(parameters, both, replicates=REPLICATES, seed=SEED)
    half = t_quantile(len(both)) * bootstrap_error(draws, len(both))
    low, high = estimate - half, estimate + half
    found = fit(data, model, data.counted.sum(axis=0)[None], data.trials.sum(axis=0)[None])
    df = len(data.level) - found.free_parameters
    return Curve(
        family=family, m=float(found.threshold[0]), w=float(found.width[0]), naming_errors=naming(data, found),
        deviance=float(found.deviance[0]), df=df, p=float(chi2.sf(found.deviance[0], df)),
        m_interval=(float(low[0]), float(high[0])), w_interval=(float(np.exp(low[1])), float(np.exp(high[1]))),
    )  # fmt: skip


def naming(data: Distortion, found: PsychometricFit) -> float:
    """Returns the errors of naming what can be seen: λ with contrast, γ with noise."""
    return float((found.lapse if data.which == "contrast" else found.guess)[0])
