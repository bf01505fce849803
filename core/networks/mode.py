"""The one place that changes a model's mode or its parameters' ``requires_grad``; it restores what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from core.tensors import Classifier

BatchNormMode = Literal["eval", "train"]


@contextmanager
def frozen(model: Classifier, batch_norm: BatchNormMode = "eval") -> Iterator[Classifier]:
    """Yields ``model`` in evaluation mode with no gradients for its weights; restores both for every module.

    Args:
        model: any model.
        batch_norm: ``"train"`` leaves batch norms that are in training mode there, so that they normalise by the batch
            at hand; their running statistics are restored afterwards. All else is in evaluation mode nevertheless.
    """
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    lively = [module for module, training in modes if training and isinstance(module, _BatchNorm)]
    lively = lively if batch_norm == "train" else []
    statistics = [(buffer, buffer.clone()) for module in lively for buffer in module.buffers()]
    model.eval()
    for norm in lively:
        norm.training = True
    for parameter, _ in wanted:
        parameter.requires_grad_(False)
    try:
        yield model
    finally:
        _restore(statistics)
        for module, training in modes:
            module.training = training
        for parameter, required in wanted:
            parameter.requires_grad_(required)


def _restore(statistics: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for buffer, before in statistics:
            buffer.copy_(before)
