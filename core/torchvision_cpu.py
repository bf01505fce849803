"""torchvision on any torch: its import fails where its compiled operators are absent, as with a CPU-only torch."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType

import torch

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


@cache
def torchvision() -> ModuleType:
    """Returns the module torchvision; models, data sets and transforms work, whether or not its operators are there.

    Importing torchvision registers fake kernels for operators that its compiled extension should have declared. Where
    the extension does not load, we declare the schemas of those operators first; calling one of them still fails.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    return _import_with_schemas()


def _import_with_schemas() -> ModuleType:
    library = torch.library.Library("torchvision", "DEF")  # lives as long as the process: the cache keeps the module
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    module = importlib.import_module("torchvision")
    _libraries.append(library)
    return module


_libraries: list[torch.library.Library] = []
