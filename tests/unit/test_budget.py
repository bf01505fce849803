"""Laws of budgets and of the attacks within them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.attacks.budget import Budget, lowered, sparing_salient, sparing_softly, uniform
from core.attacks.pgd import Pgd, pgd
from core.errors import ConfigError, DataError
from core.evaluation import check
from core.networks.mode import frozen
from core.tensors import generator

SHAPES = st.sampled_from([(2, 3, 8, 8), (1, 3, 5, 9), (3, 1, 4, 4)])
LIMITS = st.sampled_from([0.0, 1 / 255, 8 / 255, 32 / 255, 1.0])


def images(shape, seed, name="images"):
    return torch.rand(shape, generator=generator("cpu", seed, name))


def limits(shape, seed, kind):
    """Returns limits of every kind of shape that a budget may have; about half of a map's elements are 0."""
    batch, _, height, width = shape
    size = {"scalar": (1, 1, 1, 1), "picture": (batch, 1, 1, 1), "pixel": (batch, 1, height, width), "element": shape}[
        kind
    ]
    drawn = torch.rand(size, generator=generator("cpu", seed, "limits")) * 32 / 255
    return drawn * (torch.rand(size, generator=generator("cpu", seed, "mask")) < 0.5) if kind != "scalar" else drawn


class Linear(nn.Module):
    """A linear classifier: PGD on it is exact after one full step."""

    def __init__(self, shape, seed=3):
        super().__init__()
        weight = torch.randn(4, *shape[1:], generator=generator("cpu", seed, "weight"))
        self.weight = nn.Parameter(weight)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return torch.einsum("bchw,kchw->bk", self.drop(x), self.weight)


KINDS = st.sampled_from(["scalar", "picture", "pixel", "element"])
SEEDS = st.integers(0, 10_000)


@given(SHAPES, KINDS, SEEDS)
def test_a_start_and_a_projection_stay_inside_the_budget_and_the_unit_range(shape, kind, seed):
    x, budget = images(shape, seed), Budget("linf", limits(shape, seed, kind))
    for candidate in (
        budget.random_start(x, generator("cpu", seed)),
        budget.normal_start(x, generator("cpu", seed)),
        budget.project(x, images(shape, seed, "far") * 3 - 1),
    ):
        assert float(budget.excess(x, candidate).max()) <= 1e-6
        assert 0 <= float(candidate.min()) <= float(candidate.max()) <= 1


@given(SHAPES, KINDS, SEEDS)
def test_projection_is_idempotent(shape, kind, seed):
    x, budget = images(shape, seed), Budget("linf", limits(shape, seed, kind))
    once = budget.project(x, images(shape, seed, "far"))
    torch.testing.assert_close(budget.project(x, once), once, atol=1e-7, rtol=0)


@given(SHAPES, KINDS, SEEDS)
def test_elements_without_budget_stay_bit_for_bit(shape, kind, seed):
    x, eps = images(shape, seed), limits(shape, seed, kind)
    adversarial = pgd(
        Linear(shape), x, torch.zeros(len(x), dtype=torch.int64), Budget("linf", eps), steps=3, step_size=0.1,
        generator=generator("cpu", seed),
    )  # fmt: skip
    still = (eps == 0).expand_as(x)
    assert torch.equal(adversarial[still], x[still])


@given(SHAPES, SEEDS)
def test_no_budget_is_identity(shape, seed):
    x = images(shape, seed)
    adversarial = pgd(
        Linear(shape), x, torch.zeros(len(x), dtype=torch.int64), uniform(0.0, x), steps=4, step_size=0.1,
        generator=generator("cpu", seed),
    )  # fmt: skip
    assert torch.equal(adversarial, x)


@given(SHAPES, SEEDS, LIMITS)
def test_excess_measures_what_leaves_the_budget(shape, seed, eps):
    x = images(shape, seed) * 0.2 + 0.4
    moved = x.clone()
    moved[0, 0, 0, 0] += eps + 0.01
    beyond = uniform(eps, x).excess(x, moved)
    assert float(beyond[0]) >= 0.01 - 1e-6
    assert bool((beyond[1:] == 0).all())


def test_the_evaluator_refuses_an_attack_that_leaves_its_budget():
    x = torch.full((2, 3, 4, 4), 0.5)
    check(x, x + 8 / 255, uniform(8 / 255, x))
    message = "expected changes of at most 0.031373 .linf., exceeded by .*the attack is at fault"
    with pytest.raises(DataError, match=message):
        check(x, x + 9 / 255, uniform(8 / 255, x))


def test_pgd_reaches_the_worst_case_of_a_linear_classifier():
    """On a linear two-class margin the worst point of the budget is known: −ε·sign of the weights' difference."""
    shape, eps = (5, 3, 6, 6), 4 / 255
    x, model = images(shape, 1) * 0.5 + 0.25, Linear(shape)
    with torch.no_grad():
        model.weight[2:] = -100 * x.mean() * model.weight[:1].abs()  # two classes never win
    y = torch.zeros(5, dtype=torch.int64)
    adversarial = pgd(model, x, y, uniform(eps, x), steps=10, step_size=eps / 2, generator=generator("cpu", 1))
    worst = x - eps * (model.weight[0] - model.weight[1]).sign()
    torch.testing.assert_close(adversarial, worst.detach(), atol=1e-6, rtol=0)


def test_sip_at_leaves_salient_pixels_alone_and_the_tie_may_change():
    salience = torch.tensor([[[[0.2, 0.5], [0.6, 1.0]]]])
    budget = sparing_salient(8 / 255, salience, threshold=0.5)
    assert (budget.eps > 0).flatten().tolist() == [True, True, False, False]
    assert budget.mask_area(torch.rand(1, 3, 2, 2)).tolist() == [0.5]


def test_a_normal_start_is_noise_of_a_thousandth_that_the_budget_cuts():
    x, narrow = torch.full((4, 3, 32, 32), 0.5), torch.zeros(1, 1, 32, 32)
    narrow[..., :16] = 1 / 255
    noise = Budget("linf", narrow).normal_start(x, generator("cpu", 1)) - x
    assert 0.0009 < noise[..., :16].std() < 0.0011
    assert (noise[..., 16:] == 0).all()
    cut = uniform(0.0005, x).normal_start(x, generator("cpu", 1)) - x
    torch.testing.assert_close(cut[..., :16], noise[..., :16].clamp(-0.0005, 0.0005), atol=1e-6, rtol=0)
    pushed = pgd(
        Linear((1, 3, 32, 32)), x, torch.zeros(4, dtype=torch.int64), uniform(0.1, x), steps=1, step_size=1e-6,
        generator=generator("cpu", 1), start="normal",
    )  # fmt: skip
    assert 0.0009 < (pushed - x).std() < 0.0011


def test_soft_sip_at_gives_a_pixel_the_less_the_more_salient_it_is():
    salience = torch.tensor([[[[0.0, 0.25], [0.5, 1.0]]]])
    torch.testing.assert_close(sparing_softly(0.1, salience).eps.flatten(), torch.tensor([0.1, 0.075, 0.05, 0.0]))


def test_part_lowers_the_limit_of_what_is_not_important():
    important = torch.tensor([[[[True, False]], [[False, False]]]])
    budget = lowered(8 / 255, 7 / 255, important)
    assert torch.equal(budget.eps * 255, torch.tensor([[[[8.0, 7.0]], [[7.0, 7.0]]]]))


@pytest.mark.parametrize("eps", [torch.full((1, 1, 1, 1), 8.0), torch.full((1, 1, 1, 1), -0.1), torch.zeros(3)])
def test_a_budget_in_grey_levels_is_refused(eps):
    with pytest.raises(ConfigError, match=r"budget: expected limits of shape .*8 grey levels are 8/255"):
        Budget("linf", eps)


@pytest.mark.parametrize("settings", [{"eps": 8.0}, {"steps": 0}, {"step_size": 0.0}])
def test_impossible_attack_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="expected"):
        Pgd(**settings)


def test_frozen_restores_mode_and_gradients_of_every_module_even_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model[1].eval()
    model[0].weight.requires_grad_(False)

    def fail():
        with frozen(model):
            assert not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [module.training for module in model] == [True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
