"""What the settings of every attack have in common: how often it is tried, and how random models are averaged."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Tries:
    """Settings that every attack has.

    Attributes:
        restarts: random starts; pictures that still stand go on to the next.
        targets: how many of the largest wrong logits are aimed at in turn; 0: away from the class, wherever to.
        eot: passes over whose randomness loss and gradient are averaged (expectation over transformation, Athalye et
            al. 2018, arXiv 1707.07397); for models that draw random numbers.
    """

    restarts: int = 1
    targets: int = 0
    eot: int = 1

    def __post_init__(self) -> None:
        self.at_least_one("restarts", "eot")
        if self.targets < 0:
            raise ConfigError(f"targets: expected at least 0, got {self.targets}")

    def at_least_one(self, *keys: str) -> None:
        """Refuses settings that are below 1.

        Raises:
            ConfigError: one is.
        """
        if low := [f"{key} = {getattr(self, key)}" for key in keys if getattr(self, key) < 1]:
            raise ConfigError(f"{type(self).__name__.lower()}: expected at least 1, got {', '.join(low)}")

    def named(self, kind: str) -> str:
        """Returns the name of an attack of this kind with what differs from one try."""
        restarts = f"-r{self.restarts}" if self.restarts > 1 else ""
        return f"{kind}{restarts}" + (f"-eot{self.eot}" if self.eot > 1 else "")
