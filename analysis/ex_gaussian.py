"""The ex-Gaussian distribution of reaction times by maximum likelihood: Normal(μ, σ) plus Exponential(τ).

Density f(x) = (1/τ) exp((μ − x)/τ + σ²/2τ²) Φ((x − μ)/σ − σ/τ) (Luce 1986, Response Times; Heathcote 1996), handled as
its logarithm so that neither a long tail nor a small τ overflows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_ndtr

from analysis.likelihood import Floats

FEWEST = 40  # times that a fit of three parameters is asked to rest on
_SMALLEST = 1e-3  # of the times' standard deviation: what σ and τ never go below


@dataclass(frozen=True, kw_only=True)
class ExGaussian:
    """A fit to ``n`` times: ``mu``, ``sigma``, ``tau`` in their unit; ``converged`` says if the search ended well."""

    mu: float
    sigma: float
    tau: float
    n: int
    log_likelihood: float
    converged: bool


def log_density(x: Floats, mu: float, sigma: float, tau: float) -> Floats:
    """Returns the logarithm of the density at times ``x``, any shape."""
    z = (x - mu) / sigma
    logarithm: Floats = -np.log(tau) - z * sigma / tau + sigma**2 / (2 * tau**2) + log_ndtr(z - sigma / tau)
    return logarithm


def fit(times: Floats) -> ExGaussian | None:
    """Returns the maximum-likelihood fit to times [N], or ``None`` for fewer than ``FEWEST`` or without spread."""
    n = len(times)
    if n < FEWEST or (spread := float(np.std(times))) == 0:
        return None
    centre = float(np.mean(times))
    x = (times - centre) / spread
    skew = float(np.clip(np.mean(x**3), 0.05, 1.9))
    tau = (skew / 2) ** (1 / 3)  # by moments: skewness = 2 (τ/s)³
    start = np.array([-tau, np.log(np.sqrt(1 - tau**2)), np.log(tau)])
    bounds = [(float(x.min()) - 1, float(x.max())), (np.log(_SMALLEST), 2.0), (np.log(_SMALLEST), 2.0)]
    found = minimize(_loss, start, args=(x,), method="L-BFGS-B", jac=True, bounds=bounds)
    mu, sigma, tail = float(found.x[0]), float(np.exp(found.x[1])), float(np.exp(found.x[2]))
    return ExGaussian(
        mu=centre + spread * mu, sigma=spread * sigma, tau=spread * tail, n=n,
        log_likelihood=-n * (float(found.fun) + np.log(spread)), converged=bool(found.success),
    )  # fmt: skip


def _loss(theta: Floats, x: Floats) -> tuple[float, Floats]:
    """Returns the mean negative log-likelihood at (μ, ln σ, ln τ), and its gradient."""
    mu, sigma, tau = float(theta[0]), float(np.exp(theta[1])), float(np.exp(theta[2]))
    ratio = sigma / tau
    z = (x - mu) / sigma
    u = z - ratio
    hazard = np.exp(-(u**2) / 2 - 0.5 * np.log(2 * np.pi) - log_ndtr(u))  # φ(u) / Φ(u)
    by_mu = 1 / tau - hazard / sigma
    by_log_sigma = ratio**2 - hazard * (z + ratio)
    by_log_tau = -1 + z * ratio - ratio**2 + hazard * ratio
    gradient = -np.array([by_mu.mean(), by_log_sigma.mean(), by_log_tau.mean()])
    return -float(log_density(x, mu, sigma, tau).mean()), gradient
