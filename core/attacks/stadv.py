"""StAdv: pixels are moved, not changed (Xiao et al. 2018, arXiv 1801.02612); moves bounded in pixels.

The picture is sampled bilinearly at x + flow. The flow rises the margin loss less a penalty on differences between
neighbours' moves, by Adam. A bound on each move, of a map if need be, is ours: theirs has only the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from core.attacks.front import Front
from core.attacks.tries import Tries
from core.errors import ConfigError
from core.tensors import Images, PerPicture

Flow = Float[Tensor, "batch 2 height width"]  # moves in pixels, along x and along y

_BETAS = (0.9, 0.999)  # of Adam (Kingma & Ba 2015, arXiv 1412.6980)
_SMALL = 1e-8


@dataclass(frozen=True, kw_only=True)
class StAdv(Tries):
    """Settings of StAdv.

    Attributes:
        steps: of Adam.
        relative_rate: learning rate as a share of each pixel's limit.
        smoothness: weight of the penalty, τ of the paper.
    """

    steps: int = 50
    relative_rate: float = 0.2
    smoothness: float = 0.005

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("steps")
        if self.relative_rate <= 0 or self.smoothness < 0:
            raise ConfigError(
                f"stadv: expected relative_rate above 0 and smoothness of at least 0, got {self.relative_rate}, "
                f"{self.smoothness}"
            )

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        return self.named(f"stadv-{self.steps}")


def stadv(front: Front, settings: StAdv, generator: torch.Generator) -> Images:
    """Returns a fooling point for each picture of ``front`` where there was one, or else the last.

    Raises:
        ConfigError: the budget is not one of flows.
    """
    if front.budget.norm != "flow":
        raise ConfigError(
            f"stadv: expected a budget of norm 'flow' (limits in pixels), got {front.budget.norm!r}; use another attack"
        )
    shape = (len(front.x), 2, *front.x.shape[2:])
    limits = front.budget.eps.expand(len(front.x), 1, *front.x.shape[2:])
    flow = limits * (2 * torch.rand(shape, generator=generator, device=front.x.device) - 1) / 2
    first, second = torch.zeros_like(flow), torch.zeros_like(flow)
    for step in range(settings.steps):
        gradient = _gradient(front, flow, settings.smoothness)
        if (kept := front.leaving(step)) is not None:
            flow, gradient, first, second, limits = (values[kept] for values in (flow, gradient, first, second, limits))
            if front.empty:
                return front.found()
        first, second = first.lerp(gradient, 1 - _BETAS[0]), second.lerp(gradient.square(), 1 - _BETAS[1])
        mean, spread = first / (1 - _BETAS[0] ** (step + 1)), second / (1 - _BETAS[1] ** (step + 1))
        moved = flow + settings.relative_rate * limits * mean / (spread.sqrt() + _SMALL)
        flow = torch.maximum(torch.minimum(moved, limits), -limits)
    return front.found(otherwise=moved_by(front.x, flow))


def moved_by(x: Images, flow: Flow) -> Images:
    """Returns ``x`` sampled at each pixel's place plus its move, bilinearly; pixels that do not move stay bit for bit.

    Args:
        x: pictures, [B, C, H, W] in [0, 1].
        flow: moves in pixels, [B, 2, H, W], along x and along y; beyond the border the border's pixels count.
    """
    height, width = x.shape[2:]
    rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None] + flow[:, 1]
    columns = torch.arange(width, device=x.device, dtype=x.dtype) + flow[:, 0]
    grid = torch.stack([2 * columns / max(width - 1, 1) - 1, 2 * rows / max(height - 1, 1) - 1], dim=3)
    with torch.autocast(x.device.type, enabled=False):
        sampled = functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)
    still = (flow == 0).all(dim=1, keepdim=True)
    return torch.where(still, x, sampled.clamp(0, 1))


def roughness(flow: Flow) -> PerPicture:
    """Returns the sum over neighbours of √(Δu² + Δv²), in pixels (eq. 4 of the paper), each pair once."""
    down = (flow[:, :, 1:] - flow[:, :, :-1]).square().sum(dim=1)
    right = (flow[:, :, :, 1:] - flow[:, :, :, :-1]).square().sum(dim=1)
    pairs = torch.cat([down.flatten(1), right.flatten(1)], dim=1)
    return (pairs + _SMALL).sqrt().sum(dim=1)


def _gradient(front: Front, flow: Flow, smoothness: float) -> Flow:
    with torch.enable_grad():
        leaf = flow.detach().requires_grad_()
        moved = moved_by(front.x, leaf)
    _, slope = front.gradient(moved.detach(), "margin")
    with torch.enable_grad():
        objective = (moved * slope).sum() - smoothness * roughness(leaf).sum()
        (gradient,) = torch.autograd.grad(objective, leaf)
    return gradient
