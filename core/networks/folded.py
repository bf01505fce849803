"""A copy of a classifier that answers attacks faster: batch norms folded into convolutions, channels last."""

from __future__ import annotations

import copy
import logging

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from core.purification.pipeline import Purified
from core.tensors import Classifier

log = logging.getLogger(__name__)


def folded(model: Classifier) -> Classifier:
    """Returns a copy of ``model`` for attacks: the same function up to rounding, in evaluation mode for good.

    Batch norm in evaluation mode is linear, so it can be folded into the convolution before it; what cannot be folded
    (a transformer, batch norm before convolution, a randomised model) stays as it is. Verdicts are the original's.
    """
    plain = copy.deepcopy(model).eval()
    if not isinstance(model, Purified):
        try:
            plain = _fused(fx.symbolic_trace(plain))
        except (fx.proxy.TraceError, TypeError, RuntimeError) as problem:
            log.debug("batch norms are not folded: %s", problem)
    plain.requires_grad_(requires_grad=False)
    plain.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stub
    return plain


def _fused(traced: fx.GraphModule) -> fx.GraphModule:
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or len(before.users) > 1:
            continue
        norm, convolution = (modules.get(str(place.target)) for place in (node, before))
        if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced
