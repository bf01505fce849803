"""Networks of torchvision without their heads, so that its weights fit name by name."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from core.networks.normalise import Normalise
from core.torchvision_cpu import torchvision

LEAST_SIDE = {"densenet-121": 29, "inception-v3": 75}  # below it a grid is smaller than the window that slides over it


def normalise() -> Normalise:
    """Returns the normalisation by ImageNet's statistics that torchvision's weights were trained with."""
    return Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def resnet_50() -> tuple[nn.Module, int]:
    """Returns ResNet-50 and its channels (He et al. 2016; torchvision's has the stride in the 3×3 convolution)."""
    model = _models().resnet50(weights=None)
    return nn.Sequential(OrderedDict(list(model.named_children())[:-2])), model.fc.in_features


def densenet_121() -> tuple[nn.Module, int]:
    """Returns DenseNet-121 and its channels (Huang et al. 2017, arXiv 1608.06993)."""
    model = _models().densenet121(weights=None)
    return nn.Sequential(OrderedDict(features=model.features, relu=nn.ReLU())), model.classifier.in_features


def inception_v3() -> tuple[nn.Module, int]:
    """Returns Inception-v3 and its channels (Szegedy et al. 2016, arXiv 1512.00567).

    Without the auxiliary head, and without dropout, so that equal seeds give equal weights. Its published weights were
    trained on pictures in −1..1: normalise by mean 0.5 and sd 0.5.
    """
    model = _models().inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=True, dropout=0.0
    )
    return nn.Sequential(OrderedDict(list(model.named_children())[:-3])), model.fc.in_features


def _models() -> Any:
    return torchvision().models
