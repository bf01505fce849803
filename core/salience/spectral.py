"""Spectral residual salience (Hou & Zhang 2007, CVPR): what is unexpected in a picture's log amplitude spectrum."""

from __future__ import annotations

import torch
from torch.nn import functional

from core.tensors import Images, Salience


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
    return _gaussian(torch.fft.ifft2(residual).abs().square(), smoothing * min(x.shape[-2:]))


def _gaussian(maps: Salience, sd: float) -> Salience:
    radius = max(1, round(2.5 * sd))
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.softmax(-offsets.square() / (2 * sd**2), dim=0)
    padded = functional.pad(maps, (radius,) * 4, mode="reflect")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1))
