"""AToP: adversarial training on purification (Lin et al. 2024, arXiv 2401.16352)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, assert_never

import torch
from torch import nn

from core.attacks.budget import uniform
from core.attacks.losses import cross_entropy
from core.attacks.pgd import Pgd, attacked
from core.errors import ConfigError
from core.objectives.batch import Batch, Loss
from core.purification import transforms
from core.purification.discriminator import discriminator_hinge, judge_detached, purifier_hinge
from core.purification.pipeline import Purification, Purified
from core.purification.transforms import Draw
from core.tensors import Classifier, Images, Labels, Logits, PerPicture


@dataclass(frozen=True, kw_only=True)
class Atop:
    """Settings of AToP.

    Attributes:
        classifier: run directory of the classifier that is protected; it is not trained.
        purification: transform, sizes of the nets and votes.
        attack: the inner attack.
        attack_target: whom it attacks: ``"pipeline"``: transform, purifier and classifier together, at the very draw
            that is then trained on; ``"classifier"``: the bare classifier, as in the published code.
        reconstruct: what is completed and compared with itself: the ``"clean"`` picture, or the ``"adversarial"`` one.
        adversarial_from_epoch: first epoch (from 0) with an attack and a classification term.
        classification_weight: λ of the cross-entropy of attacked pictures; 0.05 and 0.1 are the published values.
        gan_weight: of the term by which the discriminator judges the purifier; 0 has the effect of the published code,
            1 is what it says, at which a purifier that starts from nothing collapses to a constant.
    """

    method: Literal["atop"] = "atop"
    classifier: Path
    purification: Purification = field(default_factory=Purification)
    attack: Pgd = field(default_factory=Pgd)
    attack_target: Literal["pipeline", "classifier"] = "pipeline"
    reconstruct: Literal["clean", "adversarial"] = "clean"
    adversarial_from_epoch: int = 2
    classification_weight: float = 0.1
    gan_weight: float = 0.01

    def __post_init__(self) -> None:
        if self.adversarial_from_epoch < 0:
            raise ConfigError(f"adversarial_from_epoch: expected at least 0, got {self.adversarial_from_epoch}")
        if self.classification_weight < 0 or self.gan_weight < 0:
            raise ConfigError(
                "classification_weight, gan_weight: expected at least 0, "
                f"got {self.classification_weight}, {self.gan_weight}"
            )
        if self.attack.batch_norm != "eval":
            raise ConfigError(
                f"attack: batch_norm: expected 'eval', got {self.attack.batch_norm!r}; the protected classifier is "
                "never in training mode and the purifier has no batch norms: remove the setting"
            )


def atop(model: Classifier, batch: Batch, objective: Atop) -> Loss:
    """Returns the losses of purifier and discriminator, summed so that one ``backward`` gives each its own gradient.

    L_G = gan_weight · (−D̄(x̂)) + ‖x̂ − x‖₁ + λ · CE(f(g(t(x'))), y)   with D̄ = the discriminator, weights detached;
    L_D = ½ (relu(1 − D(x)) + relu(1 + D(x̂)))                          with x̂ = g(t(x)) detached.

    Source: Lin et al. 2024 (arXiv 2401.16352), section 4; departures from the published code are in docs/methods.md.
    t is drawn once for each picture of the batch, ‖·‖₁ is the mean over a picture's elements, x' comes from ``attack``.
    Before ``adversarial_from_epoch`` there is no x' and λ is 0; the logits are then those of x̂, else those of the
    purified x'.

    Raises:
        ConfigError: ``model`` is not a ``Purified``.
    """
    if not isinstance(model, Purified):
        raise ConfigError(
            f"atop: expected a purifier in front of a classifier, got {type(model).__name__}; "
            "make the model with core.models.new"
        )
    x, y = batch.images, batch.labels
    drawn = transforms.draw(model.transform, x, batch.generator)
    if batch.epoch < objective.adversarial_from_epoch:
        completed = model.purify(x, drawn)
        with torch.no_grad():
            logits = model.classifier(completed)
        return _loss(terms(model, x, completed, drawn, logits, y), objective.gan_weight, 0.0, logits)
    adversarial = attack(model, x, y, objective, drawn, batch.generator)
    completed = model.purify(adversarial, drawn)
    logits = model.classifier(completed)
    if objective.reconstruct == "adversarial":
        parts = terms(model, adversarial, completed, drawn, logits, y)
    else:
        parts = terms(model, x, model.purify(x, drawn), drawn, logits, y)
    return _loss(parts, objective.gan_weight, objective.classification_weight, logits)


def terms(
    model: Purified, real: Images, completed: Images, drawn: Draw, logits: Logits, y: Labels
) -> dict[str, PerPicture]:
    """Returns the terms of the loss for each picture: gan, reconstruction, classification, discriminator.

    The first three have gradients for the purifier and none for the discriminator, the last one the reverse.
    """
    covered = drawn.covered(real)
    return {
        "gan": purifier_hinge(judge_detached(model.discriminator, completed, covered)),
        "reconstruction": (completed - real).abs().flatten(1).mean(dim=1),
        "classification": cross_entropy(logits, y),
        "discriminator": discriminator_hinge(
            model.discriminator(real, covered), model.discriminator(completed.detach(), covered)
        ),
    }


def attack(model: Purified, x: Images, y: Labels, objective: Atop, drawn: Draw, generator: torch.Generator) -> Images:
    """Returns ``x`` attacked by PGD, through the whole pipeline or against the bare classifier."""
    settings, target = objective.attack, _target(model, objective, drawn)
    return attacked(target, x, y, uniform(settings.eps, x), settings, generator)


class _Held(nn.Module):
    """The pipeline with its transform held at one draw."""

    def __init__(self, pipeline: Purified, drawn: Draw) -> None:
        super().__init__()
        self.pipeline, self.drawn = pipeline, drawn

    def forward(self, x: Images) -> Logits:
        return self.pipeline.classify(x, self.drawn)


def _target(model: Purified, objective: Atop, drawn: Draw) -> Classifier:
    match objective.attack_target:
        case "pipeline":
            return _Held(model, drawn)
        case "classifier":
            return model.classifier
        case unknown:
            assert_never(unknown)


def _loss(parts: dict[str, PerPicture], gan_weight: float, classification_weight: float, logits: Logits) -> Loss:
    purifier = gan_weight * parts["gan"] + parts["reconstruction"] + classification_weight * parts["classification"]
    means = {name: values.detach().mean() for name, values in parts.items()}
    return Loss(per_picture=purifier + parts["discriminator"], logits=logits, parts=means)
