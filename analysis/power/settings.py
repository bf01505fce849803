"""What a power simulation assumes: ``power.toml`` and the observers that it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from analysis.observers import Observers, read_observers
from core import config
from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FooledLaw:
    """When pictures fool a source model: log2 of the least ε that does is Normal(log2 ``eps50``, ``sd_log2``)."""

    eps50: float
    sd_log2: float

    def __post_init__(self) -> None:
        if self.eps50 <= 0 or self.sd_log2 < 0:
            raise ConfigError("expected eps50 > 0 and sd_log2 >= 0")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A power simulation.

    Attributes:
        observers: file of the observers' law; each source model of ``pairs`` has one.
        participants: numbers of participants to try.
        eps: ladder in grey levels; every participant sees every level of every source model.
        trials_per_level: trials of a participant at each ε of each source model.
        noise_trials: unperturbed pictures that each participant sees (yes-no).
        pairs: source models that are compared; the pairs are one family, corrected after Holm.
        pictures: that are shown; each participant meets them in an order of their own.
        sd_log2_model: of each participant's log2 ε₁, for each source model by itself; the observers' file has what is
            shared by the models.
        sd_log2_picture: of log2 ε₁ over pictures.
        fooled: laws of the machines by source model, for U(ε); none: U is not simulated.
        margin: of equivalence, octaves.
        alpha: of each test.
        simulations: studies for each number of participants; ``bootstrap``: draws in each.
        seed: of everything.
    """

    observers: Path
    participants: tuple[int, ...]
    eps: tuple[float, ...]
    trials_per_level: int
    pairs: tuple[tuple[str, ...], ...]
    task: Literal["yes-no", "2afc"] = "yes-no"
    noise_trials: int = 20
    pictures: int = 60
    sd_log2_model: float = 0.15
    sd_log2_picture: float = 0.0
    fooled: dict[str, Any] = field(default_factory=dict)
    margin: float = 0.5
    alpha: float = 0.05
    simulations: int = 400
    bootstrap: int = 200
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.participants or min(self.participants) < 3:
            raise ConfigError(f"participants: expected numbers of 3 or more, got {list(self.participants)}")
        if len(set(self.eps)) < 2 or min(self.eps) <= 0:
            raise ConfigError(f"eps: expected two or more levels above 0, got {list(self.eps)}")
        if not self.pairs or any(len(set(pair)) != 2 for pair in self.pairs):
            raise ConfigError('pairs: expected pairs of source models such as [["standard", "sip-at"]]')
        if min(self.trials_per_level, self.pictures, self.simulations) < 1 or self.bootstrap < 50:
            raise ConfigError(
                "expected trials_per_level, pictures and simulations of 1 or more, bootstrap of 50 or more"
            )
        if self.noise_trials < (self.task == "yes-no"):
            raise ConfigError(
                "noise_trials: expected 1 or more with task 'yes-no', where they tell criterion from seeing"
            )
        if min(self.sd_log2_model, self.sd_log2_picture) < 0 or not 0 < self.alpha < 0.5 or self.margin <= 0:
            raise ConfigError("expected standard deviations of 0 or more, 0 < alpha < 0.5 and margin > 0")

    @property
    def models(self) -> tuple[str, ...]:
        """The source models that are compared, sorted."""
        return tuple(sorted({name for pair in self.pairs for name in pair}))

    @property
    def fooled_laws(self) -> dict[str, FooledLaw]:
        """The laws of the machines."""
        return {name: config.build(FooledLaw, law, f"fooled.{name}") for name, law in self.fooled.items()}


def read_settings(path: Path, overrides: tuple[str, ...] = ()) -> tuple[Settings, Observers]:
    """Returns the settings and the observers that they name, whose path is seen from the settings' folder.

    Raises:
        ConfigError: a file or a law is absent, or a value is not allowed.
    """
    settings = config.load(Settings, path, overrides)
    observers = read_observers(path.parent / settings.observers)
    for name in settings.models:
        if name not in observers.models:
            known = ", ".join(observers.models) or "none"
            raise ConfigError(f"{path.name}: pairs: expected a law of {name!r} among the observers, they have {known}")
    missing = [name for name in settings.models if settings.fooled and name not in settings.fooled_laws]
    if missing:
        raise ConfigError(f"{path.name}: fooled: expected a law for each model of the pairs, add [fooled.{missing[0]}]")
    return settings, observers
