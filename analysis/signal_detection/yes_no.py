"""Yes-no: hits and false alarms, d′, criterion c and ln β (Green & Swets 1966; Macmillan & Creelman 2005, ch. 1–2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from analysis.likelihood import Floats


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """d′, criterion c and ln β of cells against one common set of noise trials, with their binomial variances."""

    d_prime: Floats
    d_prime_variance: Floats
    criterion: Floats
    criterion_variance: Floats
    log_beta: Floats
    log_beta_variance: Floats


def log_linear_rate(yes: Floats, trials: Floats) -> Floats:
    """Returns (yes + 0.5) / (trials + 1), which is never 0 or 1; applied to every cell alike (Hautus 1995)."""
    return (yes + 0.5) / (trials + 1)


def z_score(yes: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Returns z = Φ⁻¹ of log-linear rates and its binomial variance r (1 − r) / (n φ(z)²)."""
    rate = log_linear_rate(yes, trials)
    z = ndtri(rate)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return z, rate * (1 - rate) / (np.maximum(trials, 1) * density**2)


def sensitivity(hits: Floats, signal_trials: Floats, false_alarms: Floats, noise_trials: Floats) -> Sensitivity:
    """Returns d′ = z(H) − z(F), c = −(z(H) + z(F)) / 2 and ln β = c d′; the arguments broadcast."""
    z_hit, hit_variance = z_score(hits, signal_trials)
    z_false, false_variance = z_score(false_alarms, noise_trials)
    return Sensitivity(
        d_prime=z_hit - z_false,
        d_prime_variance=hit_variance + false_variance,
        criterion=-(z_hit + z_false) / 2,
        criterion_variance=(hit_variance + false_variance) / 4,
        log_beta=(z_false**2 - z_hit**2) / 2,
        log_beta_variance=z_hit**2 * hit_variance + z_false**2 * false_variance,
    )


def d_prime_covariance(hits: Floats, signal_trials: Floats, false_alarms: Floats, noise_trials: Floats) -> Floats:
    """Returns the binomial covariance matrix [..., L, L] of the d′ of L cells that share their noise trials.

    The noise trials' part stands in every entry: d′ at different ε err together.

    Args:
        hits: [..., L].
        signal_trials: [..., L].
        false_alarms: [...], of the one set of noise trials.
        noise_trials: [...].
    """
    hit_variance = z_score(hits, signal_trials)[1]
    shared = z_score(false_alarms, noise_trials)[1]
    own: Floats = hit_variance[..., :, None] * np.eye(hit_variance.shape[-1])
    return own + np.asarray(shared)[..., None, None]
