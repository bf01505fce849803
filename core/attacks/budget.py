"""The central idea: a budget is a tensor of limits, one for each image, channel and pixel if need be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from core.errors import ConfigError
from core.tensors import Images, Limits, PerPicture, Salience

Norm = Literal["linf"]

_NORMAL_SD = 0.001  # of the start of TRADES and MART, in [0, 1] units


@dataclass(frozen=True)
class Budget:
    """How far each element of an image may move; owns random start, projection and checking.

    Attributes:
        norm: ``"linf"``: each element moves by at most its own limit.
        eps: limits in [0, 1] units, of shape [B|1, C|1, H|1, W|1]; 0 = may not change.
    """

    norm: Norm
    eps: Limits

    def __post_init__(self) -> None:
        if self.norm != "linf":
            raise ConfigError(f"budget: expected norm 'linf', got {self.norm!r}")
        if self.eps.ndim != 4 or not bool(((self.eps >= 0) & (self.eps <= 1)).all()):
            raise ConfigError(
                "budget: expected limits of shape [B|1, C|1, H|1, W|1] within [0, 1] (8 grey levels are 8/255), "
                f"got shape {list(self.eps.shape)}, values {self.eps.min():.4g}..{self.eps.max():.4g}"
            )

    def random_start(self, x: Images, generator: torch.Generator) -> Images:
        """Returns ``x`` moved uniformly at random within the budget, and cut to [0, 1]."""
        uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return self.project(x, x + (2 * uniform - 1) * self.eps)

    def normal_start(self, x: Images, generator: torch.Generator) -> Images:
        """Returns ``x`` moved by 0.001 · N(0, 1), and cut to the budget and to [0, 1]."""
        normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return self.project(x, x + _NORMAL_SD * normal)

    def project(self, x: Images, candidate: Images) -> Images:
        """Returns the point of the budget around ``x``, within [0, 1], that is nearest to ``candidate``."""
        offset = torch.maximum(torch.minimum(candidate - x, self.eps), -self.eps)
        return (x + offset).clamp(0, 1)

    def excess(self, x: Images, candidate: Images) -> PerPicture:
        """Returns by how much each ``candidate`` leaves the budget or [0, 1] at its worst element; 0 = inside."""
        beyond = torch.maximum((candidate - x).abs() - self.eps, torch.maximum(candidate - 1, -candidate))
        return beyond.flatten(1).amax(dim=1).clamp(min=0)

    def mask_area(self, x: Images) -> PerPicture:
        """Returns the share of pixels of each image that may change in some channel, 0..1."""
        allowed = (self.eps > 0).expand_as(x).any(dim=1)
        return allowed.float().flatten(1).mean(dim=1)


def uniform(eps: float, like: Tensor) -> Budget:
    """Returns the budget of PGD-AT and of ordinary evaluation: ``eps`` (in [0, 1] units) at every element."""
    return Budget("linf", torch.full((1, 1, 1, 1), eps, device=like.device, dtype=like.dtype))


def sparing_salient(eps: float, salience: Salience, threshold: float) -> Budget:
    """Returns the budget of SIP-AT: ``eps`` where salience is at most ``threshold``, 0 elsewhere.

    Source: Redgrave & Czajka 2025 (arXiv 2501.09086); the tie side (equal may change) follows their published code.
    """
    return Budget("linf", eps * (salience <= threshold).to(salience.dtype))


def sparing_softly(eps: float, salience: Salience) -> Budget:
    """Returns the soft budget of SIP-AT: ``eps`` · (1 − s), so that a pixel may move the less the more salient it is.

    Ours: in the published code a soft map changes the random start alone, since a positive factor before the sign of
    the gradient has no effect.
    """
    return Budget("linf", eps * (1 - salience))


def lowered(eps: float, eps_low: float, important: Tensor) -> Budget:
    """Returns the budget of PART: ``eps`` where ``important`` (bool [B, 1 or C, H, W]), ``eps_low`` elsewhere.

    Source: Zhou et al. 2024 (arXiv 2406.00685).
    """
    low, high = (torch.tensor(limit, device=important.device, dtype=torch.float32) for limit in (eps_low, eps))
    return Budget("linf", torch.where(important, high, low))
