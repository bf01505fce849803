"""PGD-AT (Madry et al. 2018, arXiv 1706.06083): cross-entropy on pictures attacked within a uniform budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.attacks.budget import Budget, uniform
from core.attacks.losses import cross_entropy
from core.attacks.pgd import Pgd, attacked
from core.objectives.batch import Batch, Loss
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class PgdAt:
    """Settings of PGD-AT: its inner attack."""

    method: Literal["pgd-at"] = "pgd-at"
    attack: Pgd = field(default_factory=Pgd)


def pgd_at(model: Classifier, batch: Batch, objective: PgdAt) -> Loss:
    """Returns CE(f(x'), y), x' the pictures attacked by PGD within ``attack.eps`` at every pixel (eq. 2.1)."""
    return pgd_at_within(model, batch, uniform(objective.attack.eps, batch.images), objective.attack)


def pgd_at_within(model: Classifier, batch: Batch, budget: Budget, attack: Pgd) -> Loss:
    """Returns the cross-entropy on pictures attacked by PGD within any ``budget``; its part is ``robust``."""
    adversarial = attacked(model, batch.images, batch.labels, budget, attack, batch.generator)
    logits = model(adversarial)
    robust = cross_entropy(logits, batch.labels)
    return Loss(per_picture=robust, logits=logits, parts={"robust": robust.detach().mean()})
