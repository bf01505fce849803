"""MART (Wang et al. 2020, ICLR, openreview rklOg6EFwS): misclassified pictures weigh more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch.nn import functional

from core.attacks.budget import Budget, uniform
from core.attacks.pgd import Pgd, attacked
from core.objectives.batch import Batch, Loss
from core.objectives.trades import check_beta, kl_divergence
from core.tensors import Classifier, Labels, Logits, PerPicture


@dataclass(frozen=True, kw_only=True)
class Mart:
    """Settings of MART: its inner attack, and ``beta``, the weight of the divergence (λ of the paper)."""

    method: Literal["mart"] = "mart"
    attack: Pgd = field(default_factory=Pgd)
    beta: float = 6.0

    def __post_init__(self) -> None:
        check_beta(self.beta)


def mart(model: Classifier, batch: Batch, objective: Mart) -> Loss:
    """Returns BCE(f(x'), y) + β · KL(f(x) ‖ f(x')) · (1 − p_y(x)), x' within ``attack.eps`` (Algorithm 1)."""
    return mart_within(model, batch, uniform(objective.attack.eps, batch.images), objective.attack, beta=objective.beta)


def mart_within(model: Classifier, batch: Batch, budget: Budget, attack: Pgd, *, beta: float) -> Loss:
    """Returns the loss of MART with pictures attacked within any ``budget``, by cross-entropy from a normal start.

    Gradients flow through every factor. Parts: ``boosted`` (the boosted cross-entropy) and ``divergence`` (the weighted
    KL, not multiplied by β).
    """
    adversarial = attacked(model, batch.images, batch.labels, budget, attack, batch.generator, start="normal")
    clean = model(batch.images)
    logits = model(adversarial)
    boosted, divergence = boosted_cross_entropy(logits, batch.labels), weighted_kl(clean, logits, batch.labels)
    return Loss(
        per_picture=boosted + beta * divergence,
        logits=logits,
        parts={"boosted": boosted.detach().mean(), "divergence": divergence.detach().mean()},
    )


def boosted_cross_entropy(logits: Logits, y: Labels) -> PerPicture:
    """Returns −log p_y − log(1 − max_{k≠y} p_k) of each picture, in nats.

    The second logarithm is the log-sum-exp of all classes but the likeliest wrong one: exact, where 1 − p rounds to 0.
    """
    log_p = functional.log_softmax(logits.float(), dim=1)
    right = y[:, None]
    rival = log_p.detach().scatter(1, right, -torch.inf).argmax(dim=1, keepdim=True)
    not_rival = log_p.scatter(1, rival, -torch.inf).logsumexp(dim=1)
    return -log_p.gather(1, right).squeeze(1) - not_rival


def weighted_kl(clean: Logits, adversarial: Logits, y: Labels) -> PerPicture:
    """Returns KL(p(x) ‖ p(x')) · (1 − p_y(x)) of each picture."""
    confidence = functional.softmax(clean.float(), dim=1).gather(1, y[:, None]).squeeze(1)
    return kl_divergence(clean, adversarial) * (1 - confidence)
