"""What all salience sources share: their settings, the scale of a map, and which pictures go without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from core import rng
from core.errors import ConfigError
from core.tensors import Salience

Scale = Literal["rank", "min-max", "none"]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Settings that every salience source has.

    Attributes:
        source: name of the source; the tag by which the ``[salience]`` table is told apart.
        scale: ``"rank"``: a pixel's value is the share of the other pixels of its picture that lie below it, so that a
            threshold τ spares the share 1 − τ of every picture (less where values tie); ``"min-max"``: the raw map
            stretched to 0..1; ``"none"``: as the source gives it.
        unannotated: share of the training pictures, 0..1, whose map is taken away: all zero, so that every pixel may
            be perturbed.
    """

    source: str
    scale: Scale = "none"
    unannotated: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.unannotated <= 1:
            raise ConfigError(f"salience: unannotated: expected a share from 0 to 1, got {self.unannotated}")


def check_share(name: str, share: float) -> None:
    """Refuses a share of the picture that is not above 0 and at most 1.

    Raises:
        ConfigError: it is not.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"salience: {name}: expected above 0 and at most 1, got {share}")


def scaled(raw: Salience, scale: Scale) -> Salience:
    """Returns maps on ``scale``, each by itself; a constant map is 0 on ``"rank"`` and ``"min-max"``."""
    match scale:
        case "rank":
            return _ranked(raw)
        case "min-max":
            return stretched(raw)
        case "none":
            return raw
        case unknown:
            assert_never(unknown)


def stretched(raw: Salience) -> Salience:
    """Returns each map stretched to 0..1; a constant map becomes 0."""
    low, high = raw.amin((2, 3), keepdim=True), raw.amax((2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 0, (raw - low) / torch.where(span > 0, span, 1), 0)


def top_share(raw: Salience, share: float) -> Salience:
    """Returns 1 at the round(``share`` × pixels) largest values of each map, 0 elsewhere; earlier pixels win ties."""
    values = raw.flatten(1)
    best = values.argsort(dim=1, descending=True, stable=True)[:, : round(share * values.shape[1])]
    return torch.zeros_like(values).scatter(1, best, 1.0).view_as(raw)


def unannotated_rows(ids: Sequence[str], share: float, seed: int) -> Tensor:
    """Returns which pictures go without a map, bool [N]: exactly round(``share`` × N) of them.

    They are the pictures whose number drawn from (seed, "unannotated", id) is lowest: the choice depends on names, not
    on the order of the pictures.
    """
    drawn = sorted(range(len(ids)), key=lambda row: rng.derive(seed, "unannotated", ids[row]))
    rows = torch.zeros(len(ids), dtype=torch.bool)
    rows[drawn[: round(share * len(ids))]] = True
    return rows


def _ranked(raw: Salience) -> Salience:
    values = raw.flatten(1).contiguous()
    below = torch.searchsorted(values.sort(dim=1).values, values)
    return (below.float() / max(1, values.shape[1] - 1)).view_as(raw)
