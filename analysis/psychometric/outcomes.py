"""What the data of one curve can say: an answer that is not a number is an outcome, with its reason in words."""

from __future__ import annotations

from enum import Enum

import numpy as np
from scipy.stats import chi2

from analysis.likelihood import deviance
from analysis.psychometric.fitting import PsychometricFit
from analysis.psychometric.model_free import isotonic
from analysis.psychometric.sigmoids import Floats, sigmoid_of

MONOTONE_ALPHA = 0.001
ANCHOR = 0.95  # S has to come this far at some level for λ to show


class Outcome(Enum):
    """What to say of one curve; the value is the message. ``FATAL`` ones leave no threshold to report."""

    NO_TRIALS = "there are no trials"
    ONE_LEVEL = "perturbed pictures were shown at fewer than two values of ε, and no curve goes through one point"
    NO_CATCH_TRIALS = "no unperturbed picture was shown, so false alarms cannot be told from seeing"
    ALL_YES = "every answer was yes, so the threshold is below the tested range"
    ALL_NO = "every answer was no, so the threshold is above the tested range"
    NOT_MONOTONE = "the detection rate falls with ε by more than chance allows, so no threshold describes it"
    ABOVE_RANGE = "above the tested range: not reached at the largest ε"
    BELOW_RANGE = "below the tested range: passed at the smallest ε already"
    SEPARATED = (
        "the answers change from all no to all yes between two neighbouring levels: the threshold lies between these, "
        "and the width is not estimable"
    )
    NO_LAPSE_ANCHOR = (
        "no level is easy enough to show lapses, so the lapse rate rests on its prior and the slope leans on it"
    )


FATAL = frozenset({
    Outcome.NO_TRIALS, Outcome.ONE_LEVEL, Outcome.ALL_YES, Outcome.ALL_NO, Outcome.NOT_MONOTONE, Outcome.ABOVE_RANGE,
    Outcome.BELOW_RANGE,
})  # fmt: skip


def outcomes_of_counts(levels: Floats, hits: Floats, trials: Floats, *, guess: float | None = None) -> list[Outcome]:
    """Returns what can be told from one set of counts [L] before anything is fitted, gravest first.

    Args:
        levels: x of each row; −∞ for trials without signal.
        hits: answers "yes", or correct ones.
        trials: of each row.
        guess: γ where the task fixes it, so that no catch trials are needed.
    """
    used = trials > 0
    signal = used & np.isfinite(levels)
    if not used.any():
        return [Outcome.NO_TRIALS]
    found = []
    if len(np.unique(levels[signal])) < 2:
        found.append(Outcome.ONE_LEVEL)
    if guess is None and not (used & ~np.isfinite(levels)).any():
        found.append(Outcome.NO_CATCH_TRIALS)
    if hits.sum() in (0, trials.sum()):
        return [*found, Outcome.ALL_YES if hits.sum() else Outcome.ALL_NO]
    if not monotone(levels, hits, trials):
        found.append(Outcome.NOT_MONOTONE)
    elif separation(levels, hits, trials) is not None:
        found.append(Outcome.SEPARATED)
    return found


def outcomes_of_fit(fit: PsychometricFit, index: int = 0) -> list[Outcome]:
    """Returns all outcomes of one data set: those of its counts, and those that the fitted curve adds."""
    levels, hits, trials = fit.axis, fit.hits[index], fit.trials[index]
    found = outcomes_of_counts(levels, hits, trials, guess=fit.model.guess)
    tested = levels[(trials > 0) & np.isfinite(levels)]
    m = float(fit.fit.parameters[index, 0])
    if not FATAL & set(found):
        if m > tested.max():
            found.append(Outcome.ABOVE_RANGE)
        if m < tested.min():
            found.append(Outcome.BELOW_RANGE)
    sigmoid = sigmoid_of(fit.model.family)
    z = (tested.max() - m) * sigmoid.width / float(fit.width[index]) + sigmoid.quantile(fit.model.proportion)
    if fit.model.lapse is None and float(sigmoid.cdf(np.array(z))) < ANCHOR:
        found.append(Outcome.NO_LAPSE_ANCHOR)
    return found


def monotone(levels: Floats, hits: Floats, trials: Floats) -> bool:
    """Whether the best non-decreasing rates fit; tested with as many degrees of freedom as rates (cautious)."""
    rising = isotonic(levels, hits, trials)
    used = trials > 0
    lost = deviance(rising[used][None], hits[used][None], trials[used][None])[0]
    return bool(lost <= chi2.ppf(1 - MONOTONE_ALPHA, max(int(used.sum()) - 1, 1)))


def separation(levels: Floats, hits: Floats, trials: Floats) -> tuple[float, float] | None:
    """Returns the neighbouring levels between which answers change from all no to all yes; ``None`` if they do not."""
    signal = (trials > 0) & np.isfinite(levels)
    order = np.argsort(levels[signal], kind="stable")
    rate, x = (hits[signal] / trials[signal])[order], levels[signal][order]
    if not np.isin(rate, (0.0, 1.0)).all() or not (np.diff(rate) >= 0).all() or rate.min() == rate.max():
        return None
    step = int(np.flatnonzero(np.diff(rate) > 0)[0])
    return float(x[step]), float(x[step + 1])
