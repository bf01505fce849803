"""Log likelihood of one data set on a grid of parameters, with answers that may be overdispersed.

A row's beta-binomial log likelihood depends on a cell of the grid through P(yes) and η alone: it is tabulated over both
and looked up, which costs some hundredths of what the gamma functions would. Steps of the table are equal in
√p − √(1 − p), on which answers have nearly the same variance everywhere, so that few are enough for any p.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.psychometric import overdispersion
from analysis.psychometric.model import PsychometricModel, standardised
from analysis.psychometric.sigmoids import Floats, sigmoid_of

Axes = tuple[Floats, Floats, Floats, Floats, Floats]
"""Nodes of m, ln w, γ, λ and η."""
Single = NDArray[np.float32]
FEWEST_STEPS, MOST_STEPS = 2048, 65536
FEW_TRIALS = 2000  # for which the fewest steps are fine enough; twice as many for four times the trials
ANCHORS = 65  # places where what is smooth is computed; cubic between them
RESOLVED = 0.003  # of the factors p + i / v those with smaller i / v count as p, for the anchors do not tell them apart


def log_likelihood_grid(model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, axes: Axes) -> Single:
    """Returns the log likelihood [M, W, G, A, E] of rows [L] without its constant; G has one node if γ = λ.

    Args:
        model: family, proportion at the threshold and whether the asymptotes are equal (γ then has one node).
        levels: on the axis of S, [L].
        hits: [L].
        trials: [L].
        axes: nodes of the parameters.
    """
    m, log_w, guess, lapse, eta = axes
    below, height = _asymptotes(model, guess, lapse)
    total = np.zeros((len(m) * len(log_w), below.size, len(eta)), dtype=np.float32)
    tables, share = row_tables(hits, trials, eta), _share(model, levels, m, log_w)
    for row, table in enumerate(tables):
        p = below + height * share[row] if np.isfinite(levels[row]) else below
        total += np.take(table, _nearest(p, len(table)), axis=0, mode="clip")
    return total.reshape(len(m), len(log_w), len(guess), len(lapse), len(eta))


def _nearest(p: Single, steps: int) -> NDArray[np.intp]:
    half = np.float32((steps - 1) / 2)
    at = np.sqrt(p)
    at -= np.sqrt(1 - p)
    at *= half
    at += half + np.float32(0.5)
    return at.astype(np.intp)


def _asymptotes(model: PsychometricModel, guess: Floats, lapse: Floats) -> tuple[Single, Single]:
    low, high = np.broadcast_arrays(lapse[None] if model.equal_asymptotes else guess[:, None], lapse[None])
    return low.astype(np.float32).ravel()[None], (1 - low - high).astype(np.float32).ravel()[None]


def _share(model: PsychometricModel, levels: Floats, m: Floats, log_w: Floats) -> Single:
    """S of every row and shape, [L, M · W, 1]."""
    z, _ = standardised(model, levels[:, None, None], m[:, None], log_w)
    return sigmoid_of(model.family).cdf(z).astype(np.float32).reshape(len(levels), -1, 1)


def row_tables(hits: Floats, trials: Floats, eta: Floats) -> Single:
    """Returns the log likelihood of rows [L] at the table's steps of P(yes), for each η, [L, steps, E]."""
    finer = 2 ** int(np.ceil(np.log2(max(trials.max() / FEW_TRIALS, 1)) / 2))
    anchors, weights = _places(min(FEWEST_STEPS * finer, MOST_STEPS))
    k, misses = hits[:, None, None], (trials - hits)[:, None, None]
    unresolved = 1 + RESOLVED * overdispersion.concentration(eta)
    yes, no = np.minimum(k, unresolved), np.minimum(misses, unresolved)
    if eta.any():
        whole = overdispersion.log_kernel(anchors, eta, k, trials[:, None, None])
        smooth = whole - special.xlogy(yes, anchors) - special.xlog1py(no, -anchors)
    else:
        smooth = np.zeros((len(hits), ANCHORS, len(eta)))
    table: Single = weights @ np.concatenate([yes, no, smooth], axis=1).astype(np.float32)
    return table


@cache
def _places(size: int) -> tuple[Floats, Single]:
    """Anchors [A, 1], and the steps' weights [size, 2 + A] for ln p, ln(1 − p) and what is known at the anchors."""
    steps = np.linspace(-1, 1, size)
    end = 0.25 * 2 / (size - 1)  # the first and the last step stand for what rounds to them, not for certainty
    root = np.clip(steps, -1 + end, 1 - end)
    p = ((root + np.sqrt(2 - root**2)) / 2) ** 2
    at = np.arcsin(np.sqrt(p)) / (np.pi / 2) * (ANCHORS - 1)
    first = np.clip(np.floor(at).astype(np.intp) - 1, 0, ANCHORS - 4)
    t = at - first
    taps = (
        -(t - 1) * (t - 2) * (t - 3) / 6,
        t * (t - 2) * (t - 3) / 2,
        -t * (t - 1) * (t - 3) / 2,
        t * (t - 1) * (t - 2) / 6,
    )
    weights = np.zeros((size, 2 + ANCHORS), dtype=np.float32)
    weights[:, 0], weights[:, 1] = np.log(p), np.log1p(-p)
    for tap, weight in enumerate(taps):
        weights[np.arange(size), 2 + first + tap] = weight
    anchors = np.sin(np.linspace(0, np.pi / 2, ANCHORS)[:, None]) ** 2
    return np.clip(anchors, 1e-5, 1 - 1e-5), weights
