"""What a run is attacked with: attack × norm × region × access, each on a ladder of ε."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core import attacks
from core.attacks import Attack
from core.attacks.autoattack import Ensemble
from core.attacks.square import Square
from core.attacks.stadv import StAdv
from core.errors import ConfigError
from core.evaluation_settings import STADV, Access, EvaluationSettings, Place, Threat

EOT = 20  # draws averaged for one step where an attack's name says nothing else


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One attack on one run, on a ladder of ε.

    Attributes:
        asked: the attack's name as asked for, by which runs are paired.
        attack: its canonical name.
        norm: of the budget.
        region: where pictures may change.
        access: what of the run the attack uses; ``"transfer"``: nothing, the pictures are made for others.
        eps: ladder in the units of ``norm``, rising, without 0.
    """

    asked: str
    attack: str
    norm: Threat
    region: Place
    access: Access | Literal["transfer"]
    eps: tuple[float, ...]

    @property
    def key(self) -> str:
        """A name that no other condition of the same source run has."""
        return f"{self.attack} {self.norm} {self.region} {self.access}"


CLEAN = Condition(asked="none", attack="none", norm="linf", region="full", access="full", eps=(0.0,))


def white_box(settings: EvaluationSettings, *, randomised: bool) -> list[Condition]:
    """Returns the attacks on a run itself.

    A randomised run gets each attack with each access: ``"full"`` and ``"bpda"`` averaged over :data:`EOT` draws unless
    the name of the attack says how many; ``"fixed"`` and ``"bare"`` are deterministic and need none.

    Raises:
        ConfigError: an unknown attack, or StAdv, whose ladder is another.
    """
    access: tuple[Access, ...] = settings.access if randomised else ("full",)
    return list(dict.fromkeys(_conditions(settings, access, randomised=randomised)))


def transferred(settings: EvaluationSettings, *, randomised: bool) -> list[Condition]:
    """Returns the attacks on another run whose pictures are scored on this one."""
    found = _conditions(settings, ("full",), randomised=randomised)
    return [
        Condition(asked=c.asked, attack=c.attack, norm=c.norm, region=c.region, access="transfer", eps=c.eps)
        for c in found
    ]


def _conditions(settings: EvaluationSettings, access: tuple[Access, ...], *, randomised: bool) -> Iterator[Condition]:
    for norm, names, ladder in _threats(settings):
        for name in names:
            for region in settings.regions:
                for way in access:
                    used = attack_for(name, way, randomised=randomised)
                    yield Condition(asked=name, attack=used.name, norm=norm, region=region, access=way, eps=ladder)


def _threats(settings: EvaluationSettings) -> Iterator[tuple[Threat, tuple[str, ...], tuple[float, ...]]]:
    ladder = tuple(eps for eps in settings.eps if eps > 0)
    if lost := [name for name in settings.attacks if isinstance(attacks.named(name), StAdv)]:
        raise ConfigError(
            f"attacks: {', '.join(lost)}: moves pixels, and has a ladder of its own; ask for it by --stadv"
        )
    if ladder:
        yield "linf", settings.attacks, ladder
    if settings.l2:
        yield "l2", settings.attacks, settings.l2
    if settings.stadv:
        yield "flow", (STADV,), settings.stadv


def attack_for(name: str, access: Access, *, randomised: bool) -> Attack:
    """Returns the attack of a name as a run needs it; ``aa-standard`` and ``aa-fast`` become ``aa-rand`` on chance."""
    asked = attacks.named(name)
    if not randomised or access in ("fixed", "bare"):
        return asked
    if isinstance(asked, Ensemble):
        return asked if asked.name.startswith("aa-rand") else attacks.named(f"aa-rand-eot{EOT}")
    return asked if "-eot" in name or isinstance(asked, Square) else attacks.named(f"{name}-eot{EOT}")
