"""Where an attack may change a picture: everywhere, where it is salient, or in the background."""

from __future__ import annotations

from typing import Literal, assert_never

import torch

from core.attacks.budget import Budget, Norm
from core.errors import DataError
from core.tensors import Images, Salience

Region = Literal["full", "salient", "background"]


def budget_in(
    region: Region, norm: Norm, eps: float, x: Images, salience: Salience | None = None, threshold: float = 0.5
) -> Budget:
    """Returns the budget ``eps`` inside ``region`` of the pictures ``x``, 0 outside.

    ``"salient"`` is where salience is above ``threshold``: what SIP-AT never saw perturbed, so its adaptive attack.
    ``"background"`` is the rest, the tie included, as in SIP-AT's own budget.

    Args:
        region: where.
        norm: of the budget.
        eps: in the units of ``norm``.
        x: pictures, [B, C, H, W].
        salience: their maps; ``"full"`` needs none.
        threshold: τ.

    Raises:
        DataError: maps are absent, or of another size than the pictures.
    """
    if region == "full":
        return Budget(norm, torch.full((1, 1, 1, 1), eps, device=x.device, dtype=x.dtype))
    if salience is None:
        raise DataError(f"region {region!r}: expected salience maps, got none; name a source of maps")
    if (found := tuple(salience.shape)) != (expected := (len(x), 1, *x.shape[2:])):
        raise DataError(
            f"region {region!r}: expected maps of shape {expected}, got {found}; make maps of these pictures"
        )
    match region:
        case "salient":
            allowed = salience > threshold
        case "background":
            allowed = salience <= threshold
        case unknown:
            assert_never(unknown)
    return Budget(norm, eps * allowed.to(x.dtype))
