"""The plan of an analysis, fixed before the data were seen: ``plan.toml``, whose SHA-256 stands in the report.

What a plan names is confirmatory, all else is exploratory. Example and keys: docs/contracts.md, "Plan".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from core import config, files
from core.errors import ConfigError

ANALYSES = ("contrast", "equivalence", "threshold", "sensitivity", "undetected", "robust-accuracy", "machine")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Trials of ``phases`` are left out."""

    kind: Literal["phase"] = "phase"
    phases: tuple[Literal["practice", "warm-up"], ...] = ("practice", "warm-up")

    @property
    def words(self) -> str:
        """What is left out."""
        return f"{' and '.join(self.phases)} trials"


@dataclass(frozen=True, kw_only=True)
class Catch:
    """Catch trials, gross and instructed, are left out."""

    kind: Literal["catch"] = "catch"

    @property
    def words(self) -> str:
        """What is left out."""
        return "catch trials"


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """Sessions whose status is not ``finished`` are left out."""

    kind: Literal["unfinished"] = "unfinished"

    @property
    def words(self) -> str:
        """What is left out."""
        return "sessions that were not finished"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Participants to whom a researcher gave a reason code are left out."""

    kind: Literal["left-out"] = "left-out"

    @property
    def words(self) -> str:
        """What is left out."""
        return "participants whom the researcher left out"


@dataclass(frozen=True, kw_only=True)
class FailedChecks:
    """Participants who failed more than ``max_failed_share`` of their catch trials are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["failed-checks"] = "failed-checks"
    max_failed_share: float

    def __post_init__(self) -> None:
        _share("max_failed_share", self.max_failed_share)

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants who failed more than {100 * self.max_failed_share:g} % of their catch trials"


@dataclass(frozen=True, kw_only=True)
class ReactionTime:
    """Trials answered faster than ``below_ms`` or slower than ``above_ms`` are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["reaction-time"] = "reaction-time"
    below_ms: float = 0.0
    above_ms: float = float("inf")

    def __post_init__(self) -> None:
        _limits("below_ms", self.below_ms, "above_ms", self.above_ms)
        if self.below_ms == 0 and self.above_ms == float("inf"):
            raise ConfigError("expected below_ms or above_ms, got neither; a rule without limits leaves nothing out")

    @property
    def words(self) -> str:
        """What is left out."""
        limits = [f"less than {self.below_ms:g} ms"] if self.below_ms > 0 else []
        limits += [f"more than {self.above_ms:g} ms"] if self.above_ms < float("inf") else []
        return f"trials answered in {' or '.join(limits)}"


@dataclass(frozen=True, kw_only=True)
class IdenticalAnswers:
    """Participants who gave more than ``longest`` identical answers one after another are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["identical-answers"] = "identical-answers"
    longest: int

    def __post_init__(self) -> None:
        _positive("longest", self.longest)

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants with more than {self.longest} identical answers in a row"


@dataclass(frozen=True, kw_only=True)
class TooFewTrials:
    """Participants with fewer than ``fewest`` trials left are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["too-few-trials"] = "too-few-trials"
    fewest: int

    def __post_init__(self) -> None:
        _positive("fewest", self.fewest)

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants with fewer than {self.fewest} trials left"


@dataclass(frozen=True, kw_only=True)
class LostFocus:
    """Participants whose page lost the focus more than ``most`` times during main trials are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["lost-focus"] = "lost-focus"
    most: int

    def __post_init__(self) -> None:
        if self.most < 0:
            raise ConfigError(f"expected most >= 0, got {self.most}")

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants whose page lost the focus more than {self.most} times"


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """Participants whose false-alarm rate is above ``above`` are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["false-alarms"] = "false-alarms"
    above: float

    def __post_init__(self) -> None:
        _share("above", self.above)

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants with a false-alarm rate above {100 * self.above:g} %"


@dataclass(frozen=True, kw_only=True)
class Device:
    """Participants who answered a trial with anything but ``allowed`` are left out."""

    optional: ClassVar[bool] = True
    kind: Literal["device"] = "device"
    allowed: tuple[Literal["keyboard", "mouse", "touch", "pen", "robot"], ...]

    def __post_init__(self) -> None:
        if not self.allowed:
            raise ConfigError("expected allowed to name one way of answering or more, got none")

    @property
    def words(self) -> str:
        """What is left out."""
        return f"participants who answered otherwise than with {', '.join(self.allowed)}"


Rule = (
    Phase
    | Catch
    | Unfinished
    | LeftOut
    | FailedChecks
    | ReactionTime
    | IdenticalAnswers
    | TooFewTrials
    | LostFocus
    | FalseAlarms
    | Device
)
USUAL: tuple[Rule, ...] = (Phase(phases=("practice",)), Phase(phases=("warm-up",)), Catch(), Unfinished(), LeftOut())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was decided beforehand.

    Attributes:
        sha256: of ``plan.toml``; ``None``: there was no plan, and everything is exploratory.
        title: for the reader.
        alpha: of every test.
        margin_octaves: two thresholds are equivalent if their ratio lies within ± this many octaves.
        rt_min_ms: shorter reaction times are trimmed in the section on them; ``rt_max_ms``: longer ones.
        exclusion: rules of leaving out, applied in this order.
        confirmatory: names of the planned analyses, as ``"contrast:sip-at/standard"``; the rest is exploratory.
    """

    sha256: str | None = None
    title: str = ""
    alpha: float = 0.05
    margin_octaves: float = 0.5
    rt_min_ms: float = 150.0
    rt_max_ms: float = 10_000.0
    exclusion: tuple[Rule, ...] = USUAL
    confirmatory: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"expected alpha between 0 and 0.5, got {self.alpha:g}")
        if self.margin_octaves <= 0:
            raise ConfigError(f"expected margin_octaves > 0, got {self.margin_octaves:g}")
        _limits("rt_min_ms", self.rt_min_ms, "rt_max_ms", self.rt_max_ms)
        _check_exclusion(self.exclusion)
        for name in self.confirmatory:
            _check_name(name)
        if len(set(self.confirmatory)) < len(self.confirmatory):
            raise ConfigError("expected each confirmatory analysis once, got one twice; delete the second")

    def is_confirmatory(self, name: str) -> bool:
        """Whether the plan names this analysis."""
        return name in self.confirmatory


def read_plan(path: Path | None) -> Plan:
    """Returns the plan in a TOML file with its SHA-256, or that of no plan.

    Raises:
        ConfigError: no such file, an unknown key or rule, or a value out of range.
    """
    if path is None:
        return Plan()
    plan = config.load(Plan, path)
    if plan.sha256 is not None:
        raise ConfigError(f"{path.name}: unknown key 'sha256'; the report computes it from the file, delete the line")
    return dataclasses.replace(plan, sha256=files.sha256_file(path))


def is_optional(rule: Rule) -> bool:
    """Whether a rule judges how people answered, so that the analysis is shown without it too."""
    return getattr(rule, "optional", False)


def _check_exclusion(rules: tuple[Rule, ...]) -> None:
    phases = {phase for rule in rules if isinstance(rule, Phase) for phase in rule.phases}
    if phases != {"practice", "warm-up"} or not any(isinstance(rule, Catch) for rule in rules):
        raise ConfigError(
            "exclusion: expected rules of kind 'phase' for practice and warm-up and one of kind 'catch', since those "
            "trials are no measurements; add them (docs/contracts.md has the usual five)"
        )


def _check_name(name: str) -> None:
    kind, colon, what = name.partition(":")
    if kind not in ANALYSES or not colon or not what:
        raise ConfigError(
            f"confirmatory: expected <analysis>:<what> with one of {', '.join(ANALYSES)}, such as "
            f"'contrast:sip-at/standard', got {name!r}"
        )


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"expected {name} from 0 to below 1, got {value:g}")


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ConfigError(f"expected {name} >= 1, got {value}")


def _limits(low_name: str, low: float, high_name: str, high: float) -> None:
    if not 0 <= low < high:
        raise ConfigError(f"expected 0 <= {low_name} < {high_name}, got {low:g} and {high:g}")
