"""Square in L2: the laws of every attack, and those of its own bumps, windows and units."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core import attacks, networks
from core.attacks import autoattack
from core.attacks.budget import Budget
from core.attacks.front import Front
from core.attacks.losses import margin
from core.attacks.square import Square
from core.attacks.square_l2 import Bumps, _pair
from core.networks import Network
from core.tensors import generator
from tests.fitted_net import fitted_net

PICTURE = (3, 12, 10)


@pytest.fixture(scope="module")
def fitted():
    return fitted_net(*PICTURE[1:])


def right(model, x, y):
    return float((model(x).argmax(1) == y).float().mean())


def ball(eps):
    return Budget("l2", torch.full((1, 1, 1, 1), eps))


def a_map(seed, channels):
    """Returns limits of three pictures, of which about half are 0; of the last all are."""
    eps = torch.rand(3, channels, 8, 6, generator=generator("cpu", seed, "eps"))
    eps *= torch.rand(eps.shape, generator=generator("cpu", seed, "mask")) < 0.5
    eps[-1] = 0
    return Budget("l2", eps)


def linear():
    """A linear classifier of two classes on pictures of 3 × 12 × 10."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 2, bias=False))
    weight = torch.randn(360, generator=generator("cpu", 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([weight, -weight]))
    return model


@settings(max_examples=12)
@pytest.mark.parametrize("name", ["square-20", "square-7-r2", "aa-standard-3x2x10"])
@given(seed=st.integers(0, 1000), start=st.sampled_from([0.0, 0.5, 1.0]), channels=st.sampled_from([1, 3]))
def test_inside_the_map_and_the_unit_range_and_bit_for_bit_where_nothing_may_change(name, seed, start, channels):
    model = networks.build(Network(width=4), classes=5, seed=1).eval()
    x = torch.rand(3, 3, 8, 6, generator=generator("cpu", seed)) * (1 - start) + start / 2
    y, budget = torch.tensor([0, 1, 2]), a_map(seed, channels)
    moved = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", seed))
    assert float(budget.excess(x, moved).max()) <= 1e-6
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    still = (budget.eps == 0).expand_as(x)
    assert torch.equal(moved[still], x[still])


def test_no_budget_is_identity(fitted):
    model, x, y = fitted
    moved = attacks.run(Square(queries=20), model, x, y, ball(0.0), generator("cpu", 1))
    assert torch.equal(moved, x)


def test_it_takes_pictures_within_a_ball_and_within_a_map(fitted):
    model, x, y = fitted
    half = (torch.rand(60, 1, *PICTURE[1:], generator=generator("cpu", 5)) < 0.5).float()
    for budget in (ball(1.0), Budget("l2", 2 * half)):
        moved = attacks.run(Square(queries=300), model, x, y, budget, generator("cpu", 1))
        assert right(model, moved, y) <= right(model, x, y) - 0.1
        assert bool((moved != x).flatten(1).any(dim=1).all())


@pytest.mark.parametrize("within", ["ball", "map"])
def test_on_a_linear_model_more_queries_come_closer_to_the_best_point(within):
    """In [0.4, 0.6] nothing is cut, so the best point is known: all of the budget along the gradient."""
    model, x = linear(), 0.4 + 0.2 * torch.rand(16, *PICTURE, generator=generator("cpu", 1))
    limits = torch.rand(16, 1, *PICTURE[1:], generator=generator("cpu", 2)) * 0.02
    y, budget = model(x).argmax(1), ball(0.01) if within == "ball" else Budget("l2", limits)
    weight = (model[1].weight[0] - model[1].weight[1]).detach().view(PICTURE)
    most = (budget.eps * weight).flatten(1).norm(dim=1)
    reached = []
    for queries in (1, 30, 400):
        moved = attacks.run(Square(queries=queries), model, x, y, budget, generator("cpu", 1))
        reached.append(float(((margin(model(x), y) - margin(model(moved), y)) / most).detach().mean()))
    assert reached[0] < reached[1] < reached[2] <= 1 + 1e-4
    assert reached[2] > 0.3


def tried(budget, x):
    """Returns the start and five candidates, each from the last."""
    search = Bumps(Front(nn.Identity(), x, torch.zeros(len(x), dtype=torch.int64), budget), generator("cpu", 1))
    found = [search.start()]
    search.draw([0.1] * 5)
    for _ in range(5):
        found.append(search.candidate(found[-1]))
    return found


def test_limits_are_units():
    """Where nothing is cut, what is tried in a map is what is tried in a ball, stretched by the map."""
    x = torch.full((2, *PICTURE), 0.5)
    eps = 0.1 * torch.rand(2, *PICTURE, generator=generator("cpu", 2)) + 0.01
    for mapped, plain in zip(tried(Budget("l2", eps), x), tried(ball(0.1), x), strict=True):
        torch.testing.assert_close((mapped - x) / eps, (plain - x) / 0.1, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_of_the_budget_is_spent_from_the_start_where_nothing_is_cut(channels):
    x = torch.full((2, *PICTURE), 0.5)
    eps = torch.rand(2, channels, *PICTURE[1:], generator=generator("cpu", 1)) * 0.1
    eps *= torch.rand(eps.shape, generator=generator("cpu", 2)) < 0.5
    found = tried(Budget("l2", eps), x)
    for now in found:
        length = ((now - x) / eps.clamp(min=1e-12) * (eps > 0)).flatten(1).norm(dim=1)
        torch.testing.assert_close(length, torch.ones(2), atol=1e-3, rtol=0)
    assert all(bool((one != other).flatten(1).any(dim=1).all()) for one, other in pairwise(found))


def test_a_target_is_reached_and_no_other_class_counts(fitted):
    model, x, y = fitted
    target = (y + 1) % 5
    moved = attacks.run(Square(queries=300), model, x, y, ball(3.0), generator("cpu", 1), target=target)
    assert int((model(moved).argmax(1) == target).sum()) > int((model(x).argmax(1) == target).sum()) + 10


def test_the_same_seed_gives_the_same_pictures_and_another_one_others(fitted):
    model, x, y = fitted
    first, again, other = (
        attacks.run(Square(queries=40), model, x, y, ball(0.5), generator("cpu", seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("side", [3, 4, 5, 8])
@pytest.mark.parametrize("upright", [True, False])
def test_two_bumps_are_those_of_the_equation(side, upright):
    places, half = torch.arange(side)[None], side // 2
    found = _pair(places, places, torch.tensor([[side]]), torch.tensor([[[upright]]]))[0]
    wanted = torch.empty(side, side)
    for along in range(side):
        for across in range(side):
            length, first = (half, 0) if along < half else (side - half, half)
            far = max(abs(along - first - length // 2), abs(across - half))
            height = sum(1 / (half + 1 - k) ** 2 for k in range(half - far + 1))
            wanted[(along, across) if upright else (across, along)] = height if along < half else -height
    torch.testing.assert_close(found, wanted)
    assert bool((found != 0).all())


def test_an_ensemble_in_l2_holds_it():
    assert autoattack.usable(attacks.named("aa-standard"), 10, "l2") == ((0, 1, 2, 3), ())
