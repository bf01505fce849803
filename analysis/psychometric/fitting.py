"""Maximum likelihood and maximum a posteriori fits of many data sets at once, by damped Fisher scoring."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.likelihood import TINY, Evaluate, Fit, best_of, climb, deviance
from analysis.psychometric import model as models
from analysis.psychometric import overdispersion
from analysis.psychometric.model import LOGIT_BOX, OVERDISPERSION, PsychometricModel
from analysis.psychometric.newton import newton_fits
from analysis.psychometric.sigmoids import Floats, on_axis, sigmoid_of

BATCH = 2048  # data sets at once; more no longer fit the processor's cache
CURVATURE_STEP = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class PsychometricFit:
    """Maximum a posteriori parameters of B data sets, each array [B]; ``deviance`` is against one probability a row.

    ``levels`` [L], ``hits`` and ``trials`` [B, L] are the data, levels as they were given.
    """

    model: PsychometricModel
    threshold: Floats
    width: Floats
    guess: Floats
    lapse: Floats
    eta: Floats
    deviance: Floats
    free_parameters: int
    levels: Floats = field(repr=False)
    hits: Floats = field(repr=False)
    trials: Floats = field(repr=False)
    fit: Fit = field(repr=False)

    @property
    def axis(self) -> Floats:
        """The levels on the axis of S, [L]."""
        return on_axis(self.model.family, self.levels)


def fit_psychometric(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats) -> PsychometricFit:
    """Returns the fits of B data sets that share their levels.

    Binomial ones by Newton's method from the best cells of a grid (``newton_fits``), overdispersed ones by Fisher
    scoring, each the best of four starts: three thresholds, and where the binomial fit ends.

    Args:
        model: what is fitted.
        levels: x of each row, [L]; −∞ for trials without signal.
        hits: answers "yes", [B, L].
        trials: [B, L].

    Raises:
        ValueError: fewer than two finite levels, or shapes that do not fit together.
    """
    axis = on_axis(model.family, levels)
    finite = np.unique(axis[np.isfinite(axis)])
    if len(finite) < 2 or hits.shape != trials.shape or hits.shape[-1] != len(levels):
        raise ValueError(f"expected 2 levels or more and [B, {len(levels)}] counts, got {len(finite)} and {hits.shape}")
    search = _best_of_four if model.overdispersed else newton_fits
    chunks = [slice(begin, begin + BATCH) for begin in range(0, len(hits), BATCH)]
    parts = _each(lambda rows: search(model, axis, hits[rows], trials[rows]), chunks)
    return fit_of(model, levels, hits, trials, _joined(parts))


def _each(work: Callable[[slice], Fit], chunks: list[slice]) -> list[Fit]:
    """Results in the order of the chunks, which threads share: no chunk knows of another, and numpy lets them run."""
    if len(chunks) == 1:
        return [work(chunks[0])]
    with ThreadPoolExecutor(max_workers=min(len(chunks), os.cpu_count() or 1)) as pool:
        return list(pool.map(work, chunks))


def _best_of_four(model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats) -> Fit:
    binomial = newton_fits(replace(model, overdispersed=False), axis, hits, trials).parameters
    near = np.column_stack([binomial, np.full(len(hits), -LOGIT_BOX)])
    return best_of([_climb(model, axis, hits, trials, start) for start in (*models.starts(model, axis), near)])


def _joined(parts: list[Fit]) -> Fit:
    if len(parts) == 1:
        return parts[0]
    return Fit(
        parameters=np.concatenate([part.parameters for part in parts]),
        objective=np.concatenate([part.objective for part in parts]),
        converged=np.concatenate([part.converged for part in parts]),
    )


def _climb(model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats, start: Floats) -> Fit:
    low, high = models.box(model, axis)
    begin = np.broadcast_to(start, (len(hits), len(low))).copy()
    return climb(evaluation(model, axis, hits, trials), begin, low, high)


def fit_of(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, found: Fit) -> PsychometricFit:
    """Returns where a batch ended, in the words of psychometric functions."""
    theta = found.parameters
    p = models.curve(model, on_axis(model.family, levels), theta)[0]
    guess, lapse = models.asymptotes(model, theta)
    return PsychometricFit(
        model=model,
        threshold=np.exp(theta[:, 0]) if model.family == "weibull" else theta[:, 0],
        width=np.exp(theta[:, 1]),
        guess=guess,
        lapse=lapse,
        eta=special.expit(theta[:, OVERDISPERSION]) if model.overdispersed else np.zeros(len(theta)),
        deviance=deviance(p, hits, trials),
        free_parameters=model.free_parameters,
        levels=levels,
        hits=hits,
        trials=trials,
        fit=found,
    )


Parametrised = Callable[[Floats], tuple[Floats, Floats]]
"""Other parameters [B, P] to θ [B, P] and its derivatives [B, P of θ, P]."""


def evaluation(
    model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats, parametrised: Parametrised | None = None
) -> Evaluate:
    """Returns the log posterior of data sets [B, L] for ``climb``, over θ or over other parameters that give θ."""

    def evaluate(theta: Floats, rows: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        native, turn = (theta, None) if parametrised is None else parametrised(theta)
        value, gradient, information = _likelihood(model, axis, native, hits[rows], trials[rows])
        density, slope, curvature = models.log_prior(model, native)
        diagonal = np.arange(native.shape[1])
        information[:, diagonal, diagonal] += curvature
        gradient = gradient + slope
        if turn is not None:
            gradient = np.einsum("bp,bpq->bq", gradient, turn)
            information = np.einsum("bpq,bpr,brs->bqs", turn, information, turn)
        return value + density, gradient, information

    return evaluate


def _likelihood(
    model: PsychometricModel, axis: Floats, theta: Floats, hits: Floats, trials: Floats
) -> tuple[Floats, Floats, Floats]:
    probability, jacobian = models.curve(model, axis, theta)
    p = np.clip(probability, TINY, 1 - TINY)
    spread = p * (1 - p)
    if not model.overdispersed:
        value = (special.xlogy(hits, p) + special.xlog1py(trials - hits, -p)).sum(axis=1)
        return value, *_scored(jacobian, (hits - trials * p) / spread, trials / spread)
    logit = theta[:, OVERDISPERSION, None]
    eta = special.expit(logit)
    over_p = overdispersion.derivatives(p, eta, hits, trials)[0]
    gradient, information = _scored(jacobian, over_p, trials / (spread * overdispersion.inflation(eta, trials)))
    slope, curvature = _over_eta(p, logit, hits, trials)
    value = overdispersion.log_kernel(p, eta, hits, trials).sum(axis=1)
    wide = np.zeros((len(theta), 5, 5))
    wide[:, :4, :4], wide[:, 4, 4] = information, curvature
    return value, np.column_stack([gradient, slope]), wide


def _scored(jacobian: Floats, score: Floats, weight: Floats) -> tuple[Floats, Floats]:
    gradient = np.einsum("bl,blp->bp", score, jacobian)
    return gradient, np.einsum("blp,blq->bpq", jacobian * weight[..., None], jacobian)


def _over_eta(p: Floats, logit: Floats, hits: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Slope over logit η and an information that is positive, from slopes beside the point."""

    def slope(at: Floats) -> tuple[Floats, Floats]:
        eta = special.expit(at)
        _, rows, squares = overdispersion.derivatives(p, eta, hits, trials)
        return (rows * (1 - eta)).sum(axis=1), (squares * (1 - eta) ** 2).sum(axis=1)

    here, squares = slope(logit)
    above, below = slope(logit + CURVATURE_STEP)[0], slope(logit - CURVATURE_STEP)[0]
    return here, np.maximum((below - above) / (2 * CURVATURE_STEP), 0.05 * squares + 1e-9)


def probability(fit: PsychometricFit, levels: Floats) -> Floats:
    """Returns P(yes) [B, L] of fitted curves at ``levels`` [L]; −∞ stands for ε = 0 (0 itself with Weibull)."""
    return models.curve(fit.model, on_axis(fit.model.family, levels), fit.fit.parameters)[0]


def threshold_at(fit: PsychometricFit, proportion: float, *, of_answers: bool = False) -> Floats:
    """Returns the level [B] where S (or with ``of_answers`` ψ itself) is ``proportion``; NaN where it never is.

    The level is on the axis of S with Weibull exponentiated, as in ``PsychometricFit.threshold``.
    """
    theta = fit.fit.parameters
    share = np.full(len(theta), proportion)
    if of_answers:
        share = (proportion - fit.guess) / (1 - fit.guess - fit.lapse)
    sigmoid = sigmoid_of(fit.model.family)
    allowed = (share > 0) & (share < 1)
    z = np.array([sigmoid.quantile(float(s)) if ok else np.nan for s, ok in zip(share, allowed, strict=True)])
    level = theta[:, 0] + fit.width / sigmoid.width * (z - sigmoid.quantile(fit.model.proportion))
    return np.exp(level) if fit.model.family == "weibull" else level


def slope_at(fit: PsychometricFit, levels: Floats) -> Floats:
    """Returns dψ/dx [B, L] at ``levels`` [L], over the axis of S (ln x with Weibull)."""
    jacobian = models.curve(fit.model, on_axis(fit.model.family, levels), fit.fit.parameters)[1]
    return -jacobian[..., 0]
