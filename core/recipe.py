"""A recipe: all that decides the weights of a run. Examples are in ``core/configs/``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from core import config
from core.datasets import Data
from core.datasets.augmentation import Augmentation
from core.devices import Precision
from core.errors import ConfigError
from core.networks import Network
from core.objectives import Objective
from core.objectives.sip_at import SipAt
from core.salience import SalienceSource


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """SGD with Nesterov momentum and a one-cycle learning rate: linear warm-up, then linear decay to zero.

    Attributes:
        epochs: passes over the training pictures.
        batch_size: pictures a step.
        lr: highest learning rate.
        warm_up: share of the steps over which the rate rises.
        momentum: of SGD.
        weight_decay: L2 penalty on all weights.
    """

    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    warm_up: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"epochs, batch_size: expected at least 1, got {self.epochs}, {self.batch_size}")
        if self.lr <= 0 or not 0 <= self.warm_up < 1:
            raise ConfigError(f"lr, warm_up: expected above 0 and 0 to below 1, got {self.lr}, {self.warm_up}")

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of ``step`` (from 0) of ``steps``."""
        rising = max(1, math.ceil(self.warm_up * steps))
        return self.lr * min((step + 1) / rising, (steps - step) / max(1, steps - rising + 1))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a run's weights; equal recipes give equal weights on one machine.

    ``precision`` is that of the forward and backward passes of training and of its attacks; weights, steps and budgets
    are float32 always, and so is every evaluation.
    """

    seed: int = 1
    precision: Precision = "float32"
    data: Data
    network: Network = field(default_factory=Network)
    objective: Objective
    salience: SalienceSource | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    optimiser: Optimiser

    def __post_init__(self) -> None:
        if isinstance(self.objective, SipAt) and self.salience is None:
            raise ConfigError("objective: sip-at needs salience maps; add a [salience] table")
        if self.salience is not None and not isinstance(self.objective, SipAt):
            raise ConfigError(
                f"salience: {self.objective.method} does not use salience maps; remove the [salience] table"
            )


def read(run: Path) -> Recipe:
    """Returns the recipe of a run directory."""
    return config.load(Recipe, run / "config.toml")
