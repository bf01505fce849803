"""Model averaging: an exponential moving average of the weights (Izmailov et al. 2018; Rebuffi et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import ConfigError
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """Settings: after a step, average ← decay × average + (1 − decay) × weights; early steps are forgotten faster."""

    decay: float = 0.995

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise ConfigError(f"averaging: decay: expected between 0 and 1, got {self.decay}")


class Average:
    """The running average of a model's weights and statistics; whole numbers are copied."""

    def __init__(self, averaging: Averaging, model: Classifier) -> None:
        """Begins with the weights as they are."""
        self.averaging, self.steps = averaging, 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: Classifier) -> None:
        """Takes in the weights after a step; the memory is never longer than a tenth of the steps so far."""
        self.steps += 1
        decay = min(self.averaging.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                self.tensors[name].lerp_(tensor, 1 - decay)
            else:
                self.tensors[name].copy_(tensor)

    def restore(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Goes on from an average that was saved."""
        self.steps = steps
        for name, tensor in tensors.items():
            self.tensors[name].copy_(tensor)
