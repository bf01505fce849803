"""SIP-AT: salience-preserving adversarial training (Redgrave & Czajka 2025, arXiv 2501.09086)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from core.attacks.budget import sparing_salient
from core.attacks.pgd import Pgd
from core.errors import ConfigError
from core.objectives.batch import Batch, Loss
from core.objectives.pgd_at import within
from core.tensors import Classifier


@dataclass(frozen=True, kw_only=True)
class SipAt:
    """Settings of SIP-AT.

    Attributes:
        attack: the inner attack.
        threshold: τ; pixels with salience above it are left alone.
    """

    method: Literal["sip-at"] = "sip-at"
    attack: Pgd = field(default_factory=Pgd)
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold: expected 0 to 1, got {self.threshold}")


def sip_at(model: Classifier, batch: Batch, objective: SipAt) -> Loss:
    """Returns the cross-entropy on pictures attacked everywhere but where they are salient.

    Raises:
        ConfigError: the batch has no salience maps.
    """
    if batch.salience is None:
        raise ConfigError("sip-at: expected salience maps, got none; add a [salience] table to the recipe")
    budget = sparing_salient(objective.attack.eps, batch.salience, objective.threshold)
    return within(model, batch.images, batch.labels, budget, objective.attack, batch.generator)
