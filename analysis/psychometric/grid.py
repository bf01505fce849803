"""Log likelihood of one data set on a grid of parameters, with answers that may be overdispersed.

A row's beta-binomial log likelihood depends on a cell of the grid through P(yes) and η alone: it is tabulated over both
and looked up, which costs some hundredths of what the gamma functions would.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.likelihood import TINY
from analysis.psychometric import overdispersion
from analysis.psychometric.model import PsychometricModel, standardised
from analysis.psychometric.sigmoids import Floats, sigmoid_of

Axes = tuple[Floats, Floats, Floats, Floats, Floats]
"""Nodes of m, ln w, γ, λ and η."""
Single = NDArray[np.float32]
FEW_TRIALS, COARSE_TABLE, FINE_TABLE = 200, 8192, 65536
ANCHORS = 129  # places where the part that η adds is computed; cubic between them


def log_likelihood_grid(
    model: PsychometricModel, levels: Floats, hits: Floats, trials: Floats, axes: Axes
) -> NDArray[np.float32]:
    """Returns the log likelihood [M, W, G, A, E] of rows [L] without its constant; A has one node if γ = λ.

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
    size = COARSE_TABLE if trials.max() <= FEW_TRIALS else FINE_TABLE
    for level, k, n in zip(levels, hits, trials, strict=True):
        table = row_table(k, n, eta, size)
        s = _share(model, level, m, log_w)
        p = below + height * s if s.size > 1 else np.broadcast_to(below, (1, below.size))
        total += table[(p * (size - 1) + 0.5).astype(np.intp)]
    return total.reshape(len(m), len(log_w), len(guess), len(lapse), len(eta))


def _asymptotes(model: PsychometricModel, guess: Floats, lapse: Floats) -> tuple[Single, Single]:
    low, high = np.broadcast_arrays(lapse[None] if model.equal_asymptotes else guess[:, None], lapse[None])
    return low.astype(np.float32).ravel()[None], (1 - low - high).astype(np.float32).ravel()[None]


def _share(model: PsychometricModel, level: float, m: Floats, log_w: Floats) -> Single:
    if not np.isfinite(level):
        return np.zeros((1, 1), dtype=np.float32)
    z, _ = standardised(model, np.array(level), m[:, None], log_w[None])
    return sigmoid_of(model.family).cdf(z).astype(np.float32).reshape(-1, 1)


def row_table(hits: float, trials: float, eta: Floats, size: int) -> Single:
    """Returns the log likelihood of one row at ``size`` equal steps of P(yes) from 0 to 1, for each η, [size, E]."""
    log_p, log_q, places, weights = _places(size)
    kernel = (hits * log_p + (trials - hits) * log_q)[:, None]
    if not eta.any():
        return np.broadcast_to(kernel, (size, len(eta))).astype(np.float32)
    anchors = np.sin(np.linspace(0, np.pi / 2, ANCHORS)[:, None]) ** 2
    inside = np.clip(anchors, 1e-9, 1 - 1e-9)
    plain = special.xlogy(hits, inside) + special.xlog1py(trials - hits, -inside)
    added = (overdispersion.log_kernel(inside, eta[None], np.array(hits), np.array(trials)) - plain).astype(np.float32)
    table = kernel.astype(np.float32)
    total: Single = table + sum(weights[:, [tap]] * added[places + tap] for tap in range(4))
    return total


@cache
def _places(size: int) -> tuple[Floats, Floats, NDArray[np.intp], Single]:
    """Logarithms of P(yes) and its complement, and where each step lies among the anchors (Lagrange, four taps)."""
    p = np.arange(size) / (size - 1)
    inside = np.clip(p, min(TINY, 1), 1 - TINY)
    at = np.arcsin(np.sqrt(p)) / (np.pi / 2) * (ANCHORS - 1)
    first = np.clip(np.floor(at).astype(np.intp) - 1, 0, ANCHORS - 4)
    t = at - first
    weights = np.stack(
        [
            -(t - 1) * (t - 2) * (t - 3) / 6,
            t * (t - 2) * (t - 3) / 2,
            -t * (t - 1) * (t - 3) / 2,
            t * (t - 1) * (t - 2) / 6,
        ],
        axis=1,
    )
    edge = 0.25 / (size - 1)  # the first and the last step stand for what rounds to them, not for certainty
    inside = np.clip(inside, edge, 1 - edge)
    return np.log(inside), np.log1p(-inside), first, weights.astype(np.float32)
