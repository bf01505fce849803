"""Several curves of one participant with common asymptotes: each source model its own m and w, one λ and one γ.

Prins (2012), Journal of Vision 12(6), 25: a lapse rate that is estimated curve by curve costs precision and drags the
slopes; people lapse as much whichever source model a picture came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.likelihood import Fit, best_of, deviance, log_likelihood, maximise
from analysis.psychometric import model as models
from analysis.psychometric.model import PsychometricModel
from analysis.psychometric.sigmoids import Floats, on_axis


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedFit:
    """B data sets of K curves: ``threshold`` and ``width`` [B, K], ``guess``, ``lapse`` and ``deviance`` [B]."""

    model: PsychometricModel
    threshold: Floats
    width: Floats
    guess: Floats
    lapse: Floats
    deviance: Floats
    log_likelihood: Floats
    free_parameters: int
    fit: Fit


def fit_shared(
    model: PsychometricModel, levels: Floats, which: NDArray[np.intp], hits: Floats, trials: Floats
) -> SharedFit:
    """Returns joint fits of K curves to B data sets.

    Args:
        model: family, fixed asymptotes and priors of every curve; without overdispersion.
        levels: x of each row, [L]; −∞ for trials without signal, which speak of γ and so belong to all curves.
        which: the curve of each row, 0 to K − 1, [L]; any value where there is no signal.
        hits: answers "yes", [B, L].
        trials: [B, L].

    Raises:
        ValueError: an overdispersed model, or a curve with fewer than two levels.
    """
    axis = on_axis(model.family, levels)
    number = int(which.max()) + 1
    counts = [len(np.unique(axis[np.isfinite(axis) & (which == curve)])) for curve in range(number)]
    if model.overdispersed or min(counts) < 2:
        raise ValueError(f"expected a binomial model and 2 levels or more of each curve, got levels: {counts}")
    low, high = _spread(np.stack(models.box(model, axis)), number)
    found = best_of([
        maximise(
            lambda theta: _curves(model, axis, which, number, theta), lambda theta: _prior(model, number, theta),
            np.broadcast_to(_spread(start[None], number)[0], (len(hits), 2 * number + 2)).copy(),
            hits, trials, low, high,
        )
        for start in models.starts(model, axis)
    ])  # fmt: skip
    return _words(model, axis, which, number, hits, trials, found)


def _words(
    model: PsychometricModel,
    axis: Floats,
    which: NDArray[np.intp],
    number: int,
    hits: Floats,
    trials: Floats,
    found: Fit,
) -> SharedFit:
    p = _curves(model, axis, which, number, found.parameters)[0]
    native = _native(found.parameters, number)
    guess, lapse = models.asymptotes(model, native[:, 0])
    return SharedFit(
        model=model,
        threshold=np.exp(native[..., 0]) if model.family == "weibull" else native[..., 0],
        width=np.exp(native[..., 1]),
        guess=guess,
        lapse=lapse,
        deviance=deviance(p, hits, trials),
        log_likelihood=log_likelihood(p, hits, trials),
        free_parameters=model.free_parameters + 2 * (number - 1),
        fit=found,
    )


def _spread(rows: Floats, number: int) -> Floats:
    """[N, 4] of one curve to [N, 2 K + 2]: thresholds, log widths, logits of γ and λ."""
    return np.concatenate([np.repeat(rows[:, :1], number, 1), np.repeat(rows[:, 1:2], number, 1), rows[:, 2:4]], axis=1)


def _native(theta: Floats, number: int) -> Floats:
    """[B, 2 K + 2] to [B, K, 4]."""
    common = np.broadcast_to(theta[:, None, 2 * number :], (len(theta), number, 2))
    return np.concatenate([theta[:, :number, None], theta[:, number : 2 * number, None], common], axis=2)


def _curves(
    model: PsychometricModel, axis: Floats, which: NDArray[np.intp], number: int, theta: Floats
) -> tuple[Floats, Floats]:
    safe = np.where(np.isfinite(axis), which, 0)
    p, own = models.curve(model, axis, _native(theta, number), safe)
    rows = np.arange(len(axis))
    jacobian = np.zeros((*p.shape, 2 * number + 2))
    jacobian[:, rows, safe] = own[..., 0]
    jacobian[:, rows, number + safe] = own[..., 1]
    jacobian[..., 2 * number :] = own[..., 2:]
    return p, jacobian


def _prior(model: PsychometricModel, number: int, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """The priors of every m and w, and of γ and λ once."""
    value, gradient, curvature = np.zeros(len(theta)), np.zeros_like(theta), np.zeros_like(theta)
    native = _native(theta, number)
    fixed = PsychometricModel(
        family=model.family, guess=0.0, lapse=0.0, width_prior=model.width_prior, levels=model.levels
    )
    for index in range(number):
        part = models.log_prior(fixed if index else model, native[:, index])
        value += part[0]
        for total, terms in ((gradient, part[1]), (curvature, part[2])):
            total[:, index] += terms[:, 0]
            total[:, number + index] += terms[:, 1]
            total[:, 2 * number :] += terms[:, 2:]
    return value, gradient, curvature
