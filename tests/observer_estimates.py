"""What the trials of robots tell of their law, with standard errors: the experimenter's formulas, not the report's.

Rates have the log-linear correction (Hautus 1995): r = (x + 1/2) / (n + 1). V(r) = r (1 − r) / n, φ and z are the
density and the quantile function of the standard normal.

- yes-no: k = −z(F), d′ = z(H) + k; V(k) = V(F) / φ(k)², V(d′) = V(H) / φ(z(H))² + V(k) (Gourevitch & Galanter 1967).
- 2afc: d′ = √2 z(P) with the share P of right answers; V(d′) = 2 V(P) / φ(z(P))².
- same-different, differencing: F = 2 Φ(−k_d / √2), H = Φ((d′ − k_d) / √2) + Φ((−d′ − k_d) / √2); by the delta method
  V(k_d) = V(F) / (2 φ(k_d / √2)²), V(d′) = (V(H) + (∂H/∂k_d)² V(k_d)) / (∂H/∂d′)².
- response times: mean, variance and third central moment m₃ of n times; V(mean) = m₂ / n, V(m₂) = (m₄ − m₂²) / n,
  V(m₃) = (m₆ − m₃² − 6 m₄ m₂ + 9 m₂³) / n. These m are the ex-Gaussian's, without what the distance adds: those of the
  sample go up and down with what they judge.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import norm

from study_app import observers
from study_app.observers import Observers, ResponseTime

ROOT2 = math.sqrt(2)


class Estimate(NamedTuple):
    """An estimate, its standard error, and what the law says."""

    value: float
    error: float
    truth: float

    @property
    def z(self) -> float:
        """Deviation from the law in standard errors."""
        return (self.value - self.truth) / self.error


def estimates(law: Observers, task: str, trials: pd.DataFrame) -> dict[str, Estimate]:
    """Everything that trials tell. Columns: run (of one source model), eps_asked, signal, response, correct, rt_ms."""
    found = {"yes-no": _yes_no, "2afc": _two_alternatives, "same-different": _same_different}[task](law, trials)
    return {**found, **_response_times(law, task, trials)}


def true_dprime(law: Observers, run: str | None, eps: int) -> float:
    """d′ of the median observer, which all are when the law has no spread."""
    median = observers.Traits(criterion=0.0, difference_criterion=0.0, deviate=0.0)
    return observers.dprime(law, median, run, eps)


def _rate(said: pd.Series) -> tuple[float, float]:
    rate = (said.sum() + 0.5) / (len(said) + 1)
    return rate, rate * (1 - rate) / len(said)


def _levels(trials: pd.DataFrame):
    for (run, eps), shown in trials[trials.signal.astype(bool)].groupby(["run", "eps_asked"]):
        yield run, int(eps), shown


def _yes_no(law: Observers, trials: pd.DataFrame) -> dict[str, Estimate]:
    false_alarms, variance = _rate(trials.response[~trials.signal.astype(bool)] == "yes")
    k = -norm.ppf(false_alarms)
    variance /= norm.pdf(k) ** 2
    found = {"criterion": Estimate(k, math.sqrt(variance), law.criterion.mean)}
    for run, eps, shown in _levels(trials):
        hits, of_hits = _rate(shown.response == "yes")
        error = math.sqrt(of_hits / norm.pdf(norm.ppf(hits)) ** 2 + variance)
        found[f"d' at {eps}"] = Estimate(norm.ppf(hits) + k, error, true_dprime(law, run, eps))
    return found


def _two_alternatives(law: Observers, trials: pd.DataFrame) -> dict[str, Estimate]:
    found = {}
    for run, eps, shown in _levels(trials):
        right, variance = _rate(shown.correct.astype(bool))
        error = ROOT2 * math.sqrt(variance) / norm.pdf(norm.ppf(right))
        found[f"d' at {eps}"] = Estimate(ROOT2 * norm.ppf(right), error, true_dprime(law, run, eps))
    return found


def _same_different(law: Observers, trials: pd.DataFrame) -> dict[str, Estimate]:
    false_alarms, variance = _rate(trials.response[~trials.signal.astype(bool)] == "different")
    k = -ROOT2 * norm.ppf(false_alarms / 2)
    variance /= 2 * norm.pdf(k / ROOT2) ** 2
    found = {"criterion": Estimate(k, math.sqrt(variance), law.difference_criterion.mean)}
    for run, eps, shown in _levels(trials):
        hits, of_hits = _rate(shown.response == "different")
        d = brentq(lambda d, hits=hits: _different(d, k) - hits, 0, 20)
        of_k = -(norm.pdf((d - k) / ROOT2) + norm.pdf((d + k) / ROOT2)) / ROOT2
        of_d = (norm.pdf((d - k) / ROOT2) - norm.pdf((d + k) / ROOT2)) / ROOT2
        error = math.sqrt(of_hits + of_k**2 * variance) / of_d
        found[f"d' at {eps}"] = Estimate(d, error, true_dprime(law, run, eps))
    return found


def _different(d: float, k: float) -> float:
    return float(norm.cdf((d - k) / ROOT2) + norm.cdf((-d - k) / ROOT2))


def _response_times(law: Observers, task: str, trials: pd.DataFrame) -> dict[str, Estimate]:
    times = trials.rt_ms.to_numpy(dtype=float)
    centred = times - times.mean()
    values = times.mean(), (centred**2).mean(), (centred**3).mean()
    truth = _expected_times(law, task, trials)
    names = ("mean of rt", "variance of rt", "third moment of rt")
    return {
        name: Estimate(float(value), math.sqrt(variance / len(times)), float(true))
        for name, value, variance, true in zip(names, values, _variances(law.response_time), truth, strict=True)
    }


def _variances(law: ResponseTime) -> tuple[float, float, float]:
    """n times the variances of mean, variance and third central moment of n ex-Gaussian times."""
    k3, k4, k6 = (math.factorial(order - 1) * law.tau**order for order in (3, 4, 6))
    m2 = law.sigma**2 + law.tau**2
    m4, m6 = k4 + 3 * m2**2, k6 + 15 * k4 * m2 + 10 * k3**2 + 15 * m2**3
    return m2, m4 - m2**2, m6 - k3**2 - 6 * m4 * m2 + 9 * m2**3


def _expected_times(law: Observers, task: str, trials: pd.DataFrame) -> tuple[float, float, float]:
    """Mean, variance and third central moment of a mixture of the cells that were shown."""
    cells = trials.groupby(["signal", "run", "eps_asked"], dropna=False).size()
    parts = [
        _cumulants(law.response_time, _distances(law, task, true_dprime(law, run if signal else None, eps)))
        for signal, run, eps in cells.index
    ]
    share = cells.to_numpy() / cells.sum()
    first, second, third = np.array(parts).T
    mean = share @ first
    apart = first - mean
    return mean, share @ (second + apart**2), share @ (third + 3 * second * apart + apart**3)


def _distances(law: Observers, task: str, d: float) -> tuple[np.ndarray, np.ndarray]:
    """The distance from the criterion at points of a fine grid of what is compared, and the weight of each point."""
    x = np.linspace(-12, 12, 20_001)
    weights = norm.pdf(x) / norm.pdf(x).sum()
    match task:
        case "yes-no":
            distance = x + d - law.criterion.mean
        case "2afc":
            distance = x + d / ROOT2
        case _:
            distance = np.abs(x + d / ROOT2) - law.difference_criterion.mean / ROOT2
    return np.abs(distance), weights


def _cumulants(law: ResponseTime, distances: tuple[np.ndarray, np.ndarray]) -> tuple[float, float, float]:
    """Mean, variance and third central moment of mu − slope · distance + Normal(0, sigma) + Exponential(tau)."""
    distance, weights = distances
    mean = float(weights @ distance)
    second, third = (float(weights @ (distance - mean) ** power) for power in (2, 3))
    slope = law.distance_slope
    return (
        law.mu - slope * mean + law.tau,
        law.sigma**2 + law.tau**2 + slope**2 * second,
        2 * law.tau**3 - slope**3 * third,
    )
