"""APGD: laws of its budget, a case with a known answer, and that it is not weaker than PGD."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core import networks
from core.attacks import apgd as module
from core.attacks.apgd import apgd, targeted_dlr
from core.attacks.autoattack import AaFast, aa_fast
from core.attacks.budget import Budget, uniform
from core.attacks.losses import cross_entropy
from core.attacks.pgd import pgd
from core.errors import ConfigError
from core.networks import Network
from core.tensors import generator


@pytest.fixture(scope="module")
def fitted():
    """A small net that was trained for a moment on noise patterns, so that its margins are not all alike."""
    model = networks.build(Network(width=4), classes=5, seed=1)
    x = torch.rand(60, 3, 12, 12, generator=generator("cpu", 1))
    y = torch.arange(60) % 5
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(60):
        optimiser.zero_grad()
        cross_entropy(model(x), y).mean().backward()
        optimiser.step()
    return model.eval(), x, y


@given(st.integers(0, 1000), st.sampled_from([1, 3, 10]))
def test_inside_a_map_and_the_unit_range_and_bit_for_bit_where_nothing_may_change(seed, steps):
    model = networks.build(Network(width=4), classes=5, seed=1)
    x = torch.rand(3, 3, 8, 8, generator=generator("cpu", seed))
    eps = torch.rand(3, 1, 8, 8, generator=generator("cpu", seed, "eps")) * 0.1
    eps *= torch.rand(eps.shape, generator=generator("cpu", seed, "mask")) < 0.5
    budget = Budget("linf", eps)
    y = torch.tensor([0, 1, 2])
    moved = apgd(model, x, y, budget, steps=steps, generator=generator("cpu", seed), loss=targeted_dlr((y + 1) % 5))
    assert float(budget.excess(x, moved).max()) <= 1e-6
    still = (eps == 0).expand_as(x)
    assert torch.equal(moved[still], x[still])


def test_on_a_linear_classifier_it_finds_the_worst_point():
    weight = torch.randn(4, 3 * 6 * 6, generator=generator("cpu", 3))
    weight[2:] = 0
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.copy_(torch.tensor([0.0, 0.0, -1e4, -1e4]))
    x = torch.rand(4, 3, 6, 6, generator=generator("cpu", 1)) * 0.5 + 0.25
    y, eps = torch.zeros(4, dtype=torch.int64), 4 / 255
    moved = apgd(model, x, y, uniform(eps, x), steps=30, generator=generator("cpu", 1))
    worst = x - eps * (weight[0] - weight[1]).sign().view(1, 3, 6, 6)
    reached, possible = (cross_entropy(model(z), y) for z in (moved, worst))
    fooled = model(moved).argmax(1) != y
    assert bool((fooled | torch.isclose(reached, possible, atol=1e-3)).all())


def test_it_fools_at_least_as_many_as_pgd_with_as_many_steps(fitted):
    model, x, y = fitted
    budget = uniform(6 / 255, x)
    by_apgd = apgd(model, x, y, budget, steps=20, generator=generator("cpu", 1))
    by_pgd = pgd(model, x, y, budget, steps=20, step_size=2.5 * 6 / 255 / 20, generator=generator("cpu", 1))
    right = [int((model(z).argmax(1) == y).sum()) for z in (x, by_apgd, by_pgd)]
    assert right[0] > right[1]
    assert right[1] <= right[2]


def test_no_budget_is_identity(fitted):
    model, x, y = fitted
    assert torch.equal(apgd(model, x, y, uniform(0.0, x), steps=3, generator=generator("cpu", 1)), x)


def test_targeted_dlr_by_hand_and_its_invariances():
    logits = torch.tensor([[4.0, 1.0, 0.5, 0.0, -1.0]])
    y, target = torch.tensor([0]), torch.tensor([2])
    loss = targeted_dlr(target)
    assert float(loss(logits, y)) == pytest.approx(-(4.0 - 0.5) / (4.0 - (0.5 + 0.0) / 2))
    assert float(loss(10 * logits + 3, y)) == pytest.approx(float(loss(logits, y)), abs=1e-5)


def test_three_classes_are_too_few_for_it():
    with pytest.raises(ConfigError, match="targeted DLR: expected at least 4 classes, got 3; use cross-entropy"):
        targeted_dlr(torch.tensor([1]))(torch.rand(1, 3), torch.tensor([0]))


def test_checks_come_at_the_published_places():
    """100 steps: the first window has 22, each is 3 shorter than the one before, none is shorter than 6."""
    windows = module._windows(100)
    assert list(windows.values())[:7] == [22, 19, 16, 13, 10, 7, 6]
    assert sum(windows.values()) == 100
    assert sum(module._windows(7).values()) == 7


def test_the_ensemble_is_at_least_as_strong_as_its_first_part_and_keeps_what_stands(fitted):
    model, x, y = fitted
    eps = torch.rand(len(x), 1, 12, 12, generator=generator("cpu", 2)) * 12 / 255
    budget = Budget("linf", eps)
    by_ensemble = aa_fast(model, x, y, budget, AaFast(steps=10, targets=9), generator("cpu", 1))
    by_first = apgd(model, x, y, budget, steps=10, generator=generator("cpu", 1))
    stands, clean = model(by_ensemble).argmax(1) == y, model(x).argmax(1) == y
    assert float(budget.excess(x, by_ensemble).max()) <= 1e-6
    assert 0 < int(stands.sum()) <= int((model(by_first).argmax(1) == y).sum()) < int(clean.sum())
    assert torch.equal(by_ensemble[stands | ~clean], x[stands | ~clean])


def test_with_three_classes_the_targeted_part_falls_out():
    model = networks.build(Network(width=4), classes=3, seed=1)
    x, y = torch.rand(4, 3, 8, 8, generator=generator("cpu", 1)), torch.zeros(4, dtype=torch.int64)
    assert aa_fast(model, x, y, uniform(0.1, x), AaFast(steps=2), generator("cpu", 1)).shape == x.shape


def test_an_ensemble_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="aa-fast: steps, targets: expected at least 1, got 0, 9"):
        AaFast(steps=0)
