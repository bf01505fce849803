"""FGSM, one step to the far end of the budget (Goodfellow et al. 2015, arXiv 1412.6572)."""

from __future__ import annotations

from dataclasses import dataclass

from core.attacks.front import Front
from core.attacks.tries import Tries
from core.errors import ConfigError
from core.tensors import Images


@dataclass(frozen=True, kw_only=True)
class Fgsm(Tries):
    """Settings of FGSM; it has neither a random start nor targets of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts > 1 or self.targets:
            raise ConfigError(
                f"fgsm: expected one try away from the class, got {self.restarts} restarts, {self.targets} targets; "
                "it has no random start"
            )

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return self.named("fgsm")


def fgsm(front: Front) -> Images:
    """Returns x + E · sign ∇ CE, or the step of length 1 in the norm of the budget."""
    _, gradient = front.gradient(front.x, "ce")
    budget = front.budget
    return budget.project(front.x, front.x + budget.eps * budget.unit(gradient))
