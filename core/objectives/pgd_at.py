"""PGD-AT (Madry et al. 2018, arXiv 1706.06083): cross-entropy on pictures attacked within a uniform budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from core.attacks.budget import Budget, uniform
from core.attacks.pgd import Pgd, pgd
from core.objectives.batch import Loss
from core.objectives.standard import standard
from core.tensors import Classifier, Images, Labels


@dataclass(frozen=True, kw_only=True)
class PgdAt:
    """Settings of PGD-AT: its inner attack."""

    method: Literal["pgd-at"] = "pgd-at"
    attack: Pgd = field(default_factory=Pgd)


def pgd_at(model: Classifier, x: Images, y: Labels, attack: Pgd, generator: torch.Generator) -> Loss:
    """Returns the cross-entropy on ``x`` attacked by PGD within ``attack.eps`` at every pixel."""
    return within(model, x, y, uniform(attack.eps, x), attack, generator)


def within(model: Classifier, x: Images, y: Labels, budget: Budget, attack: Pgd, generator: torch.Generator) -> Loss:
    """Returns the cross-entropy on ``x`` attacked by PGD within any ``budget``."""
    adversarial = pgd(model, x, y, budget, steps=attack.steps, step_size=attack.step_size, generator=generator)
    return standard(model, adversarial, y)
