"""APGD, PGD with a step size that adapts itself (Croce & Hein 2020, arXiv 2003.01690), within any budget map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from core.attacks.budget import Budget
from core.attacks.pgd import PointLoss, cross_entropy
from core.errors import ConfigError
from core.networks.mode import frozen
from core.tensors import Classifier, Images, Labels, Logits, PerPicture

_MOMENTUM = 0.75  # weight of the new step against the last one
_RISING = 0.75  # share of a window's steps in which the loss must rise for the step size to stay


def targeted_dlr(targets: Labels) -> PointLoss:
    """Returns the targeted difference-of-logits-ratio loss towards ``targets`` (Croce & Hein 2020, eq. 7).

    −(z_y − z_t) / (z_(1) − (z_(3) + z_(4)) / 2), with z_(k) the k-th largest logit; scaling or shifting all logits does
    not change it.

    Raises:
        ConfigError: when called, if the classifier has fewer than four classes.
    """

    def loss(logits: Logits, y: Labels) -> PerPicture:
        if logits.shape[1] < 4:
            raise ConfigError(f"targeted DLR: expected at least 4 classes, got {logits.shape[1]}; use cross-entropy")
        values = logits.float()
        top = values.topk(4, dim=1).values
        gap = values.gather(1, y[:, None]) - values.gather(1, targets[:, None])
        return (-gap / (top[:, :1] - (top[:, 2:3] + top[:, 3:4]) / 2 + 1e-12)).squeeze(1)

    return loss


def apgd(
    model: Classifier,
    x: Images,
    y: Labels,
    budget: Budget,
    *,
    steps: int,
    generator: torch.Generator,
    loss: PointLoss = cross_entropy,
) -> Images:
    """Returns ``x`` moved within ``budget``: the last iterate that was misclassified, or else the one of largest loss.

    Args:
        model: maps images in [0, 1] to logits; in evaluation mode meanwhile.
        x: pictures, [B, C, H, W] in [0, 1].
        y: their classes, [B].
        budget: limits; elements with limit 0 stay bit for bit what they were.
        steps: gradient steps; the step size begins at twice the limits and is halved where progress ends.
        generator: source of the random start, on the device of ``x``.
        loss: per-picture loss to raise.
    """
    with frozen(model):
        state = _begin(model, x, y, budget, generator, loss)
        windows = _windows(steps)
        for step in range(steps):
            state = _move(state, model, x, y, budget, loss, first=step == 0)
            if step + 1 in windows:
                state = _adapt(state, windows[step + 1])
    return torch.where(_wide(state.fooled), state.misclassified, state.best)


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
    misclassified: Images
    fooled: Tensor
    factor: PerPicture  # step size in units of the limits
    rises: PerPicture  # steps of this window in which the loss rose
    value_at_check: PerPicture
    halved_at_check: Tensor


def _begin(
    model: Classifier, x: Images, y: Labels, budget: Budget, generator: torch.Generator, loss: PointLoss
) -> _State:
    start = budget.random_start(x, generator)
    value, gradient, wrong = _evaluate(model, start, y, loss)
    return _State(
        now=start,
        before=start,
        gradient=gradient,
        value=value,
        best=start,
        best_gradient=gradient,
        best_value=value,
        misclassified=start,
        fooled=wrong,
        factor=torch.full_like(value, 2.0),
        rises=torch.zeros_like(value),
        value_at_check=value,
        halved_at_check=torch.ones_like(wrong),
    )


def _move(
    state: _State, model: Classifier, x: Images, y: Labels, budget: Budget, loss: PointLoss, *, first: bool
) -> _State:
    ahead = budget.project(x, state.now + _wide(state.factor) * budget.eps * state.gradient.sign())
    if not first:
        drift = _MOMENTUM * (ahead - state.now) + (1 - _MOMENTUM) * (state.now - state.before)
        ahead = budget.project(x, state.now + drift)
    value, gradient, wrong = _evaluate(model, ahead, y, loss)
    better = value > state.best_value
    state.rises += (value > state.value).to(value.dtype)
    state.before, state.now, state.gradient, state.value = state.now, ahead, gradient, value
    state.best = torch.where(_wide(better), ahead, state.best)
    state.best_gradient = torch.where(_wide(better), gradient, state.best_gradient)
    state.best_value = torch.where(better, value, state.best_value)
    state.misclassified = torch.where(_wide(wrong), ahead, state.misclassified)
    state.fooled = state.fooled | wrong
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


def _evaluate(model: Classifier, x: Images, y: Labels, loss: PointLoss) -> tuple[PerPicture, Images, Tensor]:
    """Returns the loss of each picture, its gradient, and which pictures are misclassified."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        values = loss(logits, y)
        (gradient,) = torch.autograd.grad(values.sum(), point)
    return values.detach(), gradient, logits.detach().argmax(1) != y


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
