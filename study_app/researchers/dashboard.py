"""The numbers of the dashboard, as functions of counts: rates with Wilson intervals, d′ with its interval, stages.

A *tally* counts answers of one cell. ``yes`` is the answer that says a picture was perturbed: *yes*, *different*, or in
2afc the side on which the perturbed picture stands. Formulas: Green & Swets 1966; log-linear correction: Hautus 1995;
variance of z: Gourevitch & Galanter 1967; intervals of shares: Wilson 1927. All intervals are of 95 %, and treat the
answers as independent: for a look while the study runs. The report's intervals know of participants and pictures.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from study_app.detection import Task

NORMAL = NormalDist()
Z95 = NORMAL.inv_cdf(0.975)
STATUSES = ("finished", "started", "abandoned", "screened-out", "timed-out", "withdrawn")


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """Answers of one cell; ``run`` and a positive ``eps`` (grey levels) where there was a perturbation."""

    run: str | None
    eps: int
    yes: int
    trials: int


@dataclass(frozen=True)
class Level:
    """A source model at an ε: its tally, hit rate, and d′ (``None`` without noise trials)."""

    run: str
    eps: int
    yes: int
    trials: int
    rate: Interval
    d_prime: Interval | None


@dataclass(frozen=True)
class Rates:
    """What the answers say so far.

    Attributes:
        noise: answers without a perturbation; empty in 2afc.
        false_alarms: their share of *yes*, ``None`` where there are none.
        criterion: c over all signal trials together, ``None`` without signal or noise trials.
        levels: by source model and ε.
    """

    noise: Tally
    false_alarms: Interval | None
    criterion: float | None
    levels: tuple[Level, ...]


def wilson(successes: int, trials: int) -> Interval | None:
    """Returns a share with its Wilson interval, ``None`` without trials."""
    if trials == 0:
        return None
    share, square = successes / trials, Z95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def log_linear_rate(yes: int, trials: int) -> float:
    """Returns (yes + 0.5) / (trials + 1), which is never 0 or 1."""
    return (yes + 0.5) / (trials + 1)


def z_with_variance(yes: int, trials: int) -> tuple[float, float]:
    """Returns z of the log-linear rate and its variance, p (1 − p) / (n φ(z)²)."""
    rate = log_linear_rate(yes, trials)
    z = NORMAL.inv_cdf(rate)
    return z, rate * (1 - rate) / (max(trials, 1) * NORMAL.pdf(z) ** 2)


def d_prime(signal: Tally, noise: Tally) -> Interval | None:
    """Returns d′ = z(H) − z(F), ``None`` without signal or noise trials."""
    if not signal.trials or not noise.trials:
        return None
    (z_hit, hit_variance), (z_false, false_variance) = (
        z_with_variance(each.yes, each.trials) for each in (signal, noise)
    )
    return _normal_interval(z_hit - z_false, hit_variance + false_variance)


def d_prime_2afc(signal: Tally) -> Interval | None:
    """Returns d′ = √2 z(proportion correct), ``None`` without trials."""
    if not signal.trials:
        return None
    z, variance = z_with_variance(signal.yes, signal.trials)
    return _normal_interval(math.sqrt(2) * z, 2 * variance)


def _normal_interval(estimate: float, variance: float) -> Interval:
    half = Z95 * math.sqrt(variance)
    return Interval(estimate, estimate - half, estimate + half)


def criterion(signal: Tally, noise: Tally) -> float | None:
    """Returns c = −(z(H) + z(F)) / 2, ``None`` without signal or noise trials."""
    if not signal.trials or not noise.trials:
        return None
    return -sum(z_with_variance(each.yes, each.trials)[0] for each in (signal, noise)) / 2


def rates(task: Task, tallies: Iterable[Tally]) -> Rates:
    """Returns the rates of a study's tallies, which may hold a cell several times."""
    counts: dict[tuple[str | None, int], list[int]] = defaultdict(lambda: [0, 0])
    for each in tallies:
        cell = counts[each.run, each.eps]
        cell[0] += each.yes
        cell[1] += each.trials
    noise = _total(counts, perturbed=False) if task != "2afc" else Tally(None, 0, 0, 0)
    levels = [_level(task, Tally(run, eps, yes, trials), noise) for (run, eps), (yes, trials) in counts.items() if run]
    return Rates(
        noise=noise,
        false_alarms=wilson(noise.yes, noise.trials),
        criterion=criterion(_total(counts, perturbed=True), noise),
        levels=tuple(sorted((level for level in levels if level), key=lambda level: (level.run, level.eps))),
    )


def _total(counts: dict[tuple[str | None, int], list[int]], *, perturbed: bool) -> Tally:
    chosen = [count for (run, _), count in counts.items() if (run is not None) == perturbed]
    return Tally(None, 0, sum(yes for yes, _ in chosen), sum(trials for _, trials in chosen))


def _level(task: Task, signal: Tally, noise: Tally) -> Level | None:
    rate = wilson(signal.yes, signal.trials)
    if rate is None or signal.run is None:
        return None
    d = d_prime_2afc(signal) if task == "2afc" else d_prime(signal, noise)
    return Level(signal.run, signal.eps, signal.yes, signal.trials, rate, d)


@dataclass(frozen=True)
class SessionTally:
    """Sessions that stand alike.

    Attributes:
        finished: with all trials answered.
        end_reason: why they ended otherwise, or ``None``.
        silent: without a sign of life for longer than the protocol allows.
        block: of their last answer; ``None`` before the first.
        steps: how many steps before the task they have passed.
        sessions: how many there are.
    """

    finished: bool
    end_reason: str | None
    silent: bool
    block: int | None
    steps: int
    sessions: int

    @property
    def status(self) -> str:
        """One of ``STATUSES``."""
        return status(finished=self.finished, end_reason=self.end_reason, silent=self.silent)


def status(*, finished: bool, end_reason: str | None, silent: bool) -> str:
    """Returns how far a session came, in the words of the export."""
    if end_reason is not None:
        return end_reason
    return "finished" if finished else "abandoned" if silent else "started"


@dataclass(frozen=True)
class Stage:
    """A part of the way through a study: how many left it for good there, and how many are there now."""

    name: str
    left: int
    now: int


def statuses(tallies: Iterable[SessionTally]) -> Counter[str]:
    """Returns how many sessions have each status."""
    counts: Counter[str] = Counter()
    for each in tallies:
        counts[each.status] += each.sessions
    return counts


def stages(tallies: Iterable[SessionTally], steps: Sequence[str], blocks: int, *, practice: bool) -> tuple[Stage, ...]:
    """Returns where sessions that have not finished are or ended, by the place of their last answer.

    Args:
        tallies: of all sessions.
        steps: names of the steps before the task.
        blocks: blocks of main trials.
        practice: whether block 0 is practice.
    """
    names = [*steps, "instructions", *(["practice"] if practice else []), *(f"block {n + 1}" for n in range(blocks))]
    left, now = Counter[str](), Counter[str]()
    for each in tallies:
        if each.status != "finished":
            name = names[min(_place(each, len(steps)), len(names) - 1)]
            (now if each.status == "started" else left)[name] += each.sessions
    return tuple(Stage(name, left[name], now[name]) for name in names)


def _place(tally: SessionTally, steps: int) -> int:
    if tally.block is None:
        return min(tally.steps, steps)
    return steps + 1 + tally.block


@dataclass(frozen=True)
class Quota:
    """A cell's answers against its aim: ``pending`` are planned in sessions that go on; ``aim`` 0: none."""

    run: str
    eps: int
    answered: int
    pending: int
    aim: int

    @property
    def share(self) -> float:
        """Answered share of the aim, at most 1; 0 without an aim."""
        return min(1.0, self.answered / self.aim) if self.aim else 0.0


def aim_per_cell(places: int, signals_per_participant: int, cells: int) -> int:
    """Returns the answers that each cell gets when all places have finished; 0 where there is no end of places."""
    return round(places * signals_per_participant / cells) if cells else 0


def filled(counts: dict[int, int], first: int, last: int) -> list[int]:
    """Returns the counts from ``first`` to ``last`` with zeros where there were none."""
    return [counts.get(index, 0) for index in range(first, last + 1)]


def capped(counts: dict[int, int], last: int) -> list[int]:
    """Returns the counts from 0 to ``last``, whose entry holds all that lie beyond it."""
    inside = filled(counts, 0, last)
    inside[last] += sum(count for index, count in counts.items() if index > last)
    return inside
