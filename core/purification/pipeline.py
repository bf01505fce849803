"""AToP's randomised classifier: transform, purifier, frozen classifier (Lin et al. 2024, arXiv 2401.16352, fig. 1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from core.errors import ConfigError
from core.purification import transforms
from core.purification.discriminator import Discriminator
from core.purification.purifier import Purifier
from core.purification.transforms import Draw, Transform
from core.tensors import Classifier, Images, Logits, generator


@dataclass(frozen=True, kw_only=True)
class Purification:
    """What stands in front of the classifier.

    Attributes:
        transform: the random transform.
        width: channels of the purifier at full size.
        discriminator_width: channels of the discriminator after its first convolution; used in training only.
        votes: draws whose probabilities are averaged for one decision.
    """

    transform: Transform = field(default_factory=Transform)
    width: int = 32
    discriminator_width: int = 32
    votes: int = 1

    def __post_init__(self) -> None:
        if min(self.width, self.discriminator_width, self.votes) < 1:
            raise ConfigError(
                "width, discriminator_width, votes: expected at least 1, "
                f"got {self.width}, {self.discriminator_width}, {self.votes}"
            )


class Purified(nn.Module):
    """A classifier behind a randomised purifier: pictures in [0, 1] in, logits out, differentiable throughout.

    Each call draws its transform from (seed, number of the call), each picture its own; ``fixed`` gives a view without
    chance. With one vote the logits are the classifier's. With N they are log((1/N) Σ softmax(logits of draw i)), so
    that their softmax is the average of the probabilities and the decision is the class with the highest average.

    The classifier is in evaluation mode whatever mode the rest is in, and its weights want no gradients.

    Attributes:
        gradient: ``"full"``: backward through the purifier; ``"identity"``: backward as if the purified picture were
            the picture itself (BPDA, Athalye et al. 2018, arXiv 1802.00420), for evaluation only.
    """

    def __init__(
        self,
        purifier: Purifier,
        discriminator: Discriminator,
        classifier: Classifier,
        transform: Transform,
        *,
        votes: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.purifier, self.discriminator = purifier, discriminator
        self.classifier = classifier.eval().requires_grad_(requires_grad=False)
        self.transform, self.votes = transform, votes
        self.gradient: Literal["full", "identity"] = "full"
        self._fixed, self._seed, self._calls = False, seed, 0

    def train(self, mode: bool = True) -> Purified:
        """Sets the mode of purifier and discriminator; the classifier stays in evaluation mode."""
        super().train(mode)
        self.classifier.eval()
        return self

    def forward(self, x: Images) -> Logits:
        """Returns the logits of ``x`` after ``votes`` draws."""
        logits = [self.classify(x, drawn) for drawn in self._draws(x)]
        if len(logits) == 1:
            return logits[0]
        probabilities = torch.stack([vote.to(x.dtype).log_softmax(dim=1) for vote in logits])
        return probabilities.logsumexp(dim=0) - math.log(len(logits))

    def purify(self, x: Images, drawn: Draw) -> Images:
        """Returns ``x`` transformed as ``drawn`` and completed, in [0, 1]."""
        completed = drawn.merge(self.purifier(drawn.inputs(x)))
        return completed if self.gradient == "full" else completed.detach() + (x - x.detach())

    def classify(self, x: Images, drawn: Draw) -> Logits:
        """Returns the classifier's logits of ``x`` purified after ``drawn``."""
        logits: Logits = self.classifier(self.purify(x, drawn))
        return logits

    def reseed(self, seed: int) -> None:
        """Begins the random numbers of the calls anew, from ``seed``."""
        self._seed, self._calls = seed, 0

    def fixed(self, seed: int) -> Purified:
        """Returns a view on the same nets whose masks and noise are the same for every call and every picture.

        It is a deterministic function of each picture, whatever batch the picture comes in, as attacks with fixed
        randomness need it.
        """
        view = copy.copy(self)
        view._fixed, view._seed, view._calls = True, seed, 0  # noqa: SLF001
        return view

    def voting(self, votes: int) -> Purified:
        """Returns a view on the same nets that decides by ``votes`` draws."""
        view = copy.copy(self)
        view.votes = votes
        return view

    def with_gradient(self, gradient: Literal["full", "identity"]) -> Purified:
        """Returns a view on the same nets with that gradient."""
        view = copy.copy(self)
        view.gradient = gradient
        return view

    def _draws(self, x: Images) -> Iterator[Draw]:
        self._calls += 0 if self._fixed else 1
        for vote in range(self.votes):
            source = generator(x.device, self._seed, "purification", self._calls, vote)
            yield transforms.draw(self.transform, x, source, shared=self._fixed)


def reseed(model: Classifier, seed: int) -> None:
    """Begins the random numbers of every ``Purified`` in ``model`` anew; other models have none.

    For whoever measures a model and must get the same numbers however often it was called before.
    """
    for module in model.modules():
        if isinstance(module, Purified):
            module.reseed(seed)


def compose(purification: Purification, classifier: Classifier, seed: int) -> Purified:
    """Returns ``classifier`` behind a new purifier on the CPU, weights drawn from (seed, "purification") alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator("cpu", seed, "purification", "weights").initial_seed())
        purifier, discriminator = Purifier(purification.width), Discriminator(purification.discriminator_width)
    return Purified(purifier, discriminator, classifier, purification.transform, votes=purification.votes, seed=seed)
