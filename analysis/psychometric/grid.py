"""Log likelihood of data sets on grids of parameters, with answers that may be overdispersed.

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
"""Nodes of m, ln w, γ, λ and η, each [B, n]."""
Single = NDArray[np.float32]
FEWEST_STEPS, MOST_STEPS, ROUGH_STEPS = 2048, 65536, 512
FEW_TRIALS = 2000  # for which the fewest steps are fine enough; twice as many for four times the trials
ANCHORS, ROUGH_ANCHORS = 65, 33  # places where what is smooth is computed; cubic between them
RESOLVED = 0.003  # of the factors p + i / v those with smaller i / v count as p, for the anchors do not tell them apart


def log_likelihood_grid(
    model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, axes: Axes, *, rough: bool = False
) -> Single:
    """Returns log likelihoods [B, M, W, G, A, E] of data sets without constants; G has one node if γ = λ.

    Args:
        model: family, proportion at the threshold and whether the asymptotes are equal (γ then has one node).
        levels: on the axis of S, [L].
        hits: [B, L].
        trials: [B, L].
        axes: nodes of the parameters.
        rough: whether few steps of the table will do.
    """
    m, log_w, guess, lapse, eta = axes
    below, height = _asymptotes(model, guess, lapse)
    size = ROUGH_STEPS if rough else steps_for(float(trials.max()))
    total = np.zeros((len(m), m.shape[1] * log_w.shape[1], below.shape[2], eta.shape[1]), dtype=np.float32)
    offset = size * np.arange(len(m))[:, None, None]
    for row, level in enumerate(levels):
        table = row_tables(hits[:, row], trials[:, row], eta, size).reshape(-1, eta.shape[1])
        p = below + height * _share(model, float(level), m, log_w) if np.isfinite(level) else below
        total += np.take(table, _nearest(p, size) + offset, axis=0, mode="clip")
    return total.reshape(-1, *(each.shape[1] for each in axes))


def steps_for(trials: float) -> int:
    """Returns how many steps of the table rows with so many trials ask for."""
    doublings = int(np.ceil(np.log2(max(trials / FEW_TRIALS, 1)) / 2))
    return min(FEWEST_STEPS << doublings, MOST_STEPS)


def _nearest(p: Single, steps: int) -> NDArray[np.intp]:
    half = np.float32((steps - 1) / 2)
    at = np.sqrt(p)
    at -= np.sqrt(1 - p)
    at *= half
    at += half + np.float32(0.5)
    return at.astype(np.intp)


def _asymptotes(model: PsychometricModel, guess: Floats, lapse: Floats) -> tuple[Single, Single]:
    """γ and 1 − γ − λ, [B, 1, G · A]."""
    low = lapse[:, None] if model.equal_asymptotes else guess[:, :, None]
    low, high = np.broadcast_arrays(low, lapse[:, None])
    flat = (len(low), 1, -1)
    return low.astype(np.float32).reshape(flat), (1 - low - high).astype(np.float32).reshape(flat)


def _share(model: PsychometricModel, level: float, m: Floats, log_w: Floats) -> Single:
    """S of every shape, [B, M · W, 1]."""
    z, _ = standardised(model, np.array(level), m[:, :, None], log_w[:, None])
    return sigmoid_of(model.family).cdf(z).astype(np.float32).reshape(len(m), -1, 1)


def row_tables(hits: Floats, trials: Floats, eta: Floats, size: int) -> Single:
    """Returns log likelihoods of a row of data sets [B] at ``size`` steps of P(yes) for each η [B, E], [B, size, E]."""
    anchors, weights = _places(size, ROUGH_ANCHORS if size == ROUGH_STEPS else ANCHORS)
    k, misses, eta = hits[:, None, None], (trials - hits)[:, None, None], eta[:, None]
    unresolved = 1 + RESOLVED * overdispersion.concentration(eta)
    yes, no = np.minimum(k, unresolved), np.minimum(misses, unresolved)
    smooth = np.zeros((len(hits), len(anchors), eta.shape[2]))
    if eta.any():
        whole = overdispersion.log_kernel(anchors, eta, k, trials[:, None, None])
        smooth = whole - special.xlogy(yes, anchors) - special.xlog1py(no, -anchors)
    table: Single = weights @ np.concatenate([yes, no, smooth], axis=1).astype(np.float32)
    return table


@cache
def _places(size: int, number: int) -> tuple[Floats, Single]:
    """Anchors [A, 1], and the steps' weights [size, 2 + A] for ln p, ln(1 − p) and what is known at the anchors."""
    steps = np.linspace(-1, 1, size)
    end = 0.25 * 2 / (size - 1)  # the first and the last step stand for what rounds to them, not for certainty
    root = np.clip(steps, -1 + end, 1 - end)
    p = ((root + np.sqrt(2 - root**2)) / 2) ** 2
    at = np.arcsin(np.sqrt(p)) / (np.pi / 2) * (number - 1)
    first = np.clip(np.floor(at).astype(np.intp) - 1, 0, number - 4)
    t = at - first
    taps = (
        -(t - 1) * (t - 2) * (t - 3) / 6,
        t * (t - 2) * (t - 3) / 2,
        -t * (t - 1) * (t - 3) / 2,
        t * (t - 1) * (t - 2) / 6,
    )
    weights = np.zeros((size, 2 + number), dtype=np.float32)
    weights[:, 0], weights[:, 1] = np.log(p), np.log1p(-p)
    for tap, weight in enumerate(taps):
        weights[np.arange(size), 2 + first + tap] = weight
    anchors = np.sin(np.linspace(0, np.pi / 2, number)[:, None]) ** 2
    return np.clip(anchors, 1e-5, 1 - 1e-5), weights
