"""What stimuli to make: the settings of a stimulus set, as its TOML file may state them."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from core import attacks
from core.attacks.autoattack import Ensemble
from core.attacks.stadv import StAdv
from core.errors import ConfigError
from core.manifest import Requirement
from core.regions import Region
from core.salience import Source


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One kind of stimulus: every source has one picture of each; ``eps`` is its level, or the highest it may have."""

    run: str
    attack: str
    region: Region
    eps: int


@dataclass(frozen=True, kw_only=True)
class Request:
    """What stimuli to make.

    Attributes:
        name: of the set.
        runs: run directories of the source models; ``--runs`` on the command line takes their place.
        seed: decides which source pictures are taken and the attacks' random numbers.
        sources_per_class: test pictures of each class; the same for all models, attacks, regions and ε.
        attacks: names such as ``"pgd-40"`` or ``"apgd-ce-100"``, see docs/attacks.md; of norm L∞.
        regions: where pictures may change; other than ``"full"`` needs ``salience``.
        eps: budgets in whole grey levels, rising; 0 (the references) is always made.
        require: ``"none"``, or ``"fooled"``: keep sources that every model gets right before, and wrong in every cell;
            or ``"minimal"``: likewise, each picture at the least whole grey level that fools, up to the one in ``eps``.
        salience: the maps of the regions.
        threshold: a pixel is salient if its map lies above it.
        batch_size: sources that are attacked at once, and that one process does in one go.
        sheet_sources: at most so many sources are shown on the contact sheet.
    """

    name: str
    runs: tuple[Path, ...] = ()
    seed: int = 1
    sources_per_class: int = 4
    attacks: tuple[str, ...] = ("pgd-40",)
    regions: tuple[Region, ...] = ("full",)
    eps: tuple[float, ...] = (1, 2, 4, 8, 16, 32)
    require: Requirement = "none"
    salience: Source | None = None
    threshold: float = 0.5
    batch_size: int = 32
    sheet_sources: int = 12

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]*\w", self.name):
            raise ConfigError(
                f"name: expected letters, digits, '-', '_' and '.', since files bear it, got {self.name!r}"
            )
        self._check_eps()
        _check_once("attacks", [canonical(attack) for attack in self.attacks])
        _check_once("regions", self.regions)
        if self.regions != ("full",) and self.salience is None:
            raise ConfigError(f"regions: {list(self.regions)} need salience maps; add a [salience] table")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"threshold: expected 0 up to, not including, 1, got {self.threshold}")
        for key in ("sources_per_class", "batch_size", "sheet_sources"):
            if (value := getattr(self, key)) < 1:
                raise ConfigError(f"{key}: expected at least 1, got {value}")

    def _check_eps(self) -> None:
        odd = [eps for eps in self.eps if eps != int(eps)]
        if odd:
            raise ConfigError(
                f"eps: expected whole grey levels, since stimuli are 8-bit pictures, got {odd[0]:g}; "
                "write the ε of 8/255 as 8"
            )
        if not self.eps or list(self.eps) != sorted(set(self.eps)) or not 1 <= self.eps[0] <= self.eps[-1] <= 255:
            raise ConfigError(f"eps: expected rising whole grey levels within 1..255, got {[*map(int, self.eps)]}")
        if self.require == "minimal" and len(self.eps) > 1:
            raise ConfigError(
                "eps: expected one value with require = 'minimal', the highest level to try, got "
                f"{[*map(int, self.eps)]}; write eps = [{self.eps[-1]:g}]"
            )

    @property
    def levels(self) -> tuple[int, ...]:
        """The budgets in grey levels, without 0."""
        return tuple(int(eps) for eps in self.eps)

    @property
    def attack_names(self) -> tuple[str, ...]:
        """The attacks' names in all files."""
        return tuple(canonical(attack) for attack in self.attacks)

    @property
    def run_names(self) -> tuple[str, ...]:
        """The source models' names in all files."""
        return tuple(run.name for run in self.runs)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every kind of stimulus, in the order of the manifest."""
        kinds = itertools.product(self.run_names, self.attack_names, self.regions, self.levels)
        return tuple(Cell(run=run, attack=attack, region=region, eps=eps) for run, attack, region, eps in kinds)

    def of_runs(self, runs: tuple[Path, ...]) -> Request:
        """Returns the request with ``runs`` in the place of its own, if there are any.

        Raises:
            ConfigError: there are none at all, or two of one name.
        """
        chosen = dataclasses.replace(self, runs=runs or self.runs)
        if not chosen.runs:
            raise ConfigError("runs: expected run directories of source models, got none; add runs = [...] or --runs")
        _check_once("runs", chosen.run_names)
        return chosen


def canonical(name: str) -> str:
    """Returns the name that an attack has in all files.

    Raises:
        ConfigError: no such attack, or one that knows no budget in grey levels.
    """
    attack = attacks.named(name)
    if any(isinstance(part, StAdv) for part in (attack.parts if isinstance(attack, Ensemble) else (attack,))):
        raise ConfigError(
            f"attacks: {name} moves pixels, so that it has no ε in grey levels; choose attacks of norm L∞"
        )
    return attack.name


def _check_once(key: str, values: tuple[str, ...] | list[str]) -> None:
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"{key}: expected at least one, each once, got {list(values)}")
