"""Same-different: are the two pictures different? d′ under two decision rules (Macmillan & Creelman 2005, ch. 9).

Differencing: "different" when the evidence of the two pictures is more than k apart, so that
F = 2 Φ(−k / √2) and H = Φ((d′ − k) / √2) + Φ((−d′ − k) / √2). k follows from F in closed form; d′ is found by bisection
on 0 ≤ d′ ≤ 20.

Independent observations: each picture is judged by itself, by likelihood ratio. With p = Φ((z(H) − z(F)) / 2) the share
correct of an unbiased observer, d′ = 2 z((1 + √(2p − 1)) / 2), in closed form. The rule takes pairs of either
kind to be shown as often; where all equal pairs are unperturbed it is an approximation.

At or below chance (H ≤ F) both rules give d′ = 0: no d′ makes "different" rarer for pairs that differ. d′ is steep near
chance, so its interval is found on δ = z(H) − z(F), which is close to normal, and carried over bound by bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from analysis.likelihood import Floats
from analysis.signal_detection.yes_no import z_score

MOST_D_PRIME = 20.0
BISECTIONS = 60
ROOT2 = np.sqrt(2)


@dataclass(frozen=True, kw_only=True)
class SameDifferent:
    """What pairs tell of d′.

    Attributes:
        d_prime: 0 where "different" was said no more often for pairs that differ.
        d_prime_variance: binomial, by the delta method; infinite at d′ = 0.
        discrimination: δ = z(H) − z(F).
        discrimination_variance: binomial.
        false_alarm_z: z(F), which fixes how δ becomes d′.
        rule: the decision rule.
    """

    d_prime: Floats
    d_prime_variance: Floats
    discrimination: Floats
    discrimination_variance: Floats
    false_alarm_z: Floats
    rule: str

    def d_prime_of(self, discrimination: Floats) -> Floats:
        """Returns d′ for other values of δ at the same false-alarm rate, such as the bounds of an interval."""
        return _RULES[self.rule](discrimination, self.false_alarm_z)


def different_rate(d_prime: Floats, criterion: Floats) -> Floats:
    """Returns P("different") of the differencing rule; ``criterion`` is k, in standard deviations of the evidence."""
    rate: Floats = ndtr((d_prime - criterion) / ROOT2) + ndtr((-d_prime - criterion) / ROOT2)
    return rate


def differencing(hits: Floats, different: Floats, false_alarms: Floats, same: Floats) -> SameDifferent:
    """Returns d′ under the differencing rule from answers "different" to pairs that differ and pairs that do not.

    Args:
        hits: answers "different" to pairs that differ; ``different`` is how many such pairs were shown.
        different: trials.
        false_alarms: answers "different" to equal pairs; ``same`` is how many such pairs were shown.
        same: trials.
    """
    found = _found("differencing", hits, different, false_alarms, same)
    d, k = found.d_prime, _difference_criterion(found.false_alarm_z)
    upper, lower = _density((d - k) / ROOT2) / ROOT2, _density((d + k) / ROOT2) / ROOT2
    of_d, of_k = upper - lower, -(upper + lower)
    hit_variance, false_variance = _rate_variances(hits, different, false_alarms, same)
    k_variance = false_variance / (2 * _density(k / ROOT2) ** 2)
    return _with_variance(found, hit_variance + of_k**2 * k_variance, of_d)


def independent_observations(hits: Floats, different: Floats, false_alarms: Floats, same: Floats) -> SameDifferent:
    """Returns d′ under the rule of independent observations; arguments as for ``differencing``."""
    found = _found("independent observations", hits, different, false_alarms, same)
    # p = 2 q² − 2 q + 1 with q = Φ(d′ / 2): dp/dd′ = (2 q − 1) φ(d′ / 2), and dp/dδ = φ(δ / 2) / 2
    slope = (2 * ndtr(found.d_prime / 2) - 1) * _density(found.d_prime / 2)
    of_discrimination = _density(found.discrimination / 2) / 2
    return _with_variance(found, of_discrimination**2 * found.discrimination_variance, slope)


def _found(rule: str, hits: Floats, different: Floats, false_alarms: Floats, same: Floats) -> SameDifferent:
    z_hit, hit_variance = z_score(hits, different)
    z_false, false_variance = z_score(false_alarms, same)
    delta = z_hit - z_false
    return SameDifferent(
        d_prime=_RULES[rule](delta, z_false),
        d_prime_variance=np.full_like(delta, np.inf),
        discrimination=delta,
        discrimination_variance=hit_variance + false_variance,
        false_alarm_z=z_false,
        rule=rule,
    )


def _with_variance(found: SameDifferent, variance: Floats, slope: Floats) -> SameDifferent:
    some = found.d_prime > 0
    spread = np.divide(variance, slope**2, out=np.full_like(found.d_prime, np.inf), where=some & (slope > 0))
    return SameDifferent(**{**vars(found), "d_prime_variance": spread})


def _rate_variances(hits: Floats, different: Floats, false_alarms: Floats, same: Floats) -> tuple[Floats, Floats]:
    pairs = ((hits, different), (false_alarms, same))
    hit, false = ((z, v * _density(z) ** 2) for z, v in (z_score(*pair) for pair in pairs))
    return hit[1], false[1]


def _difference_criterion(false_alarm_z: Floats) -> Floats:
    k: Floats = -ROOT2 * ndtri(ndtr(false_alarm_z) / 2)
    return k


def _by_differencing(discrimination: Floats, false_alarm_z: Floats) -> Floats:
    k = _difference_criterion(false_alarm_z)
    hit = ndtr(false_alarm_z + discrimination)
    low, high = np.zeros_like(hit), np.full_like(hit, MOST_D_PRIME)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = different_rate(middle, k) < hit
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(discrimination > 0, (low + high) / 2, 0.0)


def _by_independent_observations(discrimination: Floats, false_alarm_z: Floats) -> Floats:
    p = ndtr(np.maximum(discrimination, 0.0) / 2)
    d: Floats = 2 * ndtri((1 + np.sqrt(2 * p - 1)) / 2) + 0 * false_alarm_z
    return np.minimum(d, MOST_D_PRIME)


def _density(z: Floats) -> Floats:
    density: Floats = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return density


_RULES = {"differencing": _by_differencing, "independent observations": _by_independent_observations}
