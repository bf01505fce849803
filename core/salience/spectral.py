"""Spectral residual salience (Hou & Zhang 2007, CVPR): what is unexpected in a picture's log amplitude spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

from core.errors import ConfigError
from core.salience.scale import Common, Scale
from core.salience.smoothing import gaussian
from core.tensors import Images, Salience


@dataclass(frozen=True, kw_only=True)
class SpectralResidual(Common):
    """Settings of spectral residual salience, which needs neither a model nor a download."""

    source: Literal["spectral-residual"] = "spectral-residual"
    scale: Scale = "rank"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale == "none":
            raise ConfigError(
                "salience: scale: expected 'rank' or 'min-max' for spectral-residual, whose raw values have no upper "
                "end, got 'none'"
            )


def spectral_residual(x: Images, smoothing: float = 1 / 16) -> Salience:
    """Returns unscaled salience (non-negative, [B, 1, H, W]) of pictures in [0, 1].

    The log amplitude spectrum of the luminance, less its 3×3 local mean, is transformed back with the phase kept; the
    squared magnitude is smoothed by a Gaussian whose sd is ``smoothing`` × the shorter side.
    """
    weights = x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    spectrum = torch.fft.fft2((x * weights).sum(dim=1, keepdim=True))
    log_amplitude = spectrum.abs().clamp(min=1e-8).log()
    expected = functional.avg_pool2d(functional.pad(log_amplitude, (1, 1, 1, 1), mode="circular"), 3, stride=1)
    residual = torch.polar((log_amplitude - expected).exp(), spectrum.angle())
    return gaussian(torch.fft.ifft2(residual).abs().square(), smoothing * min(x.shape[-2:]))
