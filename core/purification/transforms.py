"""Random transforms of AToP (Lin et al. 2024, arXiv 2401.16352, section 4.2): blocks go missing, noise is added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import ConfigError
from core.tensors import Images, Salience

Kind = Literal["rt1", "rt2", "rt3"]
Masks = Float[Tensor, "parts #batch 1 height width"]  # 1 = missing
Noise = Float[Tensor, "parts #batch channel height width"]  # in [0, 1] units


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Which random transform destroys part of a picture before the purifier completes it.

    Attributes:
        kind: ``"rt1"``: random blocks go missing; ``"rt2"``: Gaussian noise, cut to [0, 1], and then blocks go missing;
            ``"rt3"``: rt2 with several masks that share no block and together cover the picture, each completed for
            itself and every pixel taken from the completion in which it was missing.
        grid: blocks along each side of the picture (8: blocks of 4 pixels at 32×32).
        missing: share of the blocks that one mask removes; for rt3 one over the number of masks.
        sigma: standard deviation of the noise in [0, 1] units; rt1 has none.
    """

    kind: Kind = "rt2"
    grid: int = 8
    missing: float = 0.25
    sigma: float = 0.25

    def __post_init__(self) -> None:
        if self.grid < 2 or self.sigma < 0:
            raise ConfigError(f"grid, sigma: expected at least 2 and at least 0, got {self.grid}, {self.sigma}")
        if not 0 < self.missing < 1 or not _whole(self.missing * self.grid**2):
            raise ConfigError(
                f"missing: expected a share between 0 and 1 that is a whole number of the {self.grid**2} blocks, "
                f"got {self.missing}; choose k / {self.grid**2}"
            )
        if self.kind == "rt3" and not _whole(1 / self.missing):
            raise ConfigError(
                f"missing: rt3 needs masks that together cover the picture, so one over a whole number, "
                f"got {self.missing}; choose 1/2, 1/4, ..."
            )

    @property
    def blocks(self) -> int:
        """Blocks that one mask removes."""
        return round(self.missing * self.grid**2)

    @property
    def parts(self) -> int:
        """Masks, and so passes through the purifier, for each picture."""
        return round(1 / self.missing) if self.kind == "rt3" else 1


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What was drawn for a batch, or for every picture alike: masks, and noise unless it is rt1."""

    masks: Masks
    noise: Noise | None

    def inputs(self, x: Images) -> Images:
        """Returns what the purifier sees: [parts × B, C + 1, H, W], the transformed picture and its mask."""
        masks = self.masks.expand(-1, len(x), -1, -1, -1).to(x.dtype)
        noisy = x.expand(len(masks), *x.shape) if self.noise is None else (x + self.noise).clamp(0, 1)
        return torch.cat([(1 - masks) * noisy, masks], dim=2).flatten(0, 1)

    def merge(self, completed: Images) -> Images:
        """Returns one picture for each: the completion itself, or of several each where its mask is; [B, C, H, W]."""
        parts = completed.unflatten(0, (len(self.masks), -1))
        merged: Images = parts[0] if len(parts) == 1 else (self.masks * parts).sum(dim=0)
        return merged

    def covered(self, x: Images) -> Salience:
        """Returns 1 where some mask removed the pixel, else 0; [B, 1, H, W]."""
        return self.masks.amax(dim=0).expand(len(x), -1, -1, -1)


def draw(transform: Transform, x: Images, generator: torch.Generator, *, shared: bool = False) -> Draw:
    """Returns one draw of ``transform`` for the pictures ``x``.

    Args:
        transform: what to draw.
        x: pictures, [B, C, H, W]; only shape, device and dtype are used.
        generator: source of blocks and noise, on the device of ``x``.
        shared: one draw for all pictures, so that what happens to a picture does not depend on the batch it is in;
            otherwise each picture has its own.

    Raises:
        ConfigError: the grid does not divide the sides of the pictures.
    """
    pictures = 1 if shared else len(x)
    masks = _masks(transform, x, pictures, generator)
    if transform.kind == "rt1":
        return Draw(masks=masks, noise=None)
    shape = (transform.parts, pictures, *x.shape[1:])
    noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
    return Draw(masks=masks, noise=transform.sigma * noise)


def block_sides(transform: Transform, height: int, width: int) -> tuple[int, int]:
    """Returns height and width of a block in pixels.

    Raises:
        ConfigError: the grid does not divide the sides of the pictures.
    """
    if height % transform.grid or width % transform.grid:
        raise ConfigError(
            f"grid: expected a divisor of the pictures' sides, {height}×{width}, got {transform.grid}; "
            "choose another grid or another size of pictures"
        )
    return height // transform.grid, width // transform.grid


def _masks(transform: Transform, x: Images, pictures: int, generator: torch.Generator) -> Masks:
    rows, columns = block_sides(transform, x.shape[-2], x.shape[-1])
    places = torch.rand(pictures, transform.grid**2, generator=generator, device=x.device)
    ranks = places.argsort(dim=1, stable=True).argsort(dim=1)
    numbers = torch.arange(transform.parts, device=x.device)[:, None, None]
    missing = (ranks // transform.blocks == numbers).to(x.dtype)
    grid = missing.view(transform.parts, pictures, 1, transform.grid, transform.grid)
    masks: Masks = grid.repeat_interleave(rows, dim=3).repeat_interleave(columns, dim=4)
    return masks


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6
