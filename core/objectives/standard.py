"""Standard training: cross-entropy on clean pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.attacks.losses import cross_entropy
from core.objectives.batch import Batch, Loss
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Settings of standard training: none."""

    method: Literal["standard"] = "standard"


def standard(model: Classifier, batch: Batch) -> Loss:
    """Returns the cross-entropy of ``model`` on the pictures as they are; its part is ``natural``."""
    logits = model(batch.images)
    natural = cross_entropy(logits, batch.labels)
    return Loss(per_picture=natural, logits=logits, parts={"natural": natural.detach().mean()})
