"""p-values of several tests at once: Holm, and step-down max-|t| from bootstrap draws (Westfall & Young 1993)."""

from __future__ import annotations

import numpy as np

from analysis.intervals import bootstrap_error
from analysis.likelihood import Floats
from core import rng

ENOUGH = 200  # degrees of freedom beyond which a standard error is as good as known


def holm(p: Floats) -> Floats:
    """Returns p-values adjusted by Holm (1979), [K]; valid whatever hangs together."""
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(np.minimum(p[order] * np.arange(len(p), 0, -1), 1.0))
    back: Floats = np.empty_like(adjusted)
    back[order] = adjusted
    return back


def step_down_max_t(estimate: Floats, draws: Floats, df: Floats, seed: int) -> Floats:
    """Returns p-values adjusted by step-down max-|t|, [K], which use that the estimates hang together.

    The draws, centred and divided by their standard deviation, are divided once more by standard errors as participants
    would estimate them: roots of the diagonal of a Wishart matrix with the draws' correlations. With one test the
    result is that of t with df degrees of freedom; without it, few participants make max-t err too often.

    Args:
        estimate: [K]; the hypotheses say 0.
        draws: bootstrap draws of them, [B, K].
        df: degrees of freedom of each, [K].
        seed: of the Wishart draws.
    """
    observed = np.abs(estimate) / bootstrap_error(draws, df + 1)
    spread = draws.std(axis=0, ddof=1)
    deviates = np.abs(draws - draws.mean(axis=0)) / spread / _estimated_errors(draws / spread, int(df.min()), seed)
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(deviates[:, order[::-1]], axis=1)[:, ::-1]
    exceeding = (largest >= observed[order]).sum(axis=0)
    p = np.maximum.accumulate((exceeding + 1) / (len(draws) + 1))
    back: Floats = np.empty_like(p)
    back[order] = p
    return back


def _estimated_errors(draws: Floats, df: int, seed: int) -> Floats:
    """Standard errors [B, K], in units of the true ones, that samples with ``df`` degrees of freedom would give."""
    generator, df = rng.numpy_generator(seed, "max-t"), min(df, ENOUGH)
    values, vectors = np.linalg.eigh(np.cov(draws.T, ddof=1).reshape(draws.shape[1], -1))
    root = vectors * np.sqrt(np.maximum(values, 0))
    squares = np.zeros_like(draws)
    for _ in range(df):
        squares += (generator.standard_normal(draws.shape) @ root.T) ** 2
    return np.sqrt(squares / df)
