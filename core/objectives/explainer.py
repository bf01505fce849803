"""A copy of the trained classifier, as it was at its last refresh: PART may take its class-activation maps from it."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from core.tensors import Classifier


class Explainer:
    """Keeps the copy; the training loop asks for it at every step and saves it with its state."""

    def __init__(self, model: Classifier, every: int) -> None:
        """Copies ``model``, which is refreshed at every step that is a multiple of ``every``."""
        self._copy, self._every = copy.deepcopy(model), every

    def at(self, step: int, model: Classifier) -> Classifier:
        """Returns the copy to be used at ``step`` (from 0, over the whole training) of the training of ``model``."""
        if step % self._every == 0:
            self._copy.load_state_dict(model.state_dict())
        return self._copy

    def tensors(self) -> dict[str, Tensor]:
        """Returns the copy's weights and buffers, to be saved."""
        return dict(self._copy.state_dict())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Makes the copy what it was when ``tensors`` were saved."""
        self._copy.load_state_dict(tensors)
