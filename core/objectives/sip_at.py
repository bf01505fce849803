"""SIP-AT: salience-preserving adversarial training (Redgrave & Czajka 2025, arXiv 2501.09086)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from core.attacks.budget import Budget, sparing_salient, sparing_softly
from core.attacks.pgd import Pgd
from core.errors import ConfigError
from core.objectives.batch import Batch, Loss, with_budget
from core.objectives.controls import Control, controlled
from core.objectives.pgd_at import pgd_at_within
from core.objectives.trades import check_beta, trades_within
from core.tensors import Classifier, Salience

_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class SipAt:
    """Settings of SIP-AT.

    Attributes:
        attack: the inner attack.
        budget: ``"binary"``: ε where salience is at most ``threshold``, 0 elsewhere; ``"soft"``: ε · (1 − s).
        threshold: τ of the binary budget; pixels with salience above it are left alone.
        base: the loss of the attacked pictures: ``"pgd-at"``: their cross-entropy, or ``"trades"``.
        beta: weight of the divergence of TRADES; without it PGD-AT is the base.
        control: what is put in the place of the budget, see ``core.objectives.controls``.
    """

    method: Literal["sip-at"] = "sip-at"
    attack: Pgd = field(default_factory=Pgd)
    budget: Literal["binary", "soft"] = "binary"
    threshold: float = _THRESHOLD
    base: Literal["pgd-at", "trades"] = "pgd-at"
    beta: float | None = None
    control: Control = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold: expected 0 to 1, got {self.threshold}")
        if self.budget == "soft" and self.threshold != _THRESHOLD:
            raise ConfigError(
                f"threshold: a soft budget has none, got {self.threshold}; remove it, or set budget = 'binary'"
            )
        if self.base == "trades" and self.beta is None:
            raise ConfigError("beta: base = 'trades' needs it, got none; add beta = 6.0")
        if self.base == "pgd-at" and self.beta is not None:
            raise ConfigError(f"beta: base = 'pgd-at' has none, got {self.beta}; remove it, or set base = 'trades'")
        check_beta(self.beta or 0.0)


def sip_at(model: Classifier, batch: Batch, objective: SipAt) -> Loss:
    """Returns the loss of ``base`` on pictures attacked everywhere but where they are salient.

    Raises:
        ConfigError: the batch has no salience maps.
    """
    if batch.salience is None:
        raise ConfigError("sip-at: expected salience maps, got none; add a [salience] table to the recipe")
    budget = sip_budget(objective, batch.salience, batch.generator)
    if objective.beta is None:
        loss = pgd_at_within(model, batch, budget, objective.attack)
    else:
        loss = trades_within(model, batch, budget, objective.attack, beta=objective.beta)
    return with_budget(loss, budget)


def sip_budget(objective: SipAt, salience: Salience, generator: torch.Generator) -> Budget:
    """Returns the budget of pictures with these maps, [B, 1, H, W]; a map that is all zero limits nothing."""
    eps = objective.attack.eps
    own = sparing_softly(eps, salience)
    if objective.budget == "binary":
        own = sparing_salient(eps, salience, objective.threshold)
    return controlled(objective.control, own, 0.0, eps, generator)
