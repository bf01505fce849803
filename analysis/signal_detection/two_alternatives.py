"""Two alternatives (2AFC): which of the two pictures is perturbed? (Macmillan & Creelman 2005, ch. 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.likelihood import Floats
from analysis.signal_detection.yes_no import z_score


@dataclass(frozen=True, kw_only=True)
class TwoAlternatives:
    """d′ of an observer without side bias, with its binomial variance."""

    d_prime: Floats
    d_prime_variance: Floats


@dataclass(frozen=True, kw_only=True)
class SideBias:
    """d′ freed of side bias, and the bias: above 0 where "right" was preferred, in standard deviations.

    The bias is c = −(z(H) + z(F)) / 2 with "left" as the answer that is counted.
    """

    d_prime: Floats
    d_prime_variance: Floats
    bias: Floats
    bias_variance: Floats


def two_alternatives(correct: Floats, trials: Floats) -> TwoAlternatives:
    """Returns d′ = √2 z(share correct), with log-linear shares; a side bias makes it too small."""
    z, variance = z_score(correct, trials)
    return TwoAlternatives(d_prime=np.sqrt(2) * z, d_prime_variance=2 * variance)


def by_side(left_at_left: Floats, trials_left: Floats, left_at_right: Floats, trials_right: Floats) -> SideBias:
    """Returns d′ = (z(H) − z(F)) / √2 and the side bias.

    Args:
        left_at_left: answers "left" where the perturbed picture stood on the left.
        trials_left: trials with the perturbed picture on the left.
        left_at_right: answers "left" where it stood on the right.
        trials_right: trials with it on the right.
    """
    z_hit, hit_variance = z_score(left_at_left, trials_left)
    z_false, false_variance = z_score(left_at_right, trials_right)
    return SideBias(
        d_prime=(z_hit - z_false) / np.sqrt(2),
        d_prime_variance=(hit_variance + false_variance) / 2,
        bias=-(z_hit + z_false) / 2,
        bias_variance=(hit_variance + false_variance) / 4,
    )
