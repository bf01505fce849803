"""Links of binomial mixed models: log likelihood, score and weights over η, stable in both tails.

With a lapse rate λ the probability is λ/2 + (1 − λ) Φ(η); the likelihood is then no longer concave in η everywhere.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

import numpy as np
from scipy.special import expit, log_expit, log_ndtr, ndtr

from analysis.likelihood import Floats

Link = Literal["logit", "probit"]
LARGEST = 30.0  # beyond this |η| an answer is certain


class Terms(NamedTuple):
    """Of each row, [N].

    Attributes:
        log_likelihood: y ln p + (n − y) ln(1 − p), without the binomial coefficient.
        score: its derivative over η.
        observed: minus its second derivative.
        weight: expected value of ``observed`` (Fisher information).
        weight_slope: derivative of ``weight`` over η.
        eta: where, η.
    """

    log_likelihood: Floats
    score: Floats
    observed: Floats
    weight: Floats
    weight_slope: Floats
    eta: Floats


def terms(link: Link, eta: Floats, yes: Floats, trials: Floats, lapse: float = 0.0) -> Terms:
    """Returns what each row contributes at η, [N]; ``lapse`` is for probit."""
    eta = np.clip(eta, -LARGEST, LARGEST)
    match link:
        case "logit":
            return _logit(eta, yes, trials)
        case "probit":
            return _with_lapses(eta, yes, trials, lapse) if lapse else _probit(eta, yes, trials)
        case never:
            assert_never(never)


def _logit(eta: Floats, yes: Floats, trials: Floats) -> Terms:
    p = expit(eta)
    weight = trials * p * expit(-eta)
    likelihood = yes * log_expit(eta) + (trials - yes) * log_expit(-eta)
    return Terms(likelihood, yes - trials * p, weight, weight, weight * (1 - 2 * p), eta)


def _probit(eta: Floats, yes: Floats, trials: Floats) -> Terms:
    log_p, log_q = log_ndtr(eta), log_ndtr(-eta)
    log_density = -(eta**2) / 2 - np.log(2 * np.pi) / 2
    up, down = np.exp(log_density - log_p), np.exp(log_density - log_q)  # inverse Mills ratios
    no = trials - yes
    weight = trials * up * down
    return Terms(
        log_likelihood=yes * log_p + no * log_q,
        score=yes * up - no * down,
        observed=yes * up * (up + eta) + no * down * (down - eta),
        weight=weight,
        weight_slope=weight * (down - up - 2 * eta),
        eta=eta,
    )


class LapseSlopes(NamedTuple):
    """Derivatives over λ of a row's log likelihood, score and weight, [N] each."""

    log_likelihood: Floats
    score: Floats
    weight: Floats


def lapse_slopes(row: Terms, yes: Floats, trials: Floats, lapse: float) -> LapseSlopes:
    """Returns how each row's terms at their η change with λ, [N]; ``row`` are the probit's terms with that λ."""
    inner = ndtr(row.eta)
    p, q = lapse / 2 + (1 - lapse) * inner, lapse / 2 + (1 - lapse) * ndtr(-row.eta)
    up, no = 0.5 - inner, trials - yes  # ∂p/∂λ
    density = (1 - lapse) * np.exp(-(row.eta**2) / 2) / np.sqrt(2 * np.pi)
    return LapseSlopes(
        log_likelihood=up * (yes / p - no / q),
        score=-row.score / (1 - lapse) - density * up * (yes / p**2 + no / q**2),
        weight=row.weight * (up / q - up / p - 2 / (1 - lapse)),
    )


def _with_lapses(eta: Floats, yes: Floats, trials: Floats, lapse: float) -> Terms:
    p, q = (lapse / 2 + (1 - lapse) * ndtr(x) for x in (eta, -eta))
    density = (1 - lapse) * np.exp(-(eta**2) / 2) / np.sqrt(2 * np.pi)
    no = trials - yes
    score = density * (yes / p - no / q)
    weight = trials * density**2 / (p * q)
    return Terms(
        log_likelihood=yes * np.log(p) + no * np.log(q),
        score=score,
        observed=eta * score + density**2 * (yes / p**2 + no / q**2),
        weight=weight,
        weight_slope=weight * (density / q - density / p - 2 * eta),
        eta=eta,
    )
