"""Signal detection as a mixed model: P(yes) = λ/2 + (1 − λ) Φ(−k − k_i + (1 + a_i) d(ε) + v_picture), d = (ε / ε₁)^b.

k and a differ between participants (correlated), v between pictures (of whichever ε); ε₁ and b belong to the source
model, λ to everybody. λ and b have the weak priors of the pooled power law, so that neither runs away where the answers
do not tell it. The participants' slope multiplies d itself: its design moves with ε₁ and b.
ε₁ is that of the typical observer and the typical picture (conditional); averaged over them (marginal),
P(yes) = λ/2 + (1 − λ) Φ(η / √(1 + Σ variances)), which is flatter: its ε at d′ = 1 is larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from analysis import signal_detection
from analysis.likelihood import Floats
from analysis.mixed_models.climbing import Moving
from analysis.mixed_models.fitting import MixedFit, Random, make_layout, maximise
from analysis.psychometric import BETA

LARGEST_D, ROUNDNESS = 8.0, 8  # the participants' slope acts on d up to about here; beyond, an answer is certain anyway
LEAST_EXPONENT, MOST_EXPONENT = 0.1, 20.0
LEAST_LAPSE, MOST_LAPSE = 1e-6, 0.4
CHEAP = 200  # kept effects that cost nothing to speak of
PART = 30_000  # rows of the first fit
STEP = 1e-5  # of differences, for the delta method
Quantity = Callable[[Floats, Floats], Floats]
"""Variances [K] are asked of it: θ [T] and coefficients [P] to quantities [K]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trials:
    """Answers by participant, picture and cell; ``model`` is −1 where ε = 0; each [N], ``yes`` of ``trials``."""

    participant: NDArray[np.int64]
    picture: NDArray[np.int64]
    eps: Floats
    model: NDArray[np.int64]
    yes: Floats
    trials: Floats

    def of(self, rows: NDArray[Any]) -> Trials:
        """Returns some of the rows."""
        return Trials(**{name: column[rows] for name, column in vars(self).items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionModel:
    """The fitted model.

    Attributes:
        criterion: k of the typical observer.
        log2_eps_dprime1: log2 ε₁ of the typical observer, [M], with its ``covariance`` [M, M].
        exponent: b, [M].
        lapse: λ.
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

    @property
    def participants(self) -> int:
        """How many took part."""
        return self._groups("participant")

    @property
    def pictures(self) -> int:
        """How many were shown."""
        return self._groups("picture")

    def _groups(self, name: str) -> int:
        return next(spread.groups for spread in self.fit.random if spread.name == name)


def grouped(
    participant: NDArray[Any],
    picture: NDArray[Any],
    cell: NDArray[Any],
    yes: NDArray[np.bool_],
    eps: Floats,
    model: NDArray[np.int64],
) -> Trials:
    """Returns answers counted by participant × picture × cell; ``eps`` and ``model`` are those of the cells."""
    person, image, level = (np.asarray(column, dtype=np.int64) for column in (participant, picture, cell))
    shape = int(person.max()) + 1, int(image.max()) + 1, len(eps)
    unique, inverse = np.unique(np.ravel_multi_index((person, image, level), shape), return_inverse=True)
    person, image, level = np.unravel_index(unique, shape)
    return Trials(
        participant=person, picture=image, eps=eps[level], model=model[level],
        yes=np.bincount(inverse, yes.astype(float), minlength=len(unique)).astype(float),
        trials=np.bincount(inverse, minlength=len(unique)).astype(float),
    )  # fmt: skip


def products(participants: int, pictures: int) -> int:
    """Returns about how many products a step of the fit takes beside a few a row.

    Of two effects a participant and one a picture the more numerous are eliminated: R kept and E eliminated effects
    take R² (R + E) products.
    """
    kept, eliminated = 2 * participants, pictures
    if not _pictures_eliminated(participants, pictures):
        kept, eliminated = eliminated, kept
    return kept**2 * (kept + eliminated)


def _pictures_eliminated(participants: int, pictures: int) -> bool:
    return 2 * participants <= max(pictures, CHEAP)


def fit_detection(data: Trials, *, lapse: float | None = None) -> DetectionModel:
    """Returns the model of a yes-no study that shows ε = 0 and two or more ε of every source model.

    Large data are fitted in part first, to start from there.

    Args:
        data: the answers.
        lapse: λ, held; ``None``: it is estimated.
    """
    models = int(data.model.max()) + 1
    start, guess = _pooled(data)
    start = np.append(start, np.clip(guess, 0.005, MOST_LAPSE / 2)) if lapse is None else start
    part = _part(data)
    near = _fit(part, models, start, lapse, None) if len(part.yes) < len(data.yes) else None
    return _model(_fit(data, models, start, lapse, near), models, lapse)


def _pooled(data: Trials) -> tuple[Floats, float]:
    """Parameters and λ of the power law through everybody's answers."""
    cell = np.unique(np.stack([data.model.astype(float), data.eps], axis=1), axis=0, return_inverse=True)
    rows, inverse = cell[0], cell[1].ravel()
    yes, trials = (np.bincount(inverse, x)[None].astype(float) for x in (data.yes, data.trials))
    pooled = signal_detection.fit_power_law(rows[:, 1], rows[:, 0].astype(np.int64), yes, trials)
    start = np.concatenate([pooled.criterion, pooled.log2_eps_dprime1[0], np.log(pooled.exponent[0])])
    return start, float(pooled.lapse[0])


def _part(data: Trials) -> Trials:
    """The rows of every so manieth participant, about ``PART`` of them."""
    _, person = np.unique(data.participant, return_inverse=True)
    return data.of(np.flatnonzero(person % max(len(data.yes) // PART, 1) == 0))


def _fit(data: Trials, models: int, start: Floats, lapse: float | None, near: MixedFit | None) -> MixedFit:
    law = start[: 1 + 2 * models]
    d = _slope_of(law, *_fixed(law, data, models))[0]
    person, picture = (len(np.unique(column)) for column in (data.participant, data.picture))
    few = _pictures_eliminated(person, picture)
    random = [
        Random(name="participant", group=data.participant, design=np.stack([np.ones_like(d), d], axis=1),
               eliminated=not few),
        Random(name="picture", group=data.picture, eliminated=few),
    ]  # fmt: skip
    layout, unscale = make_layout("probit", data.yes, data.trials, random)
    place = 0 if few else 1
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * (1 + models)
    bounds += [(float(np.log(LEAST_EXPONENT)), float(np.log(MOST_EXPONENT)))] * models
    bounds += [(LEAST_LAPSE, MOST_LAPSE)] * (lapse is None)
    names = ("criterion", *(f"log2_eps_dprime1_{m}" for m in range(models)), *(f"ln_b_{m}" for m in range(models)))
    return maximise(
        layout, lambda beta: _fixed(beta, data, models), start, random=random, unscale=unscale, bounds=bounds,
        names=names + ("lapse",) * (lapse is None), lapse=lapse, near=near,
        prior=lambda beta: _prior(beta, models, lapse is None),
        moving=Moving(place=place, scale=unscale[place], covariate=_slope_of),
    )  # fmt: skip


def _slope_of(beta: Floats, predicted: Floats, jacobian: Floats) -> tuple[Floats, Floats]:
    """What a participant's slope multiplies, and its derivatives, from the fixed part and its own."""
    d = predicted + beta[0]
    bend = 1 + (d / LARGEST_D) ** ROUNDNESS
    slopes = jacobian * (bend ** (-1 - 1 / ROUNDNESS))[:, None]
    slopes[:, 0] = 0.0
    return _acting(d), slopes


def _acting(d: Floats) -> Floats:
    """Returns d up to about ``LARGEST_D``, without a corner, where second derivatives would be wrong."""
    acting: Floats = d / (1 + (d / LARGEST_D) ** ROUNDNESS) ** (1 / ROUNDNESS)
    return acting


def _prior(beta: Floats, models: int, with_lapse: bool) -> tuple[float, Floats]:
    """The pooled power law's: b around 1.5 within a factor of e, λ ~ Beta(1, 10)."""
    centre, sd = np.log(signal_detection.EXPONENT_PRIOR[0]), signal_detection.EXPONENT_PRIOR[1]
    own = slice(1 + models, 1 + 2 * models)
    slope = np.zeros_like(beta)
    slope[own] = (centre - beta[own]) / sd**2
    value = float(-(((beta[own] - centre) / sd) ** 2).sum() / 2)
    if with_lapse:
        value += (BETA - 1) * float(np.log1p(-beta[-1]))
        slope[-1] = -(BETA - 1) / (1 - beta[-1])
    return value, slope


def _model(found: MixedFit, models: int, lapse: float | None) -> DetectionModel:
    own = slice(1, 1 + models)
    spreads = {spread.name: spread for spread in found.random}
    participant, picture = spreads["participant"], spreads["picture"]
    return DetectionModel(
        criterion=float(found.coefficients[0]),
        log2_eps_dprime1=found.coefficients[own],
        covariance=found.covariance[own, own],
        exponent=np.exp(found.coefficients[1 + models : 1 + 2 * models]),
        lapse=float(found.coefficients[-1]) if lapse is None else lapse,
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
    spread = _spread_at(d, fitted.participant_covariance, fitted.picture_sd**2)
    return np.asarray(fitted.lapse / 2 + (1 - fitted.lapse) * ndtr((d - fitted.criterion) / spread))


def marginal_log2_eps(fitted: DetectionModel) -> tuple[Floats, Floats]:
    """Returns log2 of the ε at which d′ of the averaged answers (lapses apart) is 1, [M], and its covariance [M, M].

    NaN where people differ so much that the averaged d′ never comes to 1. The delta method over all parameters.
    """
    models = len(fitted.log2_eps_dprime1)

    def quantity(theta: Floats, beta: Floats) -> Floats:
        covariances = dict(
            zip((spread.name for spread in fitted.fit.random), fitted.fit.covariances(theta), strict=True)
        )
        d = _averaged_d(float(beta[0]), covariances["participant"], float(covariances["picture"][0, 0]))
        own: Floats = beta[1 : 1 + models] + np.log2(d) / np.exp(beta[1 + models : 1 + 2 * models])
        return own

    return with_covariance(fitted.fit, quantity)


def with_covariance(fit: MixedFit, quantity: Quantity) -> tuple[Floats, Floats]:
    """Returns quantities of the parameters, [K], and their covariance by the delta method, [K, K]."""
    position, sizes = np.concatenate([fit.theta, fit.coefficients]), len(fit.theta)
    variances = np.diag(fit.joint_covariance)
    value = quantity(fit.theta, fit.coefficients)
    slopes = np.zeros((len(value), len(position)))
    for k in np.flatnonzero(variances > 0):
        step = STEP * np.eye(len(position))[k]
        up, down = (quantity((position + move)[:sizes], (position + move)[sizes:]) for move in (step, -step))
        slopes[:, k] = (up - down) / (2 * STEP)
    return value, slopes @ fit.joint_covariance @ slopes.T


def _averaged_d(criterion: float, participant: Floats, picture: float) -> float:
    """The typical observer's d at which the averaged answers have d′ = 1: z(yes) above that at ε = 0 by 1."""

    def excess(d: float) -> float:
        spread = _spread_at(np.array([d, 0.0]), participant, picture)
        return float((d - criterion) / spread[0] + criterion / spread[1] - 1)

    return float(brentq(excess, 0.0, LARGEST_D, xtol=1e-12)) if excess(LARGEST_D) > 0 else float("nan")


def _spread_at(d: Floats, participant: Floats, picture: float) -> Floats:
    """Standard deviation of evidence over noise, participants and pictures at the typical observer's d."""
    (a, b), (_, c) = participant
    acting = _acting(d)
    spread: Floats = np.sqrt(1 + a + 2 * b * acting + c * acting**2 + picture)
    return spread


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
