"""The power law d′(ε) = (ε / ε₁)^b, fitted to all cells of a yes-no study at once.

P(yes | ε, source model m) = λ/2 + (1 − λ) Φ((ε / ε₁ₘ)^bₘ − k). The criterion k and the lapse rate λ belong to the
observers and are shared by the source models, as are the trials without signal. ε₁ = ε(d′ = 1) does not depend on how
readily the observers say yes (Green & Swets 1966).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from analysis.likelihood import TINY, Fit, Floats, best_of, deviance, maximise
from analysis.psychometric import ASYMPTOTE, LOGIT_BOX, beta_prior

EXPONENT_PRIOR = (1.5, 1.0)  # ln b ~ Normal(ln 1.5, 1): b between 0.2 and 11 in 95 %
MAX_EVIDENCE = 50.0
CRITERION, LAPSE = 0, 1  # columns of the parameters that all source models share


@dataclass(frozen=True, kw_only=True)
class PowerLawFit:
    """Maximum a posteriori parameters of B data sets with M source models.

    Attributes:
        criterion: k, [B], in standard deviations of the evidence.
        lapse: λ, [B].
        log2_eps_dprime1: log2 ε(d′ = 1), [B, M].
        exponent: b, [B, M].
        probability: P(yes) of each row, [B, L].
        deviance: against one probability a row, [B].
    """

    criterion: Floats
    lapse: Floats
    log2_eps_dprime1: Floats
    exponent: Floats
    probability: Floats
    deviance: Floats
    free_parameters: int
    fit: Fit = field(repr=False)


def d_prime_at(eps: Floats, log2_eps_dprime1: Floats, exponent: Floats) -> Floats:
    """Returns d′ = (ε / ε₁)^b; ``eps`` in grey levels, not negative; the arguments broadcast."""
    return np.minimum((eps / np.exp2(log2_eps_dprime1)) ** exponent, MAX_EVIDENCE)


def fit_power_law(eps: Floats, model: NDArray[np.int64], hits: Floats, trials: Floats) -> PowerLawFit:
    """Returns the joint fit over the source models of B data sets that share their cells.

    Args:
        eps: ε of each row in grey levels, [L]; 0 for trials without signal.
        model: source model of each row, 0..M−1; −1 where ε = 0; [L].
        hits: answers "yes", [B, L].
        trials: [B, L].
    """
    models = int(model.max()) + 1
    levels = np.log2(eps[eps > 0])
    low, high = _box(levels, models)

    def curve(theta: Floats) -> tuple[Floats, Floats]:
        return _curve(eps, model, theta)

    fits = [
        maximise(curve, _prior, np.broadcast_to(start, (len(hits), len(start))).copy(), hits, trials, low, high)
        for start in _starts(levels, models)
    ]
    best = best_of(fits)
    theta = best.parameters
    p = curve(theta)[0]
    return PowerLawFit(
        criterion=theta[:, CRITERION],
        lapse=ASYMPTOTE * expit(theta[:, LAPSE]),
        log2_eps_dprime1=theta[:, 2 : 2 + models],
        exponent=np.exp(theta[:, 2 + models :]),
        probability=p,
        deviance=deviance(p, hits, trials),
        free_parameters=theta.shape[1],
        fit=best,
    )


def threshold_errors(fit: PowerLawFit, eps: Floats, model: NDArray[np.int64], trials: Floats) -> Floats:
    """Returns standard errors of log2 ε(d′ = 1), [B, M], from the expected information and the priors.

    Args:
        fit: of B data sets.
        eps: ε of each row in grey levels, [L]; ``model`` is the source model of each row, [L], as they were fitted.
        model: see there.
        trials: [B, L].
    """
    theta = fit.fit.parameters
    probability, jacobian = _curve(eps, model, theta)
    p = np.clip(probability, TINY, 1 - TINY)
    information = np.einsum("blp,bl,blq->bpq", jacobian, trials / (p * (1 - p)), jacobian)
    diagonal = np.arange(theta.shape[1])
    information[:, diagonal, diagonal] += _prior(theta)[2]
    models = fit.log2_eps_dprime1.shape[1]
    variances = np.linalg.pinv(information, hermitian=True)[:, diagonal, diagonal]
    errors: Floats = np.sqrt(variances[:, 2 : 2 + models])
    return errors


def _box(levels: Floats, models: int) -> tuple[Floats, Floats]:
    span = max(float(np.ptp(levels)), 1.0)
    ones = np.ones(models)
    low = np.concatenate([[-6.0, -LOGIT_BOX], (levels.min() - span) * ones, np.log(0.1) * ones])
    high = np.concatenate([[6.0, LOGIT_BOX], (levels.max() + span) * ones, np.log(20.0) * ones])
    return low, high


def _starts(levels: Floats, models: int) -> list[Floats]:
    ones = np.ones(models)
    return [np.concatenate([[0.5, -3.0], m * ones, 0.3 * ones]) for m in np.quantile(levels, [0.35, 0.75])]


def _curve(eps: Floats, model: NDArray[np.int64], theta: Floats) -> tuple[Floats, Floats]:
    models = (theta.shape[1] - 2) // 2
    k = theta[:, :1]
    lapse = ASYMPTOTE * expit(theta[:, LAPSE : LAPSE + 1])
    signal = eps > 0
    owner = np.where(signal, model, 0)
    threshold, exponent = theta[:, 2 + owner], np.exp(theta[:, 2 + models + owner])
    distance = np.log(np.where(signal, eps, 1.0)) - threshold * np.log(2)
    log_evidence = np.minimum(exponent * distance, np.log(MAX_EVIDENCE))
    evidence = np.where(signal, np.exp(log_evidence), 0.0)
    z = evidence - k
    height = (1 - lapse) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    jacobian = np.zeros((*z.shape, theta.shape[1]))
    jacobian[:, :, CRITERION] = -height
    jacobian[:, :, LAPSE] = (0.5 - ndtr(z)) * lapse * (1 - lapse / ASYMPTOTE)
    rows = np.flatnonzero(signal)
    jacobian[:, rows, 2 + owner[rows]] = (-height * evidence * exponent * np.log(2))[:, rows]
    jacobian[:, rows, 2 + models + owner[rows]] = (height * evidence * log_evidence)[:, rows]
    return lapse / 2 + (1 - lapse) * ndtr(z), jacobian


def _prior(theta: Floats) -> tuple[Floats, Floats, Floats]:
    models = (theta.shape[1] - 2) // 2
    gradient, curvature = np.zeros_like(theta), np.zeros_like(theta)
    value, gradient[:, LAPSE], curvature[:, LAPSE] = beta_prior(theta[:, LAPSE])
    centre, sd = np.log(EXPONENT_PRIOR[0]), EXPONENT_PRIOR[1]
    exponents = theta[:, 2 + models :]
    gradient[:, 2 + models :] = (centre - exponents) / sd**2
    curvature[:, 2 + models :] = 1 / sd**2
    return value - (((exponents - centre) / sd) ** 2).sum(axis=1) / 2, gradient, curvature
