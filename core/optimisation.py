"""The optimiser and its learning rate over the steps of a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, assert_never

import torch

from core.errors import ConfigError
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """SGD with Nesterov momentum, or Adam; one learning rate for all weights.

    Attributes:
        epochs: passes over the training pictures.
        batch_size: pictures a step, over all processes.
        name: ``"sgd"`` or ``"adam"``.
        lr: highest learning rate.
        schedule: ``"one-cycle"``: linear rise, then linear fall to zero; ``"steps"``: constant after the rise, divided
            at each of ``drops``.
        warm_up: share of all steps over which the rate rises.
        drops: epochs (from 0) at whose beginning the rate is divided; of ``"steps"`` only.
        drop_factor: what it is divided by.
        momentum: of SGD; the first moment's decay of Adam.
        weight_decay: L2 penalty on all weights.
    """

    epochs: int
    batch_size: int = 128
    name: Literal["sgd", "adam"] = "sgd"
    lr: float = 0.1
    schedule: Literal["one-cycle", "steps"] = "one-cycle"
    warm_up: float = 0.2
    drops: tuple[int, ...] = ()
    drop_factor: float = 10.0
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"epochs, batch_size: expected at least 1, got {self.epochs}, {self.batch_size}")
        if self.lr <= 0 or not 0 <= self.warm_up < 1:
            raise ConfigError(f"lr, warm_up: expected above 0 and 0 to below 1, got {self.lr}, {self.warm_up}")
        if self.schedule == "one-cycle" and self.drops:
            raise ConfigError("drops: only schedule = 'steps' has drops; remove them or change the schedule")
        if any(not 0 < drop < self.epochs for drop in self.drops) or list(self.drops) != sorted(set(self.drops)):
            raise ConfigError(
                f"drops: expected rising epochs within 1..{self.epochs - 1} (there are {self.epochs}), "
                f"got {list(self.drops)}"
            )

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of ``step`` (from 0) of ``steps`` in all."""
        rising = max(1, math.ceil(self.warm_up * steps))
        rise = min(1.0, (step + 1) / rising)
        match self.schedule:
            case "one-cycle":
                return self.lr * min(rise, (steps - step) / max(1, steps - rising + 1))
            case "steps":
                passed = sum(step * self.epochs >= drop * steps for drop in self.drops)
                return float(self.lr * rise / self.drop_factor**passed)
            case unknown:
                assert_never(unknown)


def make(optimiser: Optimiser, model: Classifier) -> torch.optim.Optimizer:
    """Returns the optimiser over the weights of ``model`` that are trained."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    match optimiser.name:
        case "sgd":
            return torch.optim.SGD(
                weights,
                lr=optimiser.lr,
                momentum=optimiser.momentum,
                weight_decay=optimiser.weight_decay,
                nesterov=optimiser.momentum > 0,
            )
        case "adam":
            return torch.optim.Adam(
                weights, lr=optimiser.lr, betas=(optimiser.momentum, 0.999), weight_decay=optimiser.weight_decay
            )
        case unknown:
            assert_never(unknown)
