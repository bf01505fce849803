"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083), one for all objectives and evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from core.attacks.budget import Budget
from core.errors import ConfigError
from core.networks.mode import BatchNormMode, frozen
from core.tensors import Classifier, Images, Labels, Logits, PerPicture

PointLoss = Callable[[Logits, Labels], PerPicture]
Start = Literal["uniform", "normal"]


@dataclass(frozen=True, kw_only=True)
class Pgd:
    """Settings of an L∞ PGD: ``eps`` and ``step_size`` in [0, 1] units, ``steps`` gradient steps.

    ``batch_norm`` is the mode of batch norms during the attack on a model in training: ``"eval"``, or ``"train"``: they
    normalise by the attacked batch, and their running statistics stay what they were.
    """

    eps: float = 8 / 255
    steps: int = 10
    step_size: float = 2 / 255
    batch_norm: BatchNormMode = "eval"

    def __post_init__(self) -> None:
        if not 0 <= self.eps <= 1:
            raise ConfigError(f"eps: expected 0 to 1 (8 grey levels are '8/255'), got {self.eps}")
        if self.steps < 1 or self.step_size <= 0:
            raise ConfigError(f"steps, step_size: expected at least 1 and above 0, got {self.steps}, {self.step_size}")


def cross_entropy(logits: Logits, y: Labels) -> PerPicture:
    """Returns the cross-entropy of each picture, in nats."""
    return functional.cross_entropy(logits.float(), y, reduction="none")


def pgd(
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    *,
    steps: int,
    step_size: float,
    generator: torch.Generator,
    loss: PointLoss = cross_entropy,
    start: Start = "uniform",
    batch_norm: BatchNormMode = "eval",
) -> Images:
    """Returns ``x`` moved within ``budget`` so as to raise ``loss``: random start, then signed gradient steps.

    The model is in evaluation mode and its weights get no gradients meanwhile; both are restored.

    Args:
        model: maps images in [0, 1] to logits.
        x: pictures, [B, C, H, W] in [0, 1].
        y: their classes, [B].
        budget: limits; elements with limit 0 stay bit for bit what they were.
        steps: number of gradient steps.
        step_size: length of a step in [0, 1] units.
        generator: source of the random start, on the device of ``x``.
        loss: per-picture loss to raise.
        start: ``"uniform"`` within the budget, or ``"normal"``: 0.001 · N(0, 1) cut to it, as in TRADES and MART.
        batch_norm: mode of the model's batch norms meanwhile, see ``Pgd``.
    """
    draw = budget.random_start if start == "uniform" else budget.normal_start
    adversarial = draw(x, generator)
    with frozen(model, batch_norm):
        for _ in range(steps):
            gradient = input_gradient(model, adversarial, y, loss)
            adversarial = budget.project(x, adversarial + step_size * gradient.sign())
    return adversarial


def attacked(
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    settings: Pgd,
    generator: torch.Generator,
    *,
    loss: PointLoss = cross_entropy,
    start: Start = "uniform",
) -> Images:
    """Returns ``x`` attacked as by :func:`pgd`, with steps and mode of ``settings``; its ``eps`` is not used."""
    return pgd(
        model,
        x,
        y,
        budget,
        steps=settings.steps,
        step_size=settings.step_size,
        generator=generator,
        loss=loss,
        start=start,
        batch_norm=settings.batch_norm,
    )


def input_gradient(model: Classifier, x: Images, y: Labels, loss: PointLoss) -> Images:
    """Returns the gradient of the summed ``loss`` with respect to ``x``."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(model(point), y).sum(), point)
    return gradient
