"""The settings of a detection study: what ``protocol.toml`` may say, and what it means.

The frozen dataclasses are the reference for the file; ``parse`` reads it from its bytes, which are kept as they came.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from core import config
from core.errors import ConfigError

Task = Literal["yes-no", "2afc", "same-different"]
Platform = Literal["open", "link", "prolific", "mturk", "sona"]
ANSWERS: dict[Task, tuple[str, str]] = {
    "yes-no": ("yes", "no"),
    "2afc": ("left", "right"),
    "same-different": ("different", "same"),
}  # the first one of each pair says that there is a perturbation, or, in 2afc, that it is on the left


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
        trials: how many, catch trials aside.
        signal_share: share of trials with a perturbed picture; exact for each participant and in each block that is as
            long as ``block_trials``, and stated to each. Only 2afc may have 1.
        block_trials: trials between two breaks, catch trials aside.
    """

    trials: int = 40
    signal_share: float = 0.5
    block_trials: int = 20

    def __post_init__(self) -> None:
        _at_least("main.trials", self.trials, 1)
        _at_least("main.block_trials", self.block_trials, 1)
        if not 0 < self.signal_share <= 1:
            raise ConfigError(f"main.signal_share: expected a number above 0 and at most 1, got {self.signal_share}")
        for key, value in (("main.trials", self.trials), ("main.block_trials", self.block_trials)):
            if value % self.share.denominator:
                raise ConfigError(
                    f"{key}: expected a multiple of {self.share.denominator}, so that a share of {self.share} is exact "
                    f"in each block for each participant, got {value}"
                )

    @property
    def share(self) -> Fraction:
        """The signal share as a fraction in lowest terms."""
        return Fraction(self.signal_share).limit_denominator(100)


@dataclass(frozen=True, kw_only=True)
class Catch:
    """Trials that show who attends, among the main ones but never among the first ``after``.

    Attributes:
        gross: how many with a perturbation that nobody misses.
        instructed: how many that say which answer to give.
        eps: of the gross ones, grey levels; one of the stimulus set's.
        after: main trials before the first.
    """

    gross: int = 0
    instructed: int = 0
    eps: int = 32
    after: int = 3

    def __post_init__(self) -> None:
        for name in ("gross", "instructed", "after"):
            _at_least(f"catch.{name}", getattr(self, name), 0)
        _at_least("catch.eps", self.eps, 1)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is asked after a trial: with ``confidence`` > 0, how sure one is, from 1 to that number."""

    confidence: int = 0

    def __post_init__(self) -> None:
        if self.confidence != 0 and not 2 <= self.confidence <= 9:
            raise ConfigError(
                f"answer.confidence: expected 0 (not asked) or a number from 2 to 9, got {self.confidence}"
            )


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Durations in milliseconds.

    Attributes:
        fixation_ms: of the fixation mark before the picture.
        exposure_ms: of the picture; 0: until the answer. Shown for the nearest whole number of frames.
        mask_ms: of a noise mask after it; 0: none. Only with an ``exposure_ms``.
        feedback_ms: of the feedback in practice.
    """

    fixation_ms: int = 500
    exposure_ms: int = 0
    mask_ms: int = 0
    feedback_ms: int = 1200

    def __post_init__(self) -> None:
        _at_least("timing.fixation_ms", self.fixation_ms, 100)
        for name in ("exposure_ms", "mask_ms", "feedback_ms"):
            _at_least(f"timing.{name}", getattr(self, name), 0)
        if self.mask_ms and not self.exposure_ms:
            raise ConfigError("timing.mask_ms: expected an exposure_ms too: a picture that stays needs no mask")


@dataclass(frozen=True, kw_only=True)
class Display:
    """The picture's side: the largest whole number of device pixels per picture pixel that fits ``target_css_px``."""

    target_css_px: int = 336

    def __post_init__(self) -> None:
        _at_least("display.target_css_px", self.target_css_px, 32)


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Whether each main trial's ε is chosen from the answers before it, in place of constant stimuli.

    Attributes:
        method: ``"none"``, or ``"quest-plus"``: the ε of least expected entropy of the posterior over threshold and
            slope (Watson 2017), for each source model by itself.
        guess: chance of the signal's answer without a signal, as assumed for the placement alone.
        lapse: share of lapses, as assumed for the placement alone.
    """

    method: Literal["none", "quest-plus"] = "none"
    guess: float = 0.2
    lapse: float = 0.02

    def __post_init__(self) -> None:
        for name in ("guess", "lapse"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"adaptive.{name}: expected at least 0 and below 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Recruitment:
    """Where participants come from, how many places there are, and what they take home.

    Attributes:
        platform: ``open``: anybody with the address; ``link``: one-time links; else the platform's ids are expected.
        places: participants to finish; 0: without limit. A place that is given back goes to the next one.
        complete_code: the platform's code for who finished; empty: a code of each participant's own.
        screened_out_code: for who did not fit.
        timed_out_code: for who took too long.
        return_url: where the last page leads, such as ``https://app.prolific.com/submissions/complete?cc={code}``; may
            hold ``{code}`` and, for SONA, ``{id}``. Empty: it only shows the code.
    """

    platform: Platform = "open"
    places: int = 0
    complete_code: str = ""
    screened_out_code: str = ""
    timed_out_code: str = ""
    return_url: str = ""

    def __post_init__(self) -> None:
        _at_least("recruitment.places", self.places, 0)
        if self.return_url and not self.return_url.startswith("https://"):
            raise ConfigError(f"recruitment.return_url: expected an address with https://, got {self.return_url!r}")


@dataclass(frozen=True, kw_only=True)
class Eligibility:
    """Who may take part, asked after consent.

    Attributes:
        minimum_age: in years, confirmed with the consent; 0: not asked.
        normal_vision: whether to ask for normal or corrected vision.
        minimum_css_px: least width and height of the browser's window, CSS pixels; 0: any.
        input: ``"any"``, or the one input that is accepted.
        colour_vision: whether plates of dots are shown that need normal colour vision to read.
        calibration: whether the screen's size is measured with a bank card, to state visual angles.
    """

    minimum_age: int = 18
    normal_vision: bool = False
    minimum_css_px: int = 0
    input: Literal["any", "keyboard", "touch"] = "any"
    colour_vision: bool = False
    calibration: bool = False

    def __post_init__(self) -> None:
        _at_least("eligibility.minimum_age", self.minimum_age, 0)
        _at_least("eligibility.minimum_css_px", self.minimum_css_px, 0)


@dataclass(frozen=True, kw_only=True)
class Pause:
    """What a gap in a session means.

    Attributes:
        warm_up_after_minutes: a longer gap is followed by instructions and warm-up trials.
        warm_up_trials: how many of these; they are not analysed.
        limit_hours: after this time since consent a session is closed with the code for it.
    """

    warm_up_after_minutes: int = 15
    warm_up_trials: int = 2
    limit_hours: int = 72

    def __post_init__(self) -> None:
        _at_least("pause.warm_up_after_minutes", self.warm_up_after_minutes, 1)
        _at_least("pause.warm_up_trials", self.warm_up_trials, 0)
        _at_least("pause.limit_hours", self.limit_hours, 1)


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol:
    """``protocol.toml`` of a detection study.

    Attributes:
        name: under which it is registered.
        title: shown to the participant.
        task: yes-no: was this picture changed; 2afc: which of the two was; same-different: are the two the same.
        seed: of every random choice in the plan.
        minutes: that it takes, as told to the participant.
        contact: whom to ask, as told to the participant.
        languages: offered to participants, the first one by default.
        runs: source models to use; empty = all of the stimulus set.
        eps: levels above 0 to use, grey levels; empty = all of the stimulus set.
        region: of the perturbation.
        attack: by which the pictures were made; may be left empty where the stimulus set has one attack.
        abandoned_after_hours: an unfinished session that was silent for so long counts as abandoned; its place is
            given to the next participant.
        keep_ids_days: platform ids are deleted so many days after the session's end.
    """

    name: str
    title: str = "Can you see the change?"
    task: Task = "yes-no"
    seed: int = 1
    minutes: int = 5
    contact: str = "the person who gave you this link"
    languages: tuple[Literal["en", "de"], ...] = ("en", "de")
    runs: tuple[str, ...] = ()
    eps: tuple[int, ...] = ()
    region: str = "full"
    attack: str = ""
    abandoned_after_hours: int = 24
    keep_ids_days: int = 30
    practice: Practice = field(default_factory=Practice)
    main: Main = field(default_factory=Main)
    catch: Catch = field(default_factory=Catch)
    answer: Answer = field(default_factory=Answer)
    timing: Timing = field(default_factory=Timing)
    display: Display = field(default_factory=Display)
    adaptive: Adaptive = field(default_factory=Adaptive)
    recruitment: Recruitment = field(default_factory=Recruitment)
    eligibility: Eligibility = field(default_factory=Eligibility)
    pause: Pause = field(default_factory=Pause)

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("name: expected a name for the protocol, got an empty one")
        if any(eps < 1 for eps in self.eps):
            raise ConfigError(f"eps: expected levels of at least 1 (0 is always shown), got {list(self.eps)}")
        if not self.languages:
            raise ConfigError("languages: expected at least one, got none")
        if self.main.share == 1 and self.task != "2afc":
            raise ConfigError(
                f"main.signal_share: expected below 1 in a {self.task} task, got 1: it needs noise trials"
            )
        _at_least("minutes", self.minutes, 1)
        _at_least("abandoned_after_hours", self.abandoned_after_hours, 1)
        _at_least("keep_ids_days", self.keep_ids_days, 0)


@lru_cache(maxsize=64)
def parse(source: bytes | str, where: str) -> DetectionProtocol:
    """Returns the protocol in a file's contents; the same contents are parsed once.

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
