"""Salience that looks at no picture: controls for the sources that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from core.errors import ConfigError
from core.salience.scale import Common, check_share, top_share
from core.salience.smoothing import gaussian
from core.tensors import Salience, generator

_BLOB = 1 / 8  # sd of the smoothing, as a share of the shorter side: blobs, not dust


@dataclass(frozen=True, kw_only=True)
class CentreGaussian(Common):
    """Settings of a bump in the middle of every picture; ``sigma`` is its sd as a share of the shorter side."""

    source: Literal["centre-gaussian"] = "centre-gaussian"
    sigma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sigma <= 0:
            raise ConfigError(f"salience: sigma: expected above 0 (a share of the shorter side), got {self.sigma}")


@dataclass(frozen=True, kw_only=True)
class RandomArea(Common):
    """Settings of random blobs that cover a ``share`` of each picture, another pattern for each picture."""

    source: Literal["random-area"] = "random-area"
    share: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("share", self.share)


def centre_gaussian(height: int, width: int, sigma: float) -> Salience:
    """Returns exp(−r² / 2(σ·min(H, W))²), r the distance of a pixel's centre from the picture's; [1, 1, H, W]."""
    rows = torch.arange(height) + 0.5 - height / 2
    columns = torch.arange(width) + 0.5 - width / 2
    squared = rows[:, None].square() + columns.square()
    return torch.exp(-squared / (2 * (sigma * min(height, width)) ** 2))[None, None]


def random_area(ids: Sequence[str], height: int, width: int, share: float, seed: int) -> Salience:
    """Returns 1 on round(``share`` × pixels) pixels of each picture, 0 elsewhere; [N, 1, H, W].

    They are the highest of white noise smoothed by a Gaussian with an sd of an eighth of the shorter side: some blobs
    of irregular outline. The noise is drawn from (seed, "random-area", id), hence is the picture's own.
    """
    noise = [torch.randn(1, height, width, generator=generator("cpu", seed, "random-area", name)) for name in ids]
    return top_share(gaussian(torch.stack(noise), _BLOB * min(height, width)), share)
