"""APGD and its losses: cases with known answers, and that it is not weaker than PGD."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core import attacks
from core.attacks import apgd as module
from core.attacks.apgd import Apgd
from core.attacks.budget import uniform
from core.attacks.losses import cross_entropy, dlr, targeted_dlr
from core.attacks.pgd import pgd
from core.errors import ConfigError
from core.tensors import generator
from tests.fitted_net import fitted_net


@pytest.fixture(scope="module")
def fitted():
    return fitted_net(12, 12)


def test_on_a_linear_classifier_it_finds_the_worst_point():
    weight = torch.randn(4, 3 * 6 * 6, generator=generator("cpu", 3))
    weight[2:] = 0
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.copy_(torch.tensor([0.0, 0.0, -1e4, -1e4]))
    x = torch.rand(4, 3, 6, 6, generator=generator("cpu", 1)) * 0.5 + 0.25
    y, eps = torch.zeros(4, dtype=torch.int64), 4 / 255
    moved = attacks.run(Apgd(steps=30), model, x, y, uniform(eps, x), generator("cpu", 1))
    worst = x - eps * (weight[0] - weight[1]).sign().view(1, 3, 6, 6)
    reached, possible = (cross_entropy(model(z), y) for z in (moved, worst))
    fooled = model(moved).argmax(1) != y
    assert bool((fooled | torch.isclose(reached, possible, atol=1e-3)).all())


def test_it_fools_at_least_as_many_as_pgd_with_as_many_steps(fitted):
    model, x, y = fitted
    budget = uniform(6 / 255, x)
    by_apgd = attacks.run(Apgd(steps=20), model, x, y, budget, generator("cpu", 1))
    by_pgd = pgd(model, x, y, budget, steps=20, step_size=2.5 * 6 / 255 / 20, generator=generator("cpu", 1))
    right = [int((model(z).argmax(1) == y).sum()) for z in (x, by_apgd, by_pgd)]
    assert right[0] > right[1]
    assert right[1] <= right[2]


def test_targeted_dlr_by_hand_and_its_invariances():
    logits = torch.tensor([[4.0, 1.0, 0.5, 0.0, -1.0]])
    y, target = torch.tensor([0]), torch.tensor([2])
    found = float(targeted_dlr(logits, y, target))
    assert found == pytest.approx(-(4.0 - 0.5) / (4.0 - (0.5 + 0.0) / 2))
    assert float(targeted_dlr(10 * logits + 3, y, target)) == pytest.approx(found, abs=1e-5)
    assert float(dlr(logits, y)) == pytest.approx(-(4.0 - 1.0) / (4.0 - 0.5))
    assert float(dlr(logits, target)) == pytest.approx((4.0 - 0.5) / (4.0 - 0.5))


def test_three_classes_are_too_few_for_it():
    with pytest.raises(ConfigError, match="targeted DLR: expected at least 4 classes, got 3; use cross-entropy"):
        targeted_dlr(torch.rand(1, 3), torch.tensor([0]), torch.tensor([1]))
    with pytest.raises(ConfigError, match="DLR: expected at least 3 classes, got 2; use cross-entropy"):
        dlr(torch.rand(1, 2), torch.tensor([0]))


def test_checks_come_at_the_published_places():
    """100 steps: the first window has 22, each is 3 shorter than the one before, none is shorter than 6."""
    windows = module._windows(100)
    assert list(windows.values())[:7] == [22, 19, 16, 13, 10, 7, 6]
    assert sum(windows.values()) == 100
    assert sum(module._windows(7).values()) == 7
