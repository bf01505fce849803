"""APGD, PGD with a step size that adapts itself (Croce & Hein 2020, arXiv 2003.01690), within any budget map."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.front import Front
from core.attacks.losses import Kind
from core.attacks.tries import Tries
from core.tensors import Images, PerPicture

_MOMENTUM = 0.75  # weight of the new step against the last one
_RISING = 0.75  # share of a window's steps in which the loss must rise for the step size to stay


@dataclass(frozen=True, kw_only=True)
class Apgd(Tries):
    """Settings of APGD.

    Attributes:
        loss: ``"ce"``: cross-entropy; ``"dlr"``: difference-of-logits ratio, its targeted form where there are targets.
        steps: gradient steps; the step size begins at twice the limits and is halved where progress ends.
    """

    loss: Kind = "ce"
    steps: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("steps")

    @property
    def name(self) -> str:
        """The name of the attack in all files."""
        kind = f"apgd-t-{self.steps}x{self.targets}" if self.targets else f"apgd-{self.loss}-{self.steps}"
        return self.named(kind)


def apgd(front: Front, settings: Apgd, generator: torch.Generator) -> Images:
    """Returns a fooling point for each picture of ``front`` where there was one, or else the one of largest loss."""
    state = _begin(front, settings.loss, generator)
    windows = _windows(settings.steps)
    for step in range(settings.steps):
        state = _move(state, front, settings.loss, first=step == 0)
        if step + 1 in windows:
            state = _adapt(state, windows[step + 1])
        if (kept := front.leaving(step)) is not None:
            state = _State(**{field.name: getattr(state, field.name)[kept] for field in dataclasses.fields(state)})
            if front.empty:
                break
    return front.found(otherwise=state.best)


@dataclass(kw_only=True)
class _State:
    """Where the attack on each picture stands; all tensors have the batch first."""

    now: Images
    before: Images
    gradient: Images
    value: PerPicture
    best: Images
    best_gradient: Images
    best_value: PerPicture
    factor: PerPicture  # step size in units of the limits
    rises: PerPicture  # steps of this window in which the loss rose
    value_at_check: PerPicture
    halved_at_check: Tensor


def _begin(front: Front, loss: Kind, generator: torch.Generator) -> _State:
    start = front.budget.random_start(front.x, generator)
    value, gradient = front.gradient(start, loss)
    return _State(
        now=start,
        before=start,
        gradient=gradient,
        value=value,
        best=start,
        best_gradient=gradient,
        best_value=value,
        factor=torch.full_like(value, 2.0),
        rises=torch.zeros_like(value),
        value_at_check=value,
        halved_at_check=torch.ones_like(value, dtype=torch.bool),
    )


def _move(state: _State, front: Front, loss: Kind, *, first: bool) -> _State:
    budget, x = front.budget, front.x
    ahead = budget.project(x, state.now + _wide(state.factor) * budget.eps * budget.unit(state.gradient))
    if not first:
        drift = _MOMENTUM * (ahead - state.now) + (1 - _MOMENTUM) * (state.now - state.before)
        ahead = budget.project(x, state.now + drift)
    value, gradient = front.gradient(ahead, loss)
    better = value > state.best_value
    state.rises += (value > state.value).to(value.dtype)
    state.before, state.now, state.gradient, state.value = state.now, ahead, gradient, value
    state.best = torch.where(_wide(better), ahead, state.best)
    state.best_gradient = torch.where(_wide(better), gradient, state.best_gradient)
    state.best_value = torch.where(better, value, state.best_value)
    return state


def _adapt(state: _State, window: int) -> _State:
    """Halves the step size of pictures whose loss does not rise any more, and takes these back to their best point."""
    stuck = ~state.halved_at_check & (state.best_value <= state.value_at_check)
    halve = (state.rises <= _RISING * window) | stuck
    state.factor = torch.where(halve, state.factor / 2, state.factor)
    state.now = torch.where(_wide(halve), state.best, state.now)
    state.before = torch.where(_wide(halve), state.best, state.before)
    state.gradient = torch.where(_wide(halve), state.best_gradient, state.gradient)
    state.value = torch.where(halve, state.best_value, state.value)
    state.value_at_check, state.halved_at_check = state.best_value, halve
    state.rises = torch.zeros_like(state.rises)
    return state


def _windows(steps: int) -> dict[int, int]:
    """Returns the steps after which progress is checked, with the length of the window that ends there."""
    percent, window, last = 0, 22, 0
    windows = {}
    while percent < 100:
        percent, window = percent + window, max(window - 3, 6)
        step = min(steps, math.ceil(percent * steps / 100))
        if step > last:
            windows[step], last = step - last, step
    return windows


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
