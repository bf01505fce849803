"""What an objective is given and what it returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.attacks.budget import Budget
from core.tensors import Classifier, Images, Labels, Logits, PerPicture, Salience


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Augmented pictures in [0, 1], their classes, maps aligned to them, and the attack's random numbers.

    ``epoch`` and ``step`` count from 0 over the whole training. ``explainer`` is the classifier whose class-activation
    maps PART takes, if that is not the trained one itself; see ``core.objectives.explainer``.
    """

    images: Images
    labels: Labels
    salience: Salience | None
    generator: torch.Generator
    epoch: int = 0
    step: int = 0
    explainer: Classifier | None = None


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The loss of each picture (the loop takes its mean), and the logits of the pictures that were trained on.

    These are the attacked ones where there are any. ``parts`` are means over the batch, without gradients, for the log:
    the terms that the loss is made of, and where pictures have budgets of their own ``budget``, the mean limit.
    """

    per_picture: PerPicture
    logits: Logits
    parts: dict[str, Tensor] = field(default_factory=dict)


def with_budget(loss: Loss, budget: Budget) -> Loss:
    """Returns ``loss`` with the mean limit of ``budget``, in [0, 1] units, as another part for the log."""
    return dataclasses.replace(loss, parts={**loss.parts, "budget": budget.eps.mean()})
