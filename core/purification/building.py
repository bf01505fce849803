"""An AToP model from its settings: the classifier of a finished run behind a new purifier."""

from __future__ import annotations

import torch

from core import checkpoints
from core.objectives.atop import Atop
from core.purification.pipeline import Purified, compose
from core.purification.transforms import block_sides


def build(settings: Atop, size: int, seed: int) -> Purified:
    """Returns a new AToP model on the CPU, for pictures of ``size`` × ``size``, in front of ``settings.classifier``.

    Raises:
        ConfigError: the grid of blocks does not divide ``size``.
        RunError: the classifier's run is absent or not finished.
    """
    block_sides(settings.purification.transform, size, size)
    classifier = checkpoints.load_classifier(settings.classifier, torch.device("cpu"))
    return compose(settings.purification, classifier, seed)
