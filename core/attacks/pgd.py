"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083), one for all objectives and evaluations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from core.attacks.budget import Budget
from core.attacks.front import Front
from core.attacks.losses import PointLoss, cross_entropy
from core.attacks.tries import Tries
from core.errors import ConfigError
from core.networks.mode import BatchNormMode, frozen
from core.tensors import Classifier, Images, Labels

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
    """Returns ``x`` moved within ``budget`` so as to raise ``loss``: random start, then steps of ascent.

    For L∞ a step is the sign of the gradient. The model is in evaluation mode and its weights get no gradients
    meanwhile; both are restored.

    Args:
        model: maps images in [0, 1] to logits.
        x: pictures, [B, C, H, W] in [0, 1].
        y: their classes, [B].
        budget: limits; elements with limit 0 stay bit for bit what they were.
        steps: number of gradient steps.
        step_size: length of a step in [0, 1] units, in the norm of the budget.
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
            adversarial = budget.project(x, adversarial + step_size * budget.unit(gradient))
    return adversarial


@dataclass(frozen=True, kw_only=True)
class RelativePgd(Tries):
    """Settings of PGD as an evaluation: its steps are a share of each element's own limit.

    Attributes:
        steps: gradient steps.
        relative_step: step size × steps / ε.
    """

    steps: int = 20
    relative_step: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("steps")
        if self.relative_step <= 0:
            raise ConfigError(f"pgd: relative_step: expected above 0, got {self.relative_step}")

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return self.named(f"pgd-{self.steps}")


def relative_pgd(front: Front, settings: RelativePgd, generator: torch.Generator) -> Images:
    """Returns a fooling point for each picture of ``front`` where PGD came by one, or else its last iterate."""
    now = front.budget.random_start(front.x, generator)
    for step in range(settings.steps):
        _, gradient = front.gradient(now, "ce")
        if (kept := front.leaving(step)) is not None:
            now, gradient = now[kept], gradient[kept]
            if front.empty:
                break
        step_size = settings.relative_step / settings.steps * front.budget.eps
        now = front.budget.project(front.x, now + step_size * front.budget.unit(gradient))
    return front.found(otherwise=now)


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
