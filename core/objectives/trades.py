"""TRADES (Zhang et al. 2019, arXiv 1901.08573): accuracy on clean pictures, and the same answer on attacked ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch.nn import functional

from core.attacks.budget import Budget, uniform
from core.attacks.losses import cross_entropy
from core.attacks.pgd import Pgd, attacked
from core.errors import ConfigError
from core.networks.mode import frozen
from core.objectives.batch import Batch, Loss
from core.tensors import Classifier, Images, Logits, PerPicture


@dataclass(frozen=True, kw_only=True)
class Trades:
    """Settings of TRADES: its inner attack, and ``beta``, the weight of the divergence (1 / λ of the paper)."""

    method: Literal["trades"] = "trades"
    attack: Pgd = field(default_factory=Pgd)
    beta: float = 6.0

    def __post_init__(self) -> None:
        check_beta(self.beta)


def check_beta(beta: float) -> None:
    """Refuses a negative weight.

    Raises:
        ConfigError: it is negative.
    """
    if beta < 0:
        raise ConfigError(f"beta: expected at least 0 (6 is usual), got {beta}")


def trades(model: Classifier, batch: Batch, objective: Trades) -> Loss:
    """Returns CE(f(x), y) + β · KL(f(x) ‖ f(x')), x' found within ``attack.eps`` at every pixel (Algorithm 1)."""
    return trades_within(
        model, batch, uniform(objective.attack.eps, batch.images), objective.attack, beta=objective.beta
    )


def trades_within(model: Classifier, batch: Batch, budget: Budget, attack: Pgd, *, beta: float) -> Loss:
    """Returns the loss of TRADES with pictures attacked within any ``budget``.

    Gradients flow through both arguments of the divergence; the clean forward pass is shared by both terms. Parts:
    ``natural`` (cross-entropy of the clean pictures) and ``divergence`` (KL, not multiplied by β).
    """
    adversarial = diverged(model, batch, budget, attack)
    clean = model(batch.images)
    logits = model(adversarial)
    natural, divergence = cross_entropy(clean, batch.labels), kl_divergence(clean, logits)
    return Loss(
        per_picture=natural + beta * divergence,
        logits=logits,
        parts={"natural": natural.detach().mean(), "divergence": divergence.detach().mean()},
    )


def diverged(model: Classifier, batch: Batch, budget: Budget, attack: Pgd) -> Images:
    """Returns pictures moved so as to raise KL(f(x) ‖ f(x')), the clean prediction held as it is before the attack."""
    with frozen(model, attack.batch_norm), torch.no_grad():
        clean = model(batch.images)
    return attacked(
        model,
        batch.images,
        batch.labels,
        budget,
        attack,
        batch.generator,
        loss=lambda logits, _: kl_divergence(clean, logits),
        start="normal",
    )


def kl_divergence(p: Logits, q: Logits) -> PerPicture:
    """Returns KL(softmax p ‖ softmax q) of each picture in nats, from log-probabilities, so that it stays finite."""
    log_p, log_q = (functional.log_softmax(logits.float(), dim=1) for logits in (p, q))
    return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
