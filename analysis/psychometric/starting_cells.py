"""Where searches for the best curve begin: the cells of a coarse grid that many data sets like best.

All share the table of ln ψ and ln(1 − ψ) of a design, so that a matrix product gives every data set's log posterior in
every cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.psychometric import model as models
from analysis.psychometric.model import PsychometricModel, rate_prior, standardised
from analysis.psychometric.priors import normal_prior
from analysis.psychometric.sigmoids import Floats, sigmoid_of

THRESHOLDS, WIDTHS, GROUPS = 19, 12, 4
RANGE = (-0.35, 1.35)  # of thresholds, in ranges of the levels
NARROWEST, WIDEST = 0.08, 4.0  # widths likewise
OFF = 0.1  # from bounds of ln w, where a prior may vanish
FREE = (0.004, 0.04, 0.15)  # asymptotes
Cells = NDArray[np.float32]


def starting_cells(model: PsychometricModel, axis: Floats, hits: Floats, trials: Floats) -> Floats:
    """Returns m, ln w, γ and λ [4, B, G] of the best cells of G groups of widths, from narrow to wide.

    Where likelihoods of psychometric functions have several maxima, they differ in the width above all: a narrow curve
    between its asymptotes, or a wide one without any.

    Args:
        model: what is fitted; overdispersion is not looked at.
        axis: levels on the axis of S, [L].
        hits: [B, L].
        trials: [B, L].
    """
    m, log_w, guess, lapse = _nodes(model, axis)
    p = _probabilities(model, axis, m, log_w, guess, lapse)
    prior = _log_prior(model, m, log_w, guess, lapse)
    yes, no = np.log(p).astype(np.float32), np.log1p(-p).astype(np.float32)
    score = hits.astype(np.float32) @ yes + (trials - hits).astype(np.float32) @ no + prior
    size = score.shape[1] // GROUPS
    best = score.reshape(-1, GROUPS, size).argmax(axis=2) + size * np.arange(GROUPS)
    w, middle, asymptotes = np.unravel_index(best, (len(log_w), len(m), len(guess)))
    return np.stack([m[middle], log_w[w], guess[asymptotes], lapse[asymptotes]])


def _nodes(model: PsychometricModel, axis: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Nodes of m and of ln w, and pairs of γ and λ."""
    distinct = np.unique(axis[np.isfinite(axis)])
    span = distinct[-1] - distinct[0]
    low, high = models.box(model, axis)
    m = np.clip(np.linspace(distinct[0] + RANGE[0] * span, distinct[0] + RANGE[1] * span, THRESHOLDS), low[0], high[0])
    log_w = np.linspace(max(np.log(NARROWEST * span), low[1] + OFF), min(np.log(WIDEST * span), high[1] - OFF), WIDTHS)
    lapses = FREE if model.lapse is None else (model.lapse,)
    if model.equal_asymptotes:
        return m, log_w, np.array(lapses), np.array(lapses)
    guesses = FREE if model.guess is None else (model.guess,)
    pairs = np.array([(guess, lapse) for guess in guesses for lapse in lapses])
    return m, log_w, pairs[:, 0], pairs[:, 1]


def _probabilities(
    model: PsychometricModel, axis: Floats, m: Floats, log_w: Floats, guess: Floats, lapse: Floats
) -> Floats:
    """P(yes) [L, cells], cells by ln w, m and asymptotes."""
    z, _ = standardised(model, axis[:, None, None], m, log_w[:, None])
    s = np.where(np.isfinite(axis)[:, None, None], sigmoid_of(model.family).cdf(z), 0.0)
    p: Floats = guess + (1 - guess - lapse) * s[..., None]
    return np.clip(p, 1e-6, 1 - 1e-6).reshape(len(axis), -1)


def _log_prior(model: PsychometricModel, m: Floats, log_w: Floats, guess: Floats, lapse: Floats) -> Cells:
    shape = np.zeros((len(log_w), len(m)))
    if model.levels is not None:
        shape += model.levels.threshold(m)[0] + model.levels.width(log_w)[0][:, None]
    elif model.width_prior is not None:
        shape += normal_prior(log_w, np.log(model.width_prior[0]), model.width_prior[1])[0][:, None]
    rates = np.zeros(len(guess))
    for value, free in ((guess, model.free_guess), (lapse, model.lapse is None)):
        rates += rate_prior(value, model.beta)[0] if free else 0.0
    return (shape[..., None] + rates).ravel().astype(np.float32)
