"""Leaves out trials and participants rule by rule, in the order of the plan, and counts what each rule took away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.plan import (
    Catch,
    Device,
    FailedChecks,
    FalseAlarms,
    IdenticalAnswers,
    LeftOut,
    LostFocus,
    Phase,
    ReactionTime,
    Rule,
    TooFewTrials,
    Unfinished,
    is_optional,
)
from analysis.trials.checks import says_signal
from analysis.trials.tables import TRIALS_FILE
from core.errors import ExportError

Truth = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """One step of leaving out: what the rule says, and how many rows and participants it took away and left.

    Attributes:
        rule: in words.
        kind: as in ``plan.toml``.
        optional: the rule judges how people answered; the report shows key results without it too.
    """

    rule: str
    kind: str
    optional: bool
    trials_removed: int
    participants_removed: int
    trials_left: int
    participants_left: int


def leave_out(
    trials: pd.DataFrame, participants: pd.DataFrame, rules: Sequence[Rule]
) -> tuple[Truth, tuple[Exclusion, ...]]:
    """Returns which trials are left, [N], and the steps that led there.

    Raises:
        ExportError: no trial is left, or none with a perturbed picture.
    """
    kept = np.ones(len(trials), dtype=bool)
    steps = []
    for rule in rules:
        after = kept & _passes(rule, trials, participants, kept)
        steps.append(_step(rule, trials, kept, after))
        kept = after
    named = ", ".join(step.rule for step in steps)
    if not kept.any():
        raise ExportError(f"{TRIALS_FILE}: no trial is left after leaving out {named}; let participants finish first")
    if not (trials["eps_asked"].to_numpy()[kept] > 0).any():
        raise ExportError(f"{TRIALS_FILE}: no trial with a perturbed picture is left, so there is nothing to report")
    return kept, tuple(steps)


def _step(rule: Rule, trials: pd.DataFrame, before: Truth, after: Truth) -> Exclusion:
    codes = trials["participant_id"].cat.codes.to_numpy()
    people = len(np.unique(codes[after]))
    return Exclusion(
        rule=rule.words,
        kind=rule.kind,
        optional=is_optional(rule),
        trials_removed=int(before.sum() - after.sum()),
        participants_removed=len(np.unique(codes[before])) - people,
        trials_left=int(after.sum()),
        participants_left=people,
    )


def _passes(rule: Rule, trials: pd.DataFrame, participants: pd.DataFrame, kept: Truth) -> Truth:
    match rule:
        case Phase() | Catch() | ReactionTime():
            return _good_trials(rule, trials)
        case Unfinished():
            return _among(trials["session_id"], participants["session_id"][participants["status"] == "finished"])
        case LeftOut():
            return ~_among(trials["session_id"], participants["session_id"][participants["excluded"] != ""])
        case _:
            return ~_bad_people(rule, trials, kept)[trials["participant_id"].cat.codes.to_numpy()]


def _good_trials(rule: Phase | Catch | ReactionTime, trials: pd.DataFrame) -> Truth:
    match rule:
        case Phase():
            return ~_among(trials["phase"], rule.phases)
        case Catch():
            return _among(trials["catch"], ("",))
        case ReactionTime():
            rt = trials["rt_ms"].to_numpy()
            return ~((rt < rule.below_ms) | (rt > rule.above_ms))  # an unknown time is no reason
        case _:
            assert_never(rule)


def _bad_people(
    rule: FailedChecks | IdenticalAnswers | TooFewTrials | LostFocus | FalseAlarms | Device,
    trials: pd.DataFrame,
    kept: Truth,
) -> Truth:
    main = _among(trials["phase"], ("main",))
    match rule:
        case FailedChecks():
            checks = main & ~_among(trials["catch"], ("",))
            failed = _count(trials, checks & (trials["correct"].to_numpy() == 0))
            return failed > rule.max_failed_share * _count(trials, checks)
        case IdenticalAnswers():
            return longest_run(trials, kept) > rule.longest
        case TooFewTrials():
            return _count(trials, kept) < rule.fewest
        case LostFocus():
            return _count(trials, main, np.nan_to_num(trials["blur_count"].to_numpy())) > rule.most
        case FalseAlarms():
            noise = kept & (trials["eps_asked"].to_numpy() == 0)
            yes = _count(trials, noise & says_signal(trials, str(trials["task"].iloc[0])))
            return yes > rule.above * _count(trials, noise)
        case Device():
            return _count(trials, kept & ~_among(trials["input_type"], ("", *rule.allowed))) > 0
        case _:
            assert_never(rule)


def longest_run(trials: pd.DataFrame, kept: Truth) -> NDArray[np.int64]:
    """Returns the longest run of identical answers of each participant, by category, [P]."""
    people = trials["participant_id"].cat.codes.to_numpy()
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((order(trials)[rows], people[rows]))]
    answer, person = trials["response"].cat.codes.to_numpy()[rows], people[rows]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (answer[1:] != answer[:-1]) | (person[1:] != person[:-1])
    starts = np.flatnonzero(new)
    longest = np.zeros(len(trials["participant_id"].cat.categories), dtype=np.int64)
    np.maximum.at(longest, person[starts], np.diff(np.append(starts, len(rows))))
    return longest


def order(trials: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the place of each trial in its session: ``position``, or ``trial_index`` where that is unknown."""
    position = trials["position"].to_numpy()
    return np.where(np.isnan(position), trials["trial_index"].to_numpy(), position)


def _count(trials: pd.DataFrame, rows: Truth, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    codes = trials["participant_id"].cat.codes.to_numpy()
    size = len(trials["participant_id"].cat.categories)
    return np.bincount(codes[rows], None if weights is None else weights[rows], minlength=size).astype(float)


def _among(values: pd.Series, words: Sequence[str] | pd.Series) -> Truth:
    return np.asarray(np.isin(values.cat.categories.to_numpy(), list(words))[values.cat.codes.to_numpy()])
