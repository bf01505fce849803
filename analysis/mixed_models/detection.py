"""Signal detection as a mixed model: P(yes) = λ/2 + (1 − λ) Φ(−k − k_i + (1 + a_i) d(ε) + v_picture), d = (ε / ε₁)^b.

k and a differ between participants (correlated), v between pictures (of whichever ε); ε₁ and b belong to the source
model. The participants' slope multiplies the d that the pooled power law gives, so that the random part stays linear.
λ is held at the estimate of the pooled power law: without it one inattentive answer at a large ε would flatten d.
ε₁ is that of the typical observer and the typical picture (conditional); averaged over them (marginal),
P(yes) = λ/2 + (1 − λ) Φ(η / √(1 + Σ variances)), which is flatter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis import signal_detection
from analysis.likelihood import Floats
from analysis.mixed_models.fitting import MixedFit, Random, make_layout, maximise

LARGEST_D = 8.0  # the participants' slope acts on d up to here; beyond, an answer is certain anyway
LEAST_EXPONENT, MOST_EXPONENT = 0.1, 20.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Answers by participant, picture and cell; ``model`` is −1 where ε = 0; each [N], ``yes`` of ``trials``."""

    participant: NDArray[np.int64]
    picture: NDArray[np.int64]
    eps: Floats
    model: NDArray[np.int64]
    yes: Floats
    trials: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionModel:
    """The fitted model.

    Attributes:
        criterion: k of the typical observer.
        log2_eps_dprime1: log2 ε₁ of the typical observer, [M], with its ``covariance`` [M, M].
        exponent: b, [M].
        lapse: λ, held.
        participant_sd: of the criterion and of a.
        picture_sd: of v, in standard deviations of the evidence.
    """

    criterion: float
    log2_eps_dprime1: Floats
    covariance: Floats
    exponent: Floats
    lapse: float
    participant_sd: tuple[float, float]
    participant_covariance: Floats
    picture_sd: float
    fit: MixedFit


def grouped(
    participant: NDArray[Any],
    picture: NDArray[Any],
    cell: NDArray[Any],
    yes: NDArray[np.bool_],
    eps: Floats,
    model: NDArray[np.int64],
) -> Trials:
    """Returns answers counted by participant × picture × cell; ``eps`` and ``model`` are those of the cells."""
    keys = np.stack([np.asarray(column, dtype=np.int64) for column in (participant, picture, cell)], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    return Trials(
        participant=unique[:, 0], picture=unique[:, 1], eps=eps[unique[:, 2]], model=model[unique[:, 2]],
        yes=np.bincount(inverse, yes.astype(float), minlength=len(unique)).astype(float),
        trials=np.bincount(inverse, minlength=len(unique)).astype(float),
    )  # fmt: skip


def fit_detection(data: Trials) -> DetectionModel:
    """Returns the model of a yes-no study that shows ε = 0 and two or more ε of every source model."""
    models = int(data.model.max()) + 1
    cell = np.unique(np.stack([data.model.astype(float), data.eps], axis=1), axis=0, return_inverse=True)
    rows, inverse = cell[0], cell[1].ravel()
    yes, trials = (np.bincount(inverse, x)[None].astype(float) for x in (data.yes, data.trials))
    pooled = signal_detection.fit_power_law(rows[:, 1], rows[:, 0].astype(np.int64), yes, trials)
    lapse = float(pooled.lapse[0])
    start = np.concatenate([pooled.criterion, pooled.log2_eps_dprime1[0], np.log(pooled.exponent[0])])
    d = np.clip(_fixed(start, data, models)[0] + start[0], 0.0, LARGEST_D)
    random = [
        Random(name="participant", group=data.participant, design=np.stack([np.ones_like(d), d], axis=1)),
        Random(name="picture", group=data.picture, eliminated=True),
    ]
    layout, unscale = make_layout("probit", data.yes, data.trials, random, lapse)
    bounds = [(None, None)] * (1 + models) + [(np.log(LEAST_EXPONENT), np.log(MOST_EXPONENT))] * models
    found = maximise(
        layout, lambda beta: _fixed(beta, data, models), start, random=random, unscale=unscale, bounds=bounds,
        names=("criterion", *(f"log2_eps_dprime1_{m}" for m in range(models)), *(f"ln_b_{m}" for m in range(models))),
    )  # fmt: skip
    return _model(found, models, lapse)


def _model(found: MixedFit, models: int, lapse: float) -> DetectionModel:
    own = slice(1, 1 + models)
    participant, picture = found.random
    return DetectionModel(
        criterion=float(found.coefficients[0]),
        log2_eps_dprime1=found.coefficients[own],
        covariance=found.covariance[own, own],
        exponent=np.exp(found.coefficients[1 + models :]),
        lapse=lapse,
        participant_sd=(float(participant.sd[0]), float(participant.sd[1])),
        participant_covariance=participant.covariance,
        picture_sd=float(picture.sd[0]),
        fit=found,
    )


def conditional(fitted: DetectionModel, model: int, eps: Floats) -> Floats:
    """Returns P(yes) of the typical observer looking at the typical picture."""
    d = signal_detection.d_prime_at(eps, fitted.log2_eps_dprime1[model], fitted.exponent[model])
    return np.asarray(fitted.lapse / 2 + (1 - fitted.lapse) * ndtr(d - fitted.criterion))


def marginal(fitted: DetectionModel, model: int, eps: Floats) -> Floats:
    """Returns P(yes) averaged over observers and pictures."""
    d = signal_detection.d_prime_at(eps, fitted.log2_eps_dprime1[model], fitted.exponent[model])
    slope = np.minimum(d, LARGEST_D)
    (a, b), (_, c) = fitted.participant_covariance
    spread = np.sqrt(1 + a + 2 * b * slope + c * slope**2 + fitted.picture_sd**2)
    return np.asarray(fitted.lapse / 2 + (1 - fitted.lapse) * ndtr((d - fitted.criterion) / spread))


def _fixed(beta: Floats, data: Trials, models: int) -> tuple[Floats, Floats]:
    """−k + (ε / ε₁)^b and its derivatives over k, log2 ε₁ and ln b."""
    signal = data.eps > 0
    owner = np.where(signal, data.model, 0)
    exponent = np.exp(beta[1 + models + owner])
    distance = np.log(np.where(signal, data.eps, 1.0)) - beta[1 + owner] * np.log(2)
    log_d = np.minimum(exponent * distance, np.log(signal_detection.MAX_EVIDENCE))
    d = np.where(signal, np.exp(log_d), 0.0)
    jacobian = np.zeros((len(d), len(beta)))
    jacobian[:, 0] = -1.0
    rows = np.flatnonzero(signal & (d < signal_detection.MAX_EVIDENCE))
    jacobian[rows, 1 + owner[rows]] = (-d * exponent * np.log(2))[rows]
    jacobian[rows, 1 + models + owner[rows]] = (d * log_d)[rows]
    return d - beta[0], jacobian
