"""Choosing an epoch by accuracy under PGD on pictures held out of the training split; never on the test split."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from core.attacks.budget import uniform
from core.attacks.pgd import Pgd, attacked
from core.datasets.split import Split
from core.errors import ConfigError
from core.networks.mode import frozen
from core.purification.pipeline import reseed
from core.tensors import Classifier, generator, to_unit

_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Settings of selection and early stop.

    Attributes:
        hold_out: share of each class of the training pictures that is not trained on.
        attack: by which robust accuracy is measured after each epoch.
        patience: stop after so many epochs without a new best; without it train to the end.
    """

    hold_out: float = 0.1
    attack: Pgd = field(default_factory=Pgd)
    patience: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.hold_out < 1:
            raise ConfigError(f"selection: hold_out: expected between 0 and 1, got {self.hold_out}")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"selection: patience: expected at least 1, got {self.patience}")


@dataclass(frozen=True, kw_only=True)
class Score:
    """Accuracy on the held-out pictures: as they are, and under the selection's attack."""

    clean: float
    robust: float


def score(model: Classifier, held_out: Split, selection: Selection, seed: int) -> Score:
    """Returns clean and robust accuracy on the held-out pictures, in float32, from the same starts every time."""
    reseed(model, seed)
    right = torch.zeros(2, dtype=torch.int64)
    with frozen(model):
        for first in range(0, len(held_out), _BATCH):
            chosen = slice(first, first + _BATCH)
            right += _right(model, held_out.pixels[chosen], held_out.labels[chosen], selection, seed, first)
    clean, robust = (right / len(held_out)).tolist()
    return Score(clean=clean, robust=robust)


def _right(
    model: Classifier, pixels: torch.Tensor, labels: torch.Tensor, selection: Selection, seed: int, first: int
) -> torch.Tensor:
    x, attack = to_unit(pixels), selection.attack
    start = generator(x.device, seed, "selection", first)
    adversarial = attacked(model, x, labels, uniform(attack.eps, x), attack, start)
    with torch.no_grad():
        return torch.stack([(model(pictures).argmax(1) == labels).sum().cpu() for pictures in (x, adversarial)])
