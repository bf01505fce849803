"""Settings of an evaluation; a card holds them, so that it can be computed again. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.errors import ConfigError

Threat = Literal["linf", "l2", "flow"]  # the norm of the budget
Place = Literal["full", "salient", "background"]  # the region
Access = Literal["full", "fixed", "bpda", "bare"]
Verdicts = Literal["last", "best"]

REGIONS: tuple[Place, ...] = ("full", "salient", "background")
ACCESS: tuple[Access, ...] = ("full", "fixed", "bpda", "bare")
UNITS: dict[str, str] = {"linf": "grey levels", "l2": "[0, 1] units", "flow": "pixels"}
STADV = "stadv-50"


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """All that decides the outcomes of one run's evaluation on one machine.

    Attributes:
        eps: ladder of L∞ budgets in grey levels, rising; 0 is the clean picture and always in it.
        attacks: their names, as asked for.
        regions: where pictures may change.
        l2: ladder of L2 budgets in [0, 1] units; none: no such threat.
        stadv: ladder of moves in pixels, attacked by StAdv; none: no such threat.
        access: how a randomised run is attacked; see docs/evaluation.md. Other runs know ``"full"`` only.
        votes: draws by which a randomised run's verdict is reached.
        sources: other runs whose adversarial pictures are scored too (transfer): paths from the run's own directory.
        salience: run or TOML file whose ``[salience]`` gives the maps of regions, a path from the run's own directory;
            ``None``: the run's own recipe.
        threshold: above it a pixel is salient; ``None``: that of the recipe with the maps, or 0.5.
        precision: in which attacks compute; verdicts are float32 always.
        batch_size: pictures attacked at once.
        seed: of all random numbers.
        weights: of which epoch.
        minimal: find the least whole grey level that fools each picture, too.
    """

    eps: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    attacks: tuple[str, ...] = ("pgd-20",)
    regions: tuple[Place, ...] = ("full",)
    l2: tuple[float, ...] = ()
    stadv: tuple[float, ...] = ()
    access: tuple[Access, ...] = ACCESS
    votes: int = 20
    sources: tuple[str, ...] = ()
    salience: str | None = None
    threshold: float | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_size: int = 256
    seed: int = 1
    weights: Verdicts = "last"
    minimal: bool = False

    def __post_init__(self) -> None:
        self._check_ladders()
        for name in ("attacks", "regions", "access"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ConfigError(
                    f"{name}: expected at least one, none of them twice, got {', '.join(values) or 'none'}"
                )
        for name in ("votes", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.minimal and max(self.eps, default=0) < 1:
            raise ConfigError(f"minimal: expected an ε of at least 1 grey level in the ladder, got {_list(self.eps)}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold: expected 0 to 1, got {self.threshold:g}")

    def _check_ladders(self) -> None:
        if any(not 0 <= eps <= 255 for eps in self.eps):
            raise ConfigError(f"eps: expected grey levels within 0..255, got {_list(self.eps)}")
        for name in ("l2", "stadv"):
            if any(not 0 < eps < float("inf") for eps in getattr(self, name)):
                raise ConfigError(f"{name}: expected values above 0, got {_list(getattr(self, name))}")
        for name in ("eps", "l2", "stadv"):
            ladder = getattr(self, name)
            if tuple(sorted(set(ladder))) != ladder:
                raise ConfigError(f"{name}: expected rising values, none of them twice, got {_list(ladder)}")

    @property
    def suffix(self) -> str:
        """What the names of the card and of the outcomes have more than those of the last weights."""
        return "" if self.weights == "last" else f"-{self.weights}"


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values) or "none"
