"""What in a session's answers gives cause to look closer. A flag is no verdict: exclusion is a researcher's act.

The rules are fixed here, before any data: response times that no decision takes, one answer many times over, catch
trials missed, the page left, the display changed in mid-session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

FAST_MS = 200.0
LONG_RUN = 10  # the bound of SCOOTER, arXiv 2507.07776
LONG_FRAMES_SHARE = 0.25


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What a flag looks at, of one answered trial."""

    response: str
    correct: bool | None
    catch: str | None
    rt_ms: float
    blur_count: int
    hidden_count: int
    long_frames: int
    device_pixel_ratio: float


@dataclass(frozen=True)
class Flag:
    """A reason to look closer, and its measure in words."""

    name: str
    text: str


def flags(trials: Sequence[Shown]) -> tuple[Flag, ...]:
    """Returns the flags of a session's answered trials, in the order of showing."""
    found = (_fast(trials), _run(trials), _catch(trials), _away(trials), _display(trials), _long_frames(trials))
    return tuple(flag for flag in found if flag is not None)


def longest_run(responses: Sequence[str]) -> int:
    """Returns how often the same answer came in a row, at most."""
    return max((len(list(group)) for _, group in groupby(responses)), default=0)


def _fast(trials: Sequence[Shown]) -> Flag | None:
    fast = sum(trial.rt_ms < FAST_MS for trial in trials)
    return Flag("fast", f"{fast} of {len(trials)} answers under {FAST_MS:g} ms") if fast else None


def _run(trials: Sequence[Shown]) -> Flag | None:
    run = longest_run([trial.response for trial in trials if trial.catch != "instructed"])
    return Flag("one answer", f"the same answer {run} times in a row") if run >= LONG_RUN else None


def _catch(trials: Sequence[Shown]) -> Flag | None:
    catch = [trial for trial in trials if trial.catch is not None]
    missed = sum(trial.correct is False for trial in catch)
    return Flag("catch", f"{missed} of {len(catch)} catch trials missed") if missed else None


def _away(trials: Sequence[Shown]) -> Flag | None:
    away = sum(trial.blur_count + trial.hidden_count > 0 for trial in trials)
    return Flag("away", f"the page lost focus or was hidden in {away} trials") if away else None


def _display(trials: Sequence[Shown]) -> Flag | None:
    ratios = {trial.device_pixel_ratio for trial in trials}
    return Flag("display", f"{len(ratios)} device pixel ratios in one session") if len(ratios) > 1 else None


def _long_frames(trials: Sequence[Shown]) -> Flag | None:
    late = sum(trial.long_frames > 0 for trial in trials)
    text = f"long frames in {late} of {len(trials)} trials"
    return Flag("frames", text) if trials and late / len(trials) > LONG_FRAMES_SHARE else None
