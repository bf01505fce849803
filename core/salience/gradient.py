"""Gradient salience: the pixels on which the loss depends most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from core.attacks.losses import cross_entropy
from core.attacks.pgd import input_gradient
from core.errors import ConfigError
from core.networks.mode import frozen
from core.salience.cam import Target
from core.salience.scale import Common, check_share, top_share
from core.salience.smoothing import gaussian
from core.tensors import Classifier, Images, Labels, Salience


@dataclass(frozen=True, kw_only=True)
class GradientTopK(Common):
    """Settings of gradient salience.

    Attributes:
        run: directory of a finished run, whose classifier gives the gradients.
        target: the class of the loss: the one the classifier predicts, or the picture's label.
        share: of the picture's pixels that are salient.
        smoothing: sd of the Gaussian, as a share of the shorter side; 0 = none.
    """

    source: Literal["gradient-top-k"] = "gradient-top-k"
    run: Path
    target: Target = "predicted"
    share: float = 0.25
    smoothing: float = 1 / 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("share", self.share)
        if not 0 <= self.smoothing <= 1:
            raise ConfigError(f"salience: smoothing: expected 0 to 1 (of the shorter side), got {self.smoothing}")


def gradient_top_k(
    model: Classifier, x: Images, classes: Labels | None = None, share: float = 0.25, smoothing: float = 1 / 32
) -> Salience:
    """Returns 1 at the ``share`` of pixels whose smoothed gradient is largest, 0 elsewhere; float32 [B, 1, H, W].

    The gradient is that of the cross-entropy with respect to the picture, absolute, summed over the channels. A pixel
    without any gradient is never salient, so that a picture may have fewer than its share.

    Args:
        model: any classifier; it runs in evaluation mode, which is restored.
        x: pictures, [B, C, H, W] in [0, 1].
        classes: the class of the loss of each picture, [B]; without it the predicted one.
        share: of the pixels.
        smoothing: sd of the Gaussian as a share of the shorter side.
    """
    with frozen(model):
        if classes is None:
            with torch.no_grad():
                classes = model(x).argmax(dim=1)
        strength = input_gradient(model, x, classes, cross_entropy).float().abs().sum(dim=1, keepdim=True)
    with torch.autocast(x.device.type, enabled=False):
        smooth = gaussian(strength, smoothing * min(x.shape[-2:]))
    return top_share(smooth, share) * (smooth > 0)
