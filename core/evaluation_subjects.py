"""Runs under evaluation: what an attack may use of each, and how each is judged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import nn

from core import rng
from core.errors import ConfigError
from core.evaluation_settings import Access
from core.networks.folded import folded
from core.purification.pipeline import Purified
from core.tensors import Classifier, Images, Logits


class Voted(nn.Module):
    """A randomised model as an attack sees it: a single draw where gradients are wanted, the vote everywhere else.

    Attacks ask without gradients whether a picture is fooled; one lucky draw among many would answer yes (and end the
    attack) where the model's decision stands.
    """

    def __init__(self, model: Purified, votes: int) -> None:
        super().__init__()
        self.single, self.voting = model.voting(1), model.voting(votes)
        self.training = model.training

    def forward(self, x: Images) -> Logits:
        """Returns the logits of one draw, or of the vote."""
        logits: Logits = self.single(x) if torch.is_grad_enabled() else self.voting(x)
        return logits


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run under evaluation.

    Attributes:
        name: of the run.
        model: its classifier in evaluation mode.
        votes: draws by which a randomised classifier decides.
    """

    name: str
    model: Classifier
    votes: int = 1

    @property
    def randomised(self) -> bool:
        """Whether the model draws random numbers, and so is judged by vote."""
        return isinstance(self.model, Purified)

    @cached_property
    def fast(self) -> Classifier:
        """The same function for attacks, up to rounding: batch norms folded, channels last."""
        return folded(self.model)

    def judging(self, seed: int) -> Classifier:
        """Returns the model that decides: of a randomised one the vote, on the draws of ``seed``."""
        if not isinstance(self.model, Purified):
            return self.model
        voting = self.model.voting(self.votes)
        voting.reseed(rng.derive(seed, "judging"))
        return voting

    def attacked(self, access: Access | Literal["transfer"], seed: int) -> Classifier:
        """Returns the model that an attack with this access sees; its draws are others than the verdict's.

        Raises:
            ConfigError: an access that the model does not have.
        """
        model = self.model
        if not isinstance(model, Purified):
            if access not in ("full", "transfer"):
                raise ConfigError(f"{self.name}: access {access!r} is for models that draw random numbers; use 'full'")
            return self.fast
        if access == "bare":
            return model.classifier
        if access == "fixed":
            return model.fixed(rng.derive(seed, "attacking"))
        seen = Voted(model.with_gradient("identity" if access == "bpda" else "full"), self.votes)
        seen.single.reseed(rng.derive(seed, "attacking"))
        seen.voting.reseed(rng.derive(seed, "attacking", "vote"))
        return seen

    def differentiable(self, access: Access | Literal["transfer"], seed: int, draws: int) -> Classifier:
        """Returns the model for an attack whose pictures are for others: of a randomised one the mean of draws."""
        if not isinstance(self.model, Purified) or access == "bare":
            return self.attacked(access, seed)
        mean = self.model.voting(draws)
        mean.reseed(rng.derive(seed, "attacking"))
        return mean
