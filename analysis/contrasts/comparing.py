"""Differences between source models: paired threshold ratios, multiplicity, equivalence, effect sizes.

A contrast is a difference of log2 thresholds over the same bootstrap draws of participants; t = difference / bootstrap
standard error with P − 1 degrees of freedom, P being the participants who saw both source models. The interval is
that of the same t. Equivalence: two one-sided tests (Schuirmann 1987) against the plan's margin in octaves, which is
to say whether the 1 − 2 α interval lies inside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from analysis.intervals import bootstrap_error
from analysis.likelihood import Floats
from analysis.multiplicity import holm, step_down_max_t
from analysis.threshold_draws import Quantity, ThresholdDraws

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How contrasts are judged.

    ``alpha`` of each test, with intervals at 1 − α; equivalence within ± ``margin`` octaves; ``seed`` of max-t.
    """

    alpha: float = 0.05
    margin: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5 or self.margin <= 0:
            raise ValueError(f"expected 0 < alpha < 0.5 and margin > 0, got {self.alpha:g} and {self.margin:g}")


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests: ``p`` is the larger of the two; ``low`` and ``high`` bound the 1 − 2 α interval.

    ``equivalent`` says whether that interval lies within ± ``margin``; ``p_holm`` is adjusted over the family.
    """

    low: float
    high: float
    margin: float
    p: float
    p_holm: float
    equivalent: bool


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A contrast that can be estimated; everything in octaves (log2), ``p_holm`` and ``p_max_t`` over the family."""

    log2_ratio: float
    low: float
    high: float
    standard_error: float
    t: float
    df: int
    p: float
    p_holm: float
    p_max_t: float
    family: int
    equivalence: Equivalence


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Threshold of ``first`` over that of ``second``; ``found`` or ``reason`` (in words) why there is none."""

    quantity: Quantity
    first: str
    second: str
    confirmatory: bool
    found: Difference | None
    reason: str | None

    @property
    def name(self) -> str:
        """``first/second``, as a plan names it."""
        return f"{self.first}/{self.second}"


def all_pairs(models: Sequence[str], planned: Sequence[Pair] = ()) -> list[Pair]:
    """Returns the planned pairs as planned, then every other pair of source models in order."""
    known = [pair for pair in planned if set(pair) <= set(models) and pair[0] != pair[1]]
    named = {frozenset(pair) for pair in known}
    return known + [pair for pair in itertools.combinations(models, 2) if frozenset(pair) not in named]


def compare(
    thresholds: ThresholdDraws, pairs: Sequence[Pair], settings: Settings, *, confirmatory: bool = False
) -> list[Contrast]:
    """Returns the contrasts of ``pairs``, which are one family for multiplicity.

    Args:
        thresholds: of all source models, over the same draws.
        pairs: source models (numerator, denominator).
        settings: α, margin and seed.
        confirmatory: whether a plan names them.
    """
    reasons = [_why_not(thresholds, pair) for pair in pairs]
    good = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    differences = iter(_differences(thresholds, good, settings))
    return [
        Contrast(
            quantity=thresholds.quantity,
            first=pair[0],
            second=pair[1],
            confirmatory=confirmatory,
            found=next(differences) if reason is None else None,
            reason=reason,
        )
        for pair, reason in zip(pairs, reasons, strict=True)
    ]


def _why_not(thresholds: ThresholdDraws, pair: Pair) -> str | None:
    own = {name: thresholds.reasons[thresholds.models.index(name)] for name in pair}
    lacking = [f"{name} has no threshold ({reason})" for name, reason in own.items() if reason is not None]
    if lacking:
        return " and ".join(lacking).replace("_", " ")
    if _participants(thresholds, pair) < 3:
        return "fewer than 3 participants saw both source models"
    return None


def _participants(thresholds: ThresholdDraws, pair: Pair) -> int:
    columns = [thresholds.models.index(name) for name in pair]
    return int(thresholds.saw[:, columns].all(axis=1).sum())


def _differences(thresholds: ThresholdDraws, pairs: Sequence[Pair], settings: Settings) -> list[Difference]:
    if not pairs:
        return []
    first, second = np.array([[thresholds.models.index(name) for name in pair] for pair in pairs]).T
    estimate = thresholds.point[first] - thresholds.point[second]
    draws = thresholds.draws[:, first] - thresholds.draws[:, second]
    df = np.array([_participants(thresholds, pair) - 1 for pair in pairs])
    error = bootstrap_error(draws, df + 1)
    p = np.asarray(2 * student.sf(np.abs(estimate) / error, df))
    adjusted = np.stack([holm(p), step_down_max_t(estimate, draws, df, settings.seed)], axis=1)
    tost = equivalence_p(estimate, error, df, settings.margin)
    tost_holm = holm(tost)
    return [
        _difference(
            float(estimate[k]), float(error[k]), int(df[k]), adjusted[k], len(pairs),
            _equivalence(float(estimate[k]), float(error[k]), int(df[k]), float(tost_holm[k]), settings),
            settings.alpha,
        )
        for k in range(len(pairs))
    ]  # fmt: skip


def _difference(
    estimate: float, error: float, df: int, adjusted: Floats, family: int, equivalence: Equivalence, alpha: float
) -> Difference:
    half = float(student.ppf(1 - alpha / 2, df)) * error
    return Difference(
        log2_ratio=estimate, low=estimate - half, high=estimate + half, standard_error=error,
        t=estimate / error, df=df, p=float(2 * student.sf(abs(estimate) / error, df)),
        p_holm=float(adjusted[0]), p_max_t=float(adjusted[1]), family=family, equivalence=equivalence,
    )  # fmt: skip


def equivalence_p(estimate: Floats, error: Floats, df: Floats, margin: float) -> Floats:
    """Returns the p-value of two one-sided t tests that |difference| < margin: the larger of the two; broadcasts."""
    p: Floats = np.maximum(student.sf((estimate + margin) / error, df), student.sf((margin - estimate) / error, df))
    return p


def _equivalence(estimate: float, error: float, df: int, p_holm: float, settings: Settings) -> Equivalence:
    p = float(equivalence_p(np.array(estimate), np.array(error), np.array(df), settings.margin))
    half = float(student.ppf(1 - settings.alpha, df)) * error
    return Equivalence(
        low=estimate - half, high=estimate + half, margin=settings.margin, p=p, p_holm=p_holm,
        equivalent=p < settings.alpha,
    )  # fmt: skip


def families(thresholds: Sequence[ThresholdDraws], planned: Sequence[Pair], settings: Settings) -> list[Contrast]:
    """Returns all contrasts of a study: of the first quantity the planned ones as a family, then the others.

    Every further quantity is one more family, exploratory throughout.
    """
    found: list[Contrast] = []
    for index, quantity in enumerate(thresholds):
        pairs = all_pairs(quantity.models, planned)
        named = [pair for pair in pairs if pair in planned] if index == 0 else []
        found += compare(quantity, named, settings, confirmatory=True)
        found += compare(quantity, [pair for pair in pairs if pair not in named], settings)
    return found
