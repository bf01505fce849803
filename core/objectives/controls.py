"""Controls: budgets that keep some property of a method's own and lose its meaning, to tell what the meaning does."""

from __future__ import annotations

from typing import Literal, assert_never

import torch

from core.attacks.budget import Budget
from core.errors import ConfigError
from core.salience.smoothing import gaussian
from core.tensors import Limits

Control = Literal["none", "inverted", "shuffled", "random-area", "uniform-mean"]

_BLOB = 1 / 8  # sd of the smoothing of random areas, as a share of the shorter side


def controlled(control: Control, budget: Budget, low: float, high: float, generator: torch.Generator) -> Budget:
    """Returns the budget that ``control`` puts in the place of ``budget``.

    Args:
        control: ``"none"``: the budget itself. ``"inverted"``: low + high − ε; a picture that is limited nowhere, such
            as one without a map, stays so. ``"shuffled"``: each picture gets that of another one of its batch.
            ``"random-area"``: each picture's own limits, rearranged: its lowest lie in random blobs of the same area.
            ``"uniform-mean"``: each picture's mean limit at all of its pixels.
        budget: limits of each picture, [B, 1 or C, H, W].
        low: the lowest limit that the method gives, in [0, 1] units.
        high: the highest.
        generator: of what is random in it, on the device of the budget.

    Raises:
        ConfigError: there is no other picture to shuffle with.
    """
    match control:
        case "none":
            return budget
        case "inverted":
            return Budget(budget.norm, _inverted(budget.eps, low, high))
        case "shuffled":
            return Budget(budget.norm, _shuffled(budget.eps, generator))
        case "random-area":
            return Budget(budget.norm, _rearranged(budget.eps, generator))
        case "uniform-mean":
            return Budget(budget.norm, budget.eps.mean(dim=(1, 2, 3), keepdim=True))
        case unknown:
            assert_never(unknown)


def _inverted(eps: Limits, low: float, high: float) -> Limits:
    unlimited = eps.amin(dim=(1, 2, 3), keepdim=True) >= high
    return torch.where(unlimited, eps, (low + high - eps).clamp(low, high))


def _shuffled(eps: Limits, generator: torch.Generator) -> Limits:
    """Returns the limits moved along one random cycle through all pictures: nobody keeps its own."""
    if len(eps) < 2:
        raise ConfigError(
            "control: shuffled: expected batches of at least 2 pictures, got 1; choose a batch_size that leaves no "
            "single picture over"
        )
    cycle = torch.randperm(len(eps), generator=generator, device=eps.device)
    return torch.empty_like(eps).index_copy_(0, cycle, eps[cycle.roll(1)])


def _rearranged(eps: Limits, generator: torch.Generator) -> Limits:
    """Returns each picture's limits in the order of smooth noise: as many of each size as before, in other places."""
    batch, _, height, width = eps.shape
    noise = torch.randn((batch, 1, height, width), generator=generator, device=eps.device, dtype=eps.dtype)
    places = gaussian(noise, _BLOB * min(height, width)).flatten(2).argsort(dim=2).expand(eps.flatten(2).shape)
    return torch.empty_like(eps).flatten(2).scatter(2, places, eps.flatten(2).sort(dim=2).values).view_as(eps)
