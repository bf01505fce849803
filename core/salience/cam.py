"""Class-activation maps of one batch, computed together, each picture's map its own.

All act on the last feature grid, ``model.features(x)`` ([B, C, h, w]; of a transformer its token grid), from which
``model.classify`` makes the logits: one forward pass of the body and one backward pass of the head alone. The raw map
is up-sampled to the picture (``"bilinear"`` or ``"bicubic"``, pixel centres aligned, not corners; overshoot of the
latter is part of what is stretched), then stretched to 0..1; a map that is constant is 0 everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional

from core.errors import ConfigError
from core.networks.mode import frozen
from core.salience.scale import Common, Scale, stretched
from core.tensors import Classifier, Images, Labels, Logits, Salience

Upsampling = Literal["bilinear", "bicubic"]
Target = Literal["predicted", "label"]


@dataclass(frozen=True, kw_only=True)
class _OfRun(Common):
    """Settings of a map that a trained classifier gives.

    Attributes:
        run: directory of a finished run, whose classifier gives the maps.
        target: the class that the map is of: the one the classifier predicts, or the picture's label.
        upsampling: how the feature grid is brought to the size of the picture.
    """

    scale: Scale = "rank"
    run: Path
    target: Target = "predicted"
    upsampling: Upsampling = "bilinear"


@dataclass(frozen=True, kw_only=True)
class GradCam(_OfRun):
    """Settings of Grad-CAM."""

    source: Literal["grad-cam"] = "grad-cam"


@dataclass(frozen=True, kw_only=True)
class LayerCam(_OfRun):
    """Settings of LayerCAM."""

    source: Literal["layer-cam"] = "layer-cam"


@dataclass(frozen=True, kw_only=True)
class EigenCam(Common):
    """Settings of EigenCAM, which is of no class: ``run`` and ``upsampling`` as for Grad-CAM."""

    source: Literal["eigen-cam"] = "eigen-cam"
    scale: Scale = "rank"
    run: Path
    upsampling: Upsampling = "bilinear"


class _Explained(Protocol):
    def features(self, x: Images) -> Tensor: ...

    def classify(self, features: Tensor) -> Logits: ...


def grad_cam(
    model: Classifier, x: Images, classes: Labels | None = None, upsampling: Upsampling = "bilinear"
) -> Salience:
    """Returns Grad-CAM maps, float32 [B, 1, H, W] in [0, 1] (Selvaraju et al. 2017, arXiv 1610.02391, eq. 1 and 2).

    A channel's weight is the mean of the gradient of the class's logit over the grid; the map is the positive part of
    the weighted sum of channels.

    Args:
        model: a classifier with ``features`` and ``classify``; it runs in evaluation mode, which is restored.
        x: pictures, [B, C, H, W] in [0, 1].
        classes: the class to explain of each, [B]; without it the predicted one.
        upsampling: how the feature grid is brought to H × W.

    Raises:
        ConfigError: the model has no feature grid.
    """
    activation, gradient = _activation_and_gradient(model, x, classes)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return _shown((weights * activation).sum(dim=1, keepdim=True).relu(), x, upsampling)


def x_grad_cam(
    model: Classifier, x: Images, classes: Labels | None = None, upsampling: Upsampling = "bilinear"
) -> Salience:
    """Returns XGrad-CAM maps, as :func:`grad_cam` (Fu et al. 2020, arXiv 2008.02312).

    A channel's weight is the mean of the gradient over the grid, weighted by the channel's share of its activation. A
    channel whose activation sums to 0 has weight 0.
    """
    activation, gradient = _activation_and_gradient(model, x, classes)
    total = activation.sum(dim=(2, 3), keepdim=True)
    weights = (gradient * activation).sum(dim=(2, 3), keepdim=True) / torch.where(total == 0, torch.inf, total)
    return _shown((weights * activation).sum(dim=1, keepdim=True).relu(), x, upsampling)


def layer_cam(
    model: Classifier, x: Images, classes: Labels | None = None, upsampling: Upsampling = "bilinear"
) -> Salience:
    """Returns LayerCAM maps, as :func:`grad_cam` (Jiang et al. 2021, IEEE TIP 30, 5875-5888).

    Each element of the grid is weighted by the positive part of its own gradient; the map is the positive part of the
    sum over channels.
    """
    activation, gradient = _activation_and_gradient(model, x, classes)
    return _shown((gradient.relu() * activation).sum(dim=1, keepdim=True).relu(), x, upsampling)


def eigen_cam(model: Classifier, x: Images, upsampling: Upsampling = "bilinear") -> Salience:
    """Returns EigenCAM maps, as :func:`grad_cam`, of no class (Muhammad & Yeasin 2020, arXiv 2008.00299).

    The grid of a picture, a matrix of C × hw activations that are not centred, is projected on its first left singular
    vector. The sign of a singular vector is arbitrary: the one is taken for which the map sums to more than 0.
    """
    activation = _activation(model, x)
    with torch.autocast(x.device.type, enabled=False):
        projection = _first_projection(activation.flatten(2)).view(len(x), 1, *activation.shape[2:])
    sign = torch.where(projection.sum(dim=(2, 3), keepdim=True) < 0, -1.0, 1.0)
    return _shown(sign * projection, x, upsampling)


def _first_projection(matrices: Tensor) -> Tensor:
    """Returns uᵀA of each A = UΣVᵀ, which is σ₁v₁ᵀ, by the smaller of the two Gram matrices."""
    transposed = matrices.transpose(1, 2)
    if matrices.shape[1] < matrices.shape[2]:
        return _last_eigen(matrices @ transposed)[1] @ matrices
    values, vectors = _last_eigen(transposed @ matrices)
    return vectors * values.clamp(min=0).sqrt()


def _last_eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the largest eigenvalue of each matrix, [B, 1, 1], and its unit eigenvector, [B, 1, n]."""
    values, vectors = torch.linalg.eigh(symmetric)
    return values[:, -1, None, None], vectors[:, None, :, -1]


def _explained(model: Classifier) -> _Explained:
    methods = (getattr(model, name, None) for name in ("features", "classify"))
    if not all(map(callable, methods)):
        raise ConfigError(
            f"class-activation map: expected a classifier with features(x) and classify(features), got "
            f"{type(model).__name__}, which has no feature grid; use gradient-top-k"
        )
    return cast("_Explained", model)


def _activation(model: Classifier, x: Images) -> Tensor:
    explained = _explained(model)
    with frozen(model), torch.no_grad():
        return explained.features(x).float()


def _activation_and_gradient(model: Classifier, x: Images, classes: Labels | None) -> tuple[Tensor, Tensor]:
    """Returns the feature grid and the gradient there of the logit of each picture's class, both float32."""
    explained = _explained(model)
    with frozen(model):
        with torch.no_grad():
            point = explained.features(x).detach()
        with torch.enable_grad():
            logits = explained.classify(point.requires_grad_())
            chosen = logits.argmax(dim=1) if classes is None else classes
            (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), point)
    return point.detach().float(), gradient.float()


def _shown(raw: Tensor, x: Images, upsampling: Upsampling) -> Salience:
    return stretched(functional.interpolate(raw, x.shape[-2:], mode=upsampling, align_corners=False))
