"""PART: pixel-reweighted adversarial training (Zhou et al. 2024, ICML, arXiv 2406.00685), and PART-T, PART-M.

Pixels that a class-activation map calls important may move by ε, all others by ε_low only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, assert_never

from torch import Tensor

from core.attacks.budget import Budget, lowered, uniform
from core.attacks.pgd import Pgd
from core.errors import ConfigError
from core.objectives.batch import Batch, Loss, with_budget
from core.objectives.controls import Control, controlled
from core.objectives.jet import jet
from core.objectives.mart import mart_within
from core.objectives.pgd_at import pgd_at_within
from core.objectives.trades import check_beta, trades_within
from core.salience.cam import Upsampling, grad_cam, layer_cam, x_grad_cam
from core.tensors import Classifier, Images, Salience


@dataclass(frozen=True, kw_only=True)
class PartSettings:
    """Settings that the three have in common.

    Attributes:
        attack: the inner attack; its ``eps`` is the limit of important pixels.
        eps_low: the limit of all others, in [0, 1] units.
        warm_up_epochs: so many epochs first go without maps, ε everywhere: plain PGD-AT, TRADES or MART. That some
            epochs are left after them is for the recipe to see to.
        cam: the class-activation map, of the predicted class.
        upsampling: how it is brought to the size of the picture.
        importance: ``"shared"``: one decision for all channels of a pixel; ``"published"``: one for each, by the
            colours that the published code gives to its maps.
        above: pixels (channels) more than so many standard deviations above the picture's mean are important.
        recompute_every: the maps are those of the weights at the last step that is a multiple of it; 1: of the present
            ones. The maps themselves are made of every batch anew, since each is augmented in its own way.
        control: what is put in the place of the budget, see ``core.objectives.controls``.
    """

    method: str
    attack: Pgd = field(default_factory=Pgd)
    eps_low: float = 7 / 255
    warm_up_epochs: int = 20
    cam: Literal["grad-cam", "layer-cam", "x-grad-cam"] = "grad-cam"
    upsampling: Upsampling = "bilinear"
    importance: Literal["shared", "published"] = "shared"
    above: float = 1.0
    recompute_every: int = 1
    control: Control = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.eps_low <= self.attack.eps:
            raise ConfigError(f"eps_low: expected 0 to attack.eps = {self.attack.eps:.6g}, got {self.eps_low:.6g}")
        if self.warm_up_epochs < 0 or self.recompute_every < 1:
            raise ConfigError(
                f"warm_up_epochs, recompute_every: expected at least 0 and 1, got {self.warm_up_epochs}, "
                f"{self.recompute_every}"
            )


@dataclass(frozen=True, kw_only=True)
class Part(PartSettings):
    """Settings of PART, on PGD-AT."""

    method: Literal["part"] = "part"


@dataclass(frozen=True, kw_only=True)
class PartT(PartSettings):
    """Settings of PART-T, on TRADES with weight ``beta``."""

    method: Literal["part-t"] = "part-t"
    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_beta(self.beta)


@dataclass(frozen=True, kw_only=True)
class PartM(PartSettings):
    """Settings of PART-M, on MART with weight ``beta``."""

    method: Literal["part-m"] = "part-m"
    beta: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_beta(self.beta)


def part(model: Classifier, batch: Batch, objective: Part | PartT | PartM) -> Loss:
    """Returns the loss of PGD-AT, TRADES or MART with pictures attacked within PART's budget."""
    budget = part_budget(model, batch, objective)
    match objective:
        case Part():
            loss = pgd_at_within(model, batch, budget, objective.attack)
        case PartT():
            loss = trades_within(model, batch, budget, objective.attack, beta=objective.beta)
        case PartM():
            loss = mart_within(model, batch, budget, objective.attack, beta=objective.beta)
        case unknown:
            assert_never(unknown)
    return with_budget(loss, budget)


def part_budget(model: Classifier, batch: Batch, objective: PartSettings) -> Budget:
    """Returns the limits of each picture of the batch, from its own class-activation map; ε everywhere in warm-up.

    Raises:
        ConfigError: maps of earlier weights are asked for and the batch brings none; or published importance of
            pictures that are not RGB.
    """
    eps = objective.attack.eps
    if batch.epoch < objective.warm_up_epochs:
        return uniform(eps, batch.images)
    maps = activation_maps(_explainer(model, batch, objective), batch.images, objective)
    own = lowered(eps, objective.eps_low, _important(maps, batch.images, objective))
    return controlled(objective.control, own, objective.eps_low, eps, batch.generator)


def activation_maps(model: Classifier, x: Images, objective: PartSettings) -> Salience:
    """Returns the class-activation maps of the predicted classes, [B, 1, H, W] in [0, 1]."""
    match objective.cam:
        case "grad-cam":
            return grad_cam(model, x, upsampling=objective.upsampling)
        case "layer-cam":
            return layer_cam(model, x, upsampling=objective.upsampling)
        case "x-grad-cam":
            return x_grad_cam(model, x, upsampling=objective.upsampling)
        case unknown:
            assert_never(unknown)


def shared_importance(maps: Salience, above: float) -> Tensor:
    """Returns which pixels are important, bool [B, 1, H, W]: the map's square is ``above`` sd over its mean.

    Mean and (population) standard deviation are those of the picture's own squared map. The published rule with the
    colours left out; a map that is constant makes no pixel important.
    """
    return _stands_out(maps.square(), above)


def published_importance(maps: Salience, above: float) -> Tensor:
    """Returns which channels of which pixels the published code calls important, bool [B, 3, H, W].

    The squared map is coloured by jet, and a channel of a pixel is important if its intensity is ``above`` (there: 1)
    sd over the mean of all three channels of the picture. Blue is therefore never important where the map is highest.
    """
    return _stands_out(jet(maps.square()), above)


def _stands_out(values: Tensor, above: float) -> Tensor:
    mean = values.mean(dim=(1, 2, 3), keepdim=True)
    sd = values.var(dim=(1, 2, 3), keepdim=True, correction=0).sqrt()
    return values > mean + above * sd


def _important(maps: Salience, x: Images, objective: PartSettings) -> Tensor:
    if objective.importance == "shared":
        return shared_importance(maps, objective.above)
    if x.shape[1] != 3:
        raise ConfigError(
            f"importance: 'published' expects pictures of 3 channels (RGB), got {x.shape[1]}; use importance = 'shared'"
        )
    return published_importance(maps, objective.above)


def _explainer(model: Classifier, batch: Batch, objective: PartSettings) -> Classifier:
    if objective.recompute_every == 1:
        return model
    if batch.explainer is None:
        raise ConfigError(
            f"recompute_every: {objective.recompute_every} expects a copy of earlier weights with the batch, got none; "
            "set recompute_every = 1"
        )
    return batch.explainer
