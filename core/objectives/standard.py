"""Standard training: cross-entropy on clean pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.attacks.pgd import cross_entropy
from core.objectives.batch import Loss
from core.tensors import Classifier, Images, Labels


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Settings of standard training: none."""

    method: Literal["standard"] = "standard"


def standard(model: Classifier, x: Images, y: Labels) -> Loss:
    """Returns the cross-entropy of ``model`` on the pictures as they are."""
    logits = model(x)
    return Loss(per_picture=cross_entropy(logits, y), logits=logits)
