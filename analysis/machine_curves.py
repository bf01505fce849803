"""Robustness curves of machines, picture by picture, and the psychometric function of a machine fitted to them.

A machine's curve is that of one run under one attack, in one region, on pictures made against itself with full access;
curves of different attacks are never pooled. A picture counts as fooled where the machine's answer is wrong, also if it
is wrong unattacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from analysis.likelihood import Floats, best_of, deviance, maximise
from analysis.psychometric import SIGMOIDS
from core.runs import WORST_CASE, Evaluation

SIGMOID = SIGMOIDS["logistic"]
WIDTH_PRIOR = (np.log(3.0), 1.0)  # of ln w, w in octaves, as for people
MAX_LOGIT = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class MachineCurve:
    """Accuracy over ε of one run under one attack.

    Attributes:
        model: name of the source model, ``<run>`` or ``<run>/<region>``.
        eps: rising, 0 first, [K].
        correct: pictures that stay right, [K]; ``pictures``: of how many, [K].
        pictures: see there.
        right: by picture, [I, K], in the order of ``names``; ``None`` without ``outcomes.parquet``.
        classes: of the machine; ``None`` if unknown.
    """

    model: str
    run: str
    attack: str
    region: str
    eps: Floats
    correct: Floats
    pictures: Floats
    names: tuple[str, ...]
    right: Floats | None
    classes: int | None

    @property
    def accuracy(self) -> Floats:
        """Share of pictures that stay right, [K]."""
        return self.correct / self.pictures


def curves(
    model: str, evaluation: Evaluation, outcomes: pd.DataFrame | None, classes: int | None
) -> Iterator[MachineCurve]:
    """Yields the curves of a source model, by attack; those with fewer than two ε above 0 too."""
    run, _, region = model.partition("/")
    region = region or "full"
    rows = [row for row in evaluation.curve if (row.norm, row.source, row.access) == ("linf", run, "full")]
    clean = [row for row in rows if row.eps == 0]
    for attack in sorted({row.attack for row in rows if row.eps > 0 and row.region == region} - {WORST_CASE}):
        own = sorted((row for row in rows if row.attack == attack and row.region == region), key=lambda row: row.eps)
        ladder = [*clean[:1], *(row for row in own if row.eps > 0)]
        names, right = _by_picture(outcomes, run, attack, region, [row.eps for row in ladder])
        yield MachineCurve(
            model=model,
            run=run,
            attack=attack,
            region=region,
            eps=np.array([row.eps for row in ladder]),
            correct=np.array([float(row.correct) for row in ladder]),
            pictures=np.array([float(row.pictures) for row in ladder]),
            names=names,
            right=right,
            classes=classes,
        )


def _by_picture(
    outcomes: pd.DataFrame | None, run: str, attack: str, region: str, eps: list[float]
) -> tuple[tuple[str, ...], Floats | None]:
    """Which pictures stay right at each ε; nothing unless every picture has an outcome at every ε."""
    if outcomes is None:
        return (), None
    own = outcomes[(outcomes["norm"] == "linf") & (outcomes["source"] == run) & (outcomes["access"] == "full")]
    attacked = own[(own["attack"] == attack) & (own["region"] == region)]
    rows = pd.concat([own[own["eps"] == 0], attacked[attacked["eps"] > 0]])
    table = rows.pivot_table(index="source_id", columns="eps", values="fooled", aggfunc="max", observed=True)
    if not set(eps) <= set(table.columns) or table[eps].isna().any(axis=None):
        return (), None
    return tuple(map(str, table.index)), 1.0 - table[eps].to_numpy(dtype=float)


def resampled(
    curve: MachineCurve, names: tuple[str, ...], weights: Floats | NDArray[np.uint8], generator: np.random.Generator
) -> Floats:
    """Returns the accuracy [B, K] with pictures drawn ``weights`` [B, I] times, I in the order of ``names``.

    Without outcomes by picture each picture is taken to fall at one ε and to stay wrong from there, the accuracies made
    to fall, so that what is drawn hangs together over ε as that of the same pictures does.
    """
    if curve.right is None:
        n = int(curve.pictures.max())
        standing = np.minimum.accumulate(np.clip(curve.accuracy, 0, 1))
        fallen = generator.multinomial(n, -np.diff(standing, prepend=1.0, append=0.0), size=len(weights))
        drawn: Floats = 1 - np.cumsum(fallen[:, :-1], axis=1) / n
        return drawn
    place = {name: index for index, name in enumerate(names)}
    own = weights[:, [place[name] for name in curve.names]].astype(float)
    share: Floats = (own @ curve.right) / np.maximum(own.sum(axis=1, keepdims=True), 1)
    return share


def accuracy_at(curve: MachineCurve, accuracy: Floats, eps: Floats) -> Floats:
    """Returns the accuracy at ε [B] read off curves [B, K]: linear in log2 ε between tested ε, linear in ε below them.

    NaN beyond the largest tested ε.
    """
    levels = curve.eps
    x = np.where(levels > 0, np.log2(np.where(levels > 0, levels, 1.0)), -np.inf)
    upper = np.clip(np.searchsorted(levels, eps), 1, len(levels) - 1)
    lower, rows = upper - 1, np.arange(len(eps))
    with np.errstate(invalid="ignore", divide="ignore"):
        by_log = (np.log2(eps) - x[lower]) / (x[upper] - x[lower])
    share = np.where(lower == 0, (eps - levels[0]) / (levels[upper] - levels[0]), by_log)
    found = accuracy[rows, lower] + share * (accuracy[rows, upper] - accuracy[rows, lower])
    return np.where(eps <= levels[-1], found, np.nan)


@dataclass(frozen=True, kw_only=True)
class MachineFit:
    """P(right | ε) = floor + (clean − floor) S(−log2 ε), [B] each.

    ``log2_eps50`` is where accuracy lies midway between clean and floor; ``width`` in octaves; ``deviance`` against
    one probability an ε.
    """

    log2_eps50: Floats
    width: Floats
    clean: Floats
    floor: float
    deviance: Floats


def floor_of(curve: MachineCurve) -> float:
    """Returns 1 / classes, or 0 where the machine falls below chance, as it does under attacks that aim at errors."""
    if curve.classes is None:
        return 0.0
    chance = 1 / curve.classes
    return chance if curve.accuracy[-1] >= chance else 0.0


def fit(curve: MachineCurve, accuracy: Floats) -> MachineFit:
    """Returns the psychometric functions of curves [B, K] that share the ε and pictures of ``curve``.

    Maximum a posteriori: logistic S on −log2 ε (ε = 0: S = 1 exactly), clean accuracy free, ln w ~ Normal(ln 3, 1).
    """
    floor, levels = floor_of(curve), curve.eps
    x = np.where(levels > 0, -np.log2(np.where(levels > 0, levels, 1.0)), np.inf)
    finite = np.sort(-x[1:])
    hits, trials = accuracy * curve.pictures, np.broadcast_to(curve.pictures, accuracy.shape)
    span = max(float(np.ptp(finite)), 1.0)
    low = np.array([finite[0] - span, np.log(span * 1e-2), -MAX_LOGIT])
    high = np.array([finite[-1] + span, np.log(span * 30), MAX_LOGIT])
    fits = [
        maximise(
            lambda theta: _curve(theta, x, floor),
            _prior,
            np.broadcast_to([start, np.log(2.0), 1.0], (len(hits), 3)).copy(),
            hits,
            trials,
            low,
            high,
        )
        for start in np.quantile(finite, [0.2, 0.5, 0.8])
    ]
    theta = best_of(fits).parameters
    return MachineFit(
        log2_eps50=theta[:, 0],
        width=np.exp(theta[:, 1]),
        clean=floor + (1 - floor) * expit(theta[:, 2]),
        floor=floor,
        deviance=deviance(_curve(theta, x, floor)[0], hits, trials),
    )


def predicted(found: MachineFit, eps: Floats) -> Floats:
    """Returns P(right) [B, G] at ``eps`` [G], all above 0."""
    theta = np.stack([found.log2_eps50, np.log(found.width), _logit(found)], axis=1)
    return _curve(theta, -np.log2(eps), found.floor)[0]


def _logit(found: MachineFit) -> Floats:
    share = np.clip((found.clean - found.floor) / (1 - found.floor), 1e-9, 1 - 1e-9)
    return np.log(share / (1 - share))


def _curve(theta: Floats, x: Floats, floor: float) -> tuple[Floats, Floats]:
    m, scale = theta[:, :1], SIGMOID.width * np.exp(-theta[:, 1:2])
    attacked = np.isfinite(x)
    z = np.clip((np.where(attacked, x, 0.0) + m) * scale, -1e3, 1e3)
    s = np.where(attacked, SIGMOID.cdf(z), 1.0)
    slope = np.where(attacked, SIGMOID.density(z), 0.0)
    share = expit(theta[:, 2:3])
    height = (1 - floor) * share
    jacobian = np.stack([height * slope * scale, -height * slope * z, (1 - floor) * share * (1 - share) * s], axis=-1)
    return floor + height * s, jacobian


def _prior(theta: Floats) -> tuple[Floats, Floats, Floats]:
    centre, sd = WIDTH_PRIOR
    gradient, curvature = np.zeros_like(theta), np.zeros_like(theta)
    gradient[:, 1] = (centre - theta[:, 1]) / sd**2
    curvature[:, 1] = 1 / sd**2
    return -(((theta[:, 1] - centre) / sd) ** 2) / 2, gradient, curvature
