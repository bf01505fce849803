"""Robustness of a classifier, judged by us and not by the attack: budget checked, verdict in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from core.attacks.budget import uniform
from core.attacks.pgd import pgd
from core.datasets.split import Split
from core.errors import DataError
from core.purification.pipeline import reseed
from core.tensors import Classifier, Images, Labels, PerPicture, generator, to_unit

TOLERANCE = 1e-6  # by how much rounding may carry a pixel out of its budget


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """Settings of an evaluation by PGD on a ladder of ε: grey levels, rising; 0 is the clean picture."""

    eps: tuple[float, ...] = (0, 1, 2, 4, 8, 16, 32)
    steps: int = 20
    relative_step: float = 2.5  # step size × steps / ε
    batch_size: int = 256
    seed: int = 1

    @property
    def attack(self) -> str:
        """The name of the attack in all files."""
        return f"pgd-{self.steps}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a classifier makes of pictures, in float32: predicted class and margin, [B] each.

    The margin is the logit of the true class less the largest other logit; negative where the prediction is wrong.
    """

    predictions: Labels
    margins: PerPicture


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The verdict on one batch of a split at one ε; ``first`` is the place of its first picture in the split."""

    first: int
    eps: float
    verdict: Verdict


@torch.no_grad()
def judge(model: Classifier, x: Images, y: Labels) -> Verdict:
    """Returns the verdict of ``model`` (in evaluation mode) on ``x``."""
    logits = model(x).float()
    true = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], -torch.inf)
    return Verdict(predictions=logits.argmax(1), margins=true - others.amax(1))


def climb(model: Classifier, split: Split, ladder: Ladder, advance: Callable[[int], object]) -> Iterator[Outcome]:
    """Yields the outcome of each batch of ``split`` at each rung, attacking at every pixel.

    A picture that was fooled at a lower ε keeps that adversarial picture, which lies within every larger budget, so
    accuracy never rises along the ladder. ``advance`` is told how many pictures were done.
    """
    reseed(model, ladder.seed)
    for first in range(0, len(split), ladder.batch_size):
        chosen = slice(first, first + ladder.batch_size)
        x, y = to_unit(split.pixels[chosen]), split.labels[chosen]
        worst, verdict = x, judge(model, x, y)
        for eps in ladder.eps:
            if eps > 0:
                worst, verdict = _rung(model, x, y, worst, verdict, eps, ladder, first)
            yield Outcome(first=first, eps=eps, verdict=verdict)
            advance(len(x))


def _rung(
    model: Classifier, x: Images, y: Labels, worst: Images, before: Verdict, eps: float, ladder: Ladder, first: int
) -> tuple[Images, Verdict]:
    """Attacks the pictures of one batch that still stand; returns the worst pictures so far and their verdict."""
    standing = before.margins > 0
    adversarial = worst.clone()
    if standing.any():
        adversarial[standing] = _attack(model, x[standing], y[standing], eps, ladder, first)
    check(x, adversarial, eps / 255)
    return adversarial, judge(model, adversarial, y)


def _attack(model: Classifier, x: Images, y: Labels, eps: float, ladder: Ladder, first: int) -> Images:
    return pgd(
        model,
        x,
        y,
        uniform(eps / 255, x),
        steps=ladder.steps,
        step_size=ladder.relative_step * eps / 255 / ladder.steps,
        generator=generator(x.device, ladder.seed, "evaluate", str(eps), first),
    )


def check(x: Images, adversarial: Images, eps: float) -> None:
    """Checks that no picture left the budget ``eps`` (in [0, 1] units).

    Raises:
        DataError: one did; the attack is at fault.
    """
    excess = float(uniform(eps, x).excess(x, adversarial).max())
    if excess > TOLERANCE:
        raise DataError(
            f"attack: expected changes of at most {eps:.6f}, exceeded by {excess:.2g}; the attack is at fault"
        )
