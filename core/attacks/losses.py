"""What attacks raise: losses of each picture, aimed away from its class or at another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, assert_never

import torch
from torch.nn import functional

from core.errors import ConfigError
from core.tensors import Labels, Logits, PerPicture

PointLoss = Callable[[Logits, Labels], PerPicture]
Kind = Literal["ce", "dlr", "margin", "difference"]

_TINY = 1e-12


def cross_entropy(logits: Logits, y: Labels) -> PerPicture:
    """Returns the cross-entropy of each picture, in nats."""
    return functional.cross_entropy(logits.float(), y, reduction="none")


def margin(logits: Logits, y: Labels) -> PerPicture:
    """Returns the logit of class ``y`` less the largest other one: negative where another class wins."""
    values = logits.float()
    others = values.scatter(1, y[:, None], -torch.inf)
    return _of(values, y) - others.amax(1)


def dlr(logits: Logits, y: Labels) -> PerPicture:
    """Returns the difference-of-logits ratio −(z_y − max_{j≠y} z_j) / (z_(1) − z_(3)), z_(k) the k-th largest logit.

    Scaling or shifting all logits does not change it. Source: Croce & Hein 2020 (arXiv 2003.01690), eq. 6.

    Raises:
        ConfigError: there are fewer than three classes.
    """
    _need(logits, 3, "DLR")
    top = logits.float().topk(3, dim=1).values
    return -margin(logits, y) / (top[:, 0] - top[:, 2] + _TINY)


def targeted_dlr(logits: Logits, y: Labels, target: Labels) -> PerPicture:
    """Returns −(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2) towards ``target``; Croce & Hein 2020, eq. 7.

    Raises:
        ConfigError: there are fewer than four classes.
    """
    _need(logits, 4, "targeted DLR")
    values = logits.float()
    top = values.topk(4, dim=1).values
    return -(_of(values, y) - _of(values, target)) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + _TINY)


def raised(kind: Kind, logits: Logits, y: Labels, target: Labels | None) -> PerPicture:
    """Returns what an attack raises: the loss of class ``y``, or progress towards ``target`` if there is one."""
    match kind:
        case "ce":
            return cross_entropy(logits, y) if target is None else -cross_entropy(logits, target)
        case "dlr":
            return dlr(logits, y) if target is None else targeted_dlr(logits, y, target)
        case "margin":
            return -margin(logits, y) if target is None else margin(logits, target)
        case "difference":
            assert target is not None
            return _of(logits.float(), target) - _of(logits.float(), y)
        case unknown:
            assert_never(unknown)


def _of(values: Logits, y: Labels) -> PerPicture:
    return values.gather(1, y[:, None]).squeeze(1)


def _need(logits: Logits, classes: int, name: str) -> None:
    if logits.shape[1] < classes:
        raise ConfigError(f"{name}: expected at least {classes} classes, got {logits.shape[1]}; use cross-entropy")
