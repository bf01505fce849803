"""Ensembles of attacks, point-wise worst case: only pictures that still stand go on to the next attack."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from core.attacks.apgd import apgd, targeted_dlr
from core.attacks.budget import Budget
from core.errors import ConfigError
from core.networks.mode import frozen
from core.tensors import Classifier, Images, Labels


@dataclass(frozen=True, kw_only=True)
class AaFast:
    """Settings of ``aa-fast``: APGD on cross-entropy, then targeted APGD on DLR; AutoAttack without FAB and Square.

    Source: Croce & Hein 2020 (arXiv 2003.01690). Theirs are 100 steps and 9 targets.

    Attributes:
        steps: of each APGD.
        targets: how many of the largest wrong logits are aimed at; never more than there are wrong classes.
    """

    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        if self.steps < 1 or self.targets < 1:
            raise ConfigError(f"aa-fast: steps, targets: expected at least 1, got {self.steps}, {self.targets}")

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return f"aa-fast-{self.steps}x{self.targets}"


def aa_fast(
    model: Classifier, x: Images, y: Labels, budget: Budget, settings: AaFast, generator: torch.Generator
) -> Images:
    """Returns a misclassified point of ``budget`` for each picture where one was found, else the picture itself.

    With fewer than four classes targeted DLR is not defined and that part falls out.
    """
    with frozen(model), torch.no_grad():
        logits = model(x)
        worst, standing = x.clone(), logits.argmax(1) == y
        ranked = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True)
        targets = min(settings.targets, logits.shape[1] - 1) if logits.shape[1] >= 4 else 0
        for place in range(targets + 1):
            if not standing.any():
                break
            part, limits = x[standing], part_of(budget, standing)
            losses = {} if place == 0 else {"loss": targeted_dlr(ranked[standing, place - 1])}
            found = apgd(model, part, y[standing], limits, steps=settings.steps, generator=generator, **losses)
            fooled = torch.zeros_like(standing)
            fooled[standing] = wrong = model(found).argmax(1) != y[standing]
            worst[fooled], standing = found[wrong], standing & ~fooled
    return worst


def part_of(budget: Budget, chosen: torch.Tensor) -> Budget:
    """Returns the budget of the chosen pictures of its batch."""
    return budget if len(budget.eps) == 1 else dataclasses.replace(budget, eps=budget.eps[chosen])
