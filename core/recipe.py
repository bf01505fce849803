"""A recipe: all that decides the weights of a run. Examples are in ``core/configs/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from core import config
from core.averaging import Averaging
from core.datasets import Data
from core.datasets.augmentation import Augmentation
from core.devices import Precision
from core.errors import ConfigError
from core.networks import Network
from core.objectives import Objective
from core.objectives.atop import Atop
from core.objectives.part import PartSettings
from core.objectives.sip_at import SipAt
from core.optimisation import Optimiser
from core.salience import Source
from core.selection import Selection
from core.weight_perturbation import WeightPerturbation


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run's weights; equal recipes give equal weights on one machine.

    Attributes:
        precision: of the forward and backward passes of training and of its attacks; weights, steps and budgets are
            float32 always, and so is every evaluation.
        channels_last: keep pictures and weights in channels-last order in memory.
        compile: let torch.compile fuse the classifier; needs a C++ compiler.
        averaging: keep an exponential average of the weights, and make it the run's result.
        weight_perturbation: take the loss at adversarially perturbed weights (AWP).
        selection: hold training pictures out and keep the weights that do best on them under PGD.
    """

    seed: int = 1
    precision: Precision = "float32"
    channels_last: bool = False
    compile: bool = False
    data: Data
    network: Network = field(default_factory=Network)
    objective: Objective
    salience: Source | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: Optimiser
    averaging: Averaging | None = None
    weight_perturbation: WeightPerturbation | None = None
    selection: Selection | None = None

    def __post_init__(self) -> None:
        self._check_begin("weight_perturbation: from_epoch", getattr(self.weight_perturbation, "from_epoch", 0))
        if isinstance(self.objective, PartSettings):
            self._check_begin("objective: warm_up_epochs", self.objective.warm_up_epochs)
        if isinstance(self.objective, Atop):
            self._check_begin("objective: adversarial_from_epoch", self.objective.adversarial_from_epoch)
        if isinstance(self.objective, SipAt) and self.salience is None:
            raise ConfigError("objective: sip-at needs salience maps; add a [salience] table")
        if self.salience is not None and not isinstance(self.objective, SipAt):
            raise ConfigError(
                f"salience: {self.objective.method} does not use salience maps; remove the [salience] table"
            )

    def _check_begin(self, key: str, epoch: int) -> None:
        """Refuses something that would only begin after the last epoch."""
        if epoch >= self.optimiser.epochs:
            raise ConfigError(f"{key}: expected less than the {self.optimiser.epochs} epochs, got {epoch}")


def read(run: Path) -> Recipe:
    """Returns the recipe of a run directory."""
    return config.load(Recipe, run / "config.toml")
