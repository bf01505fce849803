"""Adversarial weight perturbation (Wu et al. 2020, arXiv 2004.05884): the loss is taken at the worst nearby weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.errors import ConfigError
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class WeightPerturbation:
    """Settings of AWP.

    Attributes:
        gamma: length of the perturbation of each weight tensor, relative to the tensor's norm.
        from_epoch: first epoch (from 0) with perturbed weights.
    """

    gamma: float = 0.005
    from_epoch: int = 0

    def __post_init__(self) -> None:
        if self.gamma <= 0 or self.from_epoch < 0:
            raise ConfigError(
                f"weight_perturbation: expected gamma above 0 and from_epoch of at least 0, got {self.gamma}, "
                f"{self.from_epoch}"
            )


@contextmanager
def perturbed(model: Classifier, gamma: float) -> Iterator[None]:
    """Moves every weight matrix by ``gamma`` × its norm along its gradient; moves it back at the end.

    The gradient is the one that the last ``backward`` left. Vectors (biases, batch-norm scales) stay where they are.
    """
    moved = list(_moves(model, gamma))
    with torch.no_grad():
        for parameter, move in moved:
            parameter.add_(move)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, move in moved:
                parameter.sub_(move)


def _moves(model: Classifier, gamma: float) -> Iterator[tuple[nn.Parameter, Tensor]]:
    for parameter in model.parameters():
        if parameter.grad is not None and parameter.ndim > 1:
            length = parameter.grad.norm()
            yield parameter, gamma * parameter.detach().norm() * parameter.grad.detach() / (length + 1e-20)
