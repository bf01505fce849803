"""The one place that changes a model's mode or its parameters' ``requires_grad``; it restores what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.tensors import Classifier


@contextmanager
def frozen(model: Classifier) -> Iterator[Classifier]:
    """Yields ``model`` in evaluation mode with no gradients for its weights; restores both for every module."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval()
    for parameter, _ in wanted:
        parameter.requires_grad_(False)
    try:
        yield model
    finally:
        for module, training in modes:
            module.training = training
        for parameter, required in wanted:
            parameter.requires_grad_(required)
