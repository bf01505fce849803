"""The central idea: a budget is a tensor of limits, one for each image, channel and pixel if need be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import ConfigError
from core.tensors import Images, Limits, PerPicture, Salience

Norm = Literal["linf", "l2", "flow"]

_NORMAL_SD = 0.001  # of the start of TRADES and MART, in [0, 1] units
_TINY = 1e-12
_ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Budget:
    """How far each element of an image may move; owns random start, steps, projection and checking.

    With E the limits and δ the change of an image, a budget holds all δ with

    - ``"linf"``: |δ_i| ≤ E_i at each element; E within [0, 1].
    - ``"l2"``: Σ (δ_i / E_i)² ≤ 1; where all E_i = ε that is ‖δ‖₂ ≤ ε. E in [0, 1] units, of any size.
    - ``"flow"``: δ comes from moving pixels, by at most E_i pixels along each axis, and interpolating bilinearly.

    An element with limit 0 may not change.

    Attributes:
        norm: which of these.
        eps: limits E, of shape [B|1, C|1, H|1, W|1]; of a flow [B|1, 1, H|1, W|1].
    """

    norm: Norm
    eps: Limits

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2", "flow"):
            raise ConfigError(f"budget: expected norm 'linf', 'l2' or 'flow', got {self.norm!r}")
        highest = 1.0 if self.norm == "linf" else torch.inf
        if self.eps.ndim != 4 or not bool(((self.eps >= 0) & (self.eps <= highest)).all()):
            within = "within [0, 1] (8 grey levels are 8/255)" if self.norm == "linf" else "of at least 0"
            raise ConfigError(
                f"budget: expected limits of shape [B|1, C|1, H|1, W|1] {within}, "
                f"got shape {list(self.eps.shape)}, values {self.eps.min():.4g}..{self.eps.max():.4g}"
            )
        if self.norm == "flow" and self.eps.shape[1] != 1:
            raise ConfigError(f"budget: a flow moves all channels alike, got limits for {self.eps.shape[1]} channels")

    def random_start(self, x: Images, generator: torch.Generator) -> Images:
        """Returns ``x`` moved at random within the budget, and cut to [0, 1].

        Uniformly for ``"linf"``; for ``"l2"`` in a random direction by a uniform share of the budget.
        """
        if self.norm == "linf":
            uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            return self.project(x, x + (2 * uniform - 1) * self.eps)
        normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        share = torch.rand((len(x), 1, 1, 1), generator=generator, device=x.device, dtype=x.dtype)
        return self.project(x, x + share * self.eps * self.unit(normal))

    def normal_start(self, x: Images, generator: torch.Generator) -> Images:
        """Returns ``x`` moved by 0.001 · N(0, 1), and cut to the budget and to [0, 1]."""
        normal = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return self.project(x, x + _NORMAL_SD * normal)

    def unit(self, gradient: Images) -> Images:
        """Returns the step of length 1 that raises a loss of this gradient most, in units of the limits.

        ``x + eps * unit(gradient)`` is the far end of the budget: sign(g) for ``"linf"``, E g / ‖E g‖₂ for ``"l2"``.
        """
        match self.norm:
            case "linf":
                return gradient.sign()
            case "l2":
                scaled = self.eps * gradient
                return scaled / _norm(scaled).clamp(min=_TINY)
            case "flow":
                raise ConfigError("budget: a flow takes no steps in intensities; attack it with stadv")
            case unknown:
                assert_never(unknown)

    def project(self, x: Images, candidate: Images) -> Images:
        """Returns the point of the budget around ``x``, within [0, 1], that is nearest to ``candidate``.

        Nearest for ``"l2"`` in units of the limits: the change is scaled down, and set to 0 where the limit is 0.
        """
        match self.norm:
            case "linf":
                offset = torch.maximum(torch.minimum(candidate - x, self.eps), -self.eps)
            case "l2":
                offset = (candidate - x) * (self.eps > 0)
                offset = offset / _norm(offset / self.eps.clamp(min=_TINY)).clamp(min=1)
            case "flow":
                raise ConfigError("budget: intensities cannot be projected on a flow; attack it with stadv")
            case unknown:
                assert_never(unknown)
        return (x + offset).clamp(0, 1)

    def excess(self, x: Images, candidate: Images) -> PerPicture:
        """Returns by how much each ``candidate`` leaves the budget or [0, 1] at its worst element; 0 = inside.

        In [0, 1] units. Of a flow it is told from the pixels alone: by how much an element leaves the range of ``x`` in
        the window that it can have been moved from. Inside is necessary for a flow, not sufficient.
        """
        match self.norm:
            case "linf":
                beyond = (candidate - x).abs() - self.eps
            case "l2":
                beyond = self._beyond_l2(candidate - x)
            case "flow":
                beyond = self._beyond_flow(x, candidate)
            case unknown:
                assert_never(unknown)
        outside = torch.maximum(candidate - 1, -candidate)
        return torch.maximum(beyond, outside).flatten(1).amax(dim=1).clamp(min=0)

    def mask_area(self, x: Images) -> PerPicture:
        """Returns the share of pixels of each image that may change in some channel, 0..1."""
        allowed = (self.eps > 0).expand_as(x).any(dim=1)
        return allowed.float().flatten(1).mean(dim=1)

    def of(self, chosen: Tensor) -> Budget:
        """Returns the budget of the chosen pictures of its batch (bool or places)."""
        return self if len(self.eps) == 1 else dataclasses.replace(self, eps=self.eps[chosen])

    def _beyond_l2(self, offset: Images) -> Images:
        """Returns how much too long the change is, the same at all elements; and any change where the limit is 0.

        An element's change counts less the rounding of a float32 in [0, 1], which a small limit would blow up.
        """
        counted = (offset.abs() - _ROUNDING).clamp(min=0)
        length = _norm(counted / self.eps.clamp(min=_TINY) * (self.eps > 0))
        largest = self.eps.expand_as(offset).flatten(1).amax(dim=1).view(-1, 1, 1, 1)
        forbidden = offset.abs() * (self.eps == 0)
        return torch.maximum((length - 1) * largest, forbidden)

    def _beyond_flow(self, x: Images, candidate: Images) -> Images:
        radius = int(self.eps.max().ceil())
        beyond = (candidate - x).abs()  # of elements that may not move
        for reach in range(1, radius + 1):
            within = (self.eps > reach - 1) & (self.eps <= reach)
            padded = functional.pad(x, (reach,) * 4, mode="replicate")
            highest = functional.max_pool2d(padded, 2 * reach + 1, stride=1)
            lowest = -functional.max_pool2d(-padded, 2 * reach + 1, stride=1)
            beyond = torch.where(within, torch.maximum(candidate - highest, lowest - candidate), beyond)
        return beyond


def _norm(offset: Images) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(offset, dim=(1, 2, 3), keepdim=True)
    return lengths


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
