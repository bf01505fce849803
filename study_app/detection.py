"""The settings of a detection study: what ``protocol.toml`` may say, and what it means.

The frozen dataclasses are the reference for the file; ``parse`` reads it from its bytes, which are kept as they came.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from core import config
from core.errors import ConfigError

Task = Literal["yes-no"]


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Trials with feedback, on pictures of their own: ε = 0 and one strong ε.

    Attributes:
        trials: how many; half of them perturbed (rounded down).
        eps: of the perturbed ones, in grey levels.
    """

    trials: int = 8
    eps: int = 32

    def __post_init__(self) -> None:
        _at_least("practice.trials", self.trials, 0)
        _at_least("practice.eps", self.eps, 1)


@dataclass(frozen=True, kw_only=True)
class Main:
    """Trials without feedback.

    Attributes:
        trials: how many.
        signal_share: share of perturbed pictures; exact for each participant and stated to each.
        block_trials: trials between two breaks.
    """

    trials: int = 40
    signal_share: float = 0.5
    block_trials: int = 20

    def __post_init__(self) -> None:
        _at_least("main.trials", self.trials, 1)
        _at_least("main.block_trials", self.block_trials, 1)
        if not 0 < self.signal_share < 1:
            raise ConfigError(f"main.signal_share: expected a number between 0 and 1, got {self.signal_share}")
        share = self.share
        if self.trials % share.denominator:
            raise ConfigError(
                f"main.trials: expected a multiple of {share.denominator}, so that a share of {share} is exact for "
                f"each participant, got {self.trials}"
            )

    @property
    def share(self) -> Fraction:
        """The signal share as a fraction in lowest terms."""
        return Fraction(self.signal_share).limit_denominator(100)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Durations in milliseconds; the picture itself stays until the answer."""

    fixation_ms: int = 500
    feedback_ms: int = 1200

    def __post_init__(self) -> None:
        _at_least("timing.fixation_ms", self.fixation_ms, 100)
        _at_least("timing.feedback_ms", self.feedback_ms, 0)


@dataclass(frozen=True, kw_only=True)
class Display:
    """The picture's side: the largest whole number of device pixels per picture pixel that fits ``target_css_px``."""

    target_css_px: int = 336

    def __post_init__(self) -> None:
        _at_least("display.target_css_px", self.target_css_px, 32)


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol:
    """``protocol.toml`` of a detection study.

    Attributes:
        name: under which it is registered.
        title: shown to the participant.
        seed: of every random choice in the plan.
        minutes: that it takes, as told to the participant.
        contact: whom to ask, as told to the participant.
        runs: source models to use; empty = all of the stimulus set.
        eps: levels above 0 to use, grey levels; empty = all of the stimulus set.
        region: of the perturbation.
        attack: by which the pictures were made; may be left empty where the stimulus set has one attack.
        abandoned_after_hours: an unfinished session that was silent for so long counts as abandoned.
    """

    name: str
    title: str = "Can you see the change?"
    task: Task = "yes-no"
    seed: int = 1
    minutes: int = 5
    contact: str = "the person who gave you this link"
    runs: tuple[str, ...] = ()
    eps: tuple[int, ...] = ()
    region: str = "full"
    attack: str = ""
    abandoned_after_hours: int = 24
    practice: Practice = field(default_factory=Practice)
    main: Main = field(default_factory=Main)
    timing: Timing = field(default_factory=Timing)
    display: Display = field(default_factory=Display)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("name: expected a name for the protocol, got an empty one")
        if any(eps < 1 for eps in self.eps):
            raise ConfigError(f"eps: expected levels of at least 1 (0 is always shown), got {list(self.eps)}")
        _at_least("minutes", self.minutes, 1)
        _at_least("abandoned_after_hours", self.abandoned_after_hours, 1)


def parse(source: bytes | str, where: str) -> DetectionProtocol:
    """Returns the protocol in a file's contents.

    Raises:
        ConfigError: not TOML, an unknown key, a wrong type, or a value that we refuse; the message names ``where``.
    """
    try:
        text = source.decode() if isinstance(source, bytes) else source
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from None
    return config.build(DetectionProtocol, table, where)


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{key}: expected at least {least}, got {value}")
