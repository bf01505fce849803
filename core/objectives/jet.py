"""The colour map "jet", through which PART's published code passes its heat maps."""

from __future__ import annotations

import torch

from core.tensors import Images, Salience


def jet(heat: Salience) -> Images:
    """Returns the RGB colours, [B, 3, H, W] in [0, 1], of values in [0, 1].

    Piecewise linear, with the break points of matplotlib's "jet": red rises from 0.35 to 0.66 and falls by half from
    0.89; green rises from 0.125 to 0.375 and falls from 0.64 to 0.91; blue begins at a half, rises to 0.11 and falls
    from 0.34 to 0.65. (Matplotlib rounds to 256 colours; this does not.)
    """
    red = _ramp(heat, 0.35, 0.66) - 0.5 * _ramp(heat, 0.89, 1.0)
    green = _ramp(heat, 0.125, 0.375) - _ramp(heat, 0.64, 0.91)
    blue = 0.5 + 0.5 * _ramp(heat, 0.0, 0.11) - _ramp(heat, 0.34, 0.65)
    return torch.cat([red, green, blue], dim=1)


def _ramp(heat: Salience, start: float, end: float) -> Salience:
    return ((heat - start) / (end - start)).clamp(0, 1)
