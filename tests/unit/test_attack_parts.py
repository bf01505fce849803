"""The parts of attacks against known answers: budgets of every norm, FAB's projections, squares, flows, folding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from core import attacks, networks
from core.attacks import singles
from core.attacks.budget import Budget, uniform
from core.attacks.fab import Fab, shortest
from core.attacks.front import Front
from core.attacks.square import _share_after
from core.attacks.stadv import moved_by, roughness
from core.attacks.windows import Box
from core.errors import ConfigError
from core.networks import Network
from core.networks.folded import folded
from core.purification.pipeline import Purification, compose
from core.purification.transforms import Transform
from core.tensors import generator
from tests.fitted_net import fitted_net

# ---- budgets: L2 and flow ----


def euclidean(seed, batch=3):
    """Returns pictures and an L2 budget with limits of its own at each pixel, half of them 0."""
    x = torch.rand(batch, 3, 5, 4, generator=generator("cpu", seed))
    eps = torch.rand(batch, 1, 5, 4, generator=generator("cpu", seed, "eps")) * 2
    return x, Budget("l2", eps * (torch.rand(eps.shape, generator=generator("cpu", seed, "mask")) < 0.5))


@given(st.integers(0, 10_000))
def test_an_l2_projection_is_inside_idempotent_and_leaves_what_is_inside(seed):
    x, budget = euclidean(seed)
    far = x + 3 * torch.randn(x.shape, generator=generator("cpu", seed, "far"))
    once = budget.project(x, far)
    assert float(budget.excess(x, once).max()) <= 1e-6
    torch.testing.assert_close(budget.project(x, once), once, atol=1e-6, rtol=0)
    assert torch.equal(once[(budget.eps == 0).expand_as(x)], x[(budget.eps == 0).expand_as(x)])


@given(st.integers(0, 10_000))
def test_with_one_limit_for_all_an_l2_budget_is_the_ball(seed):
    x = torch.full((2, 3, 4, 4), 0.5)
    budget, far = uniform_l2(0.7), x + torch.randn(x.shape, generator=generator("cpu", seed))
    offset = (far - x).flatten(1)
    nearest = 0.5 + offset * (0.7 / offset.norm(dim=1, keepdim=True)).clamp(max=1)
    torch.testing.assert_close(budget.project(x, far).flatten(1), nearest.clamp(0, 1), atol=1e-6, rtol=0)
    start = budget.random_start(x, generator("cpu", seed))
    assert bool(((start - x).flatten(1).norm(dim=1) <= 0.7 + 1e-6).all())


def uniform_l2(eps):
    return Budget("l2", torch.full((1, 1, 1, 1), eps))


def test_l2_excess_measures_what_leaves_the_ball_and_the_mask():
    x, eps = torch.full((3, 1, 2, 2), 0.5), torch.tensor([[[[0.2, 0.2], [0.2, 0.0]]]])
    moved = x.clone()
    moved[0, 0, 0] += torch.tensor([0.1, 0.1])  # length 0.1414
    moved[1, 0, 0] += torch.tensor([0.2, 0.2])  # length 0.2828
    moved[2, 0, 1, 1] += 0.05  # forbidden
    beyond = Budget("l2", eps).excess(x, moved)
    torch.testing.assert_close(beyond, torch.tensor([0.0, 0.2 * (2**0.5 - 1), 0.05]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_unit_step_leads_to_the_worst_point_of_a_linear_loss(norm):
    """No point of the budget has a larger inner product with the gradient than x + E · unit(gradient)."""
    gradient = torch.randn(1, 3, 4, 4, generator=generator("cpu", 1))
    x, eps = torch.full((1, 3, 4, 4), 0.5), 0.05 * torch.rand(1, 3, 4, 4, generator=generator("cpu", 2))
    budget = Budget(norm, eps)
    far_end = float((gradient * (budget.eps * budget.unit(gradient))).sum())
    for seed in range(200):
        other = budget.project(x, x + torch.randn(x.shape, generator=generator("cpu", seed, "other")))
        assert float((gradient * (other - x)).sum()) <= far_end + 1e-5


def test_an_unknown_norm_and_limits_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="expected norm 'linf', 'l2' or 'flow', got 'l1'"):
        Budget("l1", torch.zeros(1, 1, 1, 1))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"limits of shape .* of at least 0, got shape \[1, 1, 1, 1\], values -1..-1"):
        Budget("l2", torch.full((1, 1, 1, 1), -1.0))
    with pytest.raises(ConfigError, match="a flow moves all channels alike, got limits for 3 channels"):
        Budget("flow", torch.zeros(1, 3, 1, 1))
    flow, x = Budget("flow", torch.zeros(1, 1, 1, 1)), torch.rand(1, 3, 2, 2)
    with pytest.raises(ConfigError, match="a flow takes no steps in intensities"):
        flow.unit(x)
    with pytest.raises(ConfigError, match="intensities cannot be projected on a flow"):
        flow.project(x, x)


def test_the_budget_of_chosen_pictures_is_theirs():
    eps = torch.rand(4, 1, 2, 2)
    assert torch.equal(Budget("l2", eps).of(torch.tensor([2, 0])).eps, eps[[2, 0]])
    shared = uniform(0.1, eps)
    assert shared.of(torch.tensor([2, 0])) is shared


# ---- flows ----


def test_a_whole_pixel_flow_moves_the_picture_by_a_pixel():
    x = torch.rand(2, 3, 6, 5, generator=generator("cpu", 1))
    flow = torch.zeros(2, 2, 6, 5)
    flow[:, 0] = 1
    moved = moved_by(x, flow)
    torch.testing.assert_close(moved[..., :-1], x[..., 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[..., -1], x[..., -1], atol=1e-5, rtol=0)
    assert torch.equal(moved_by(x, torch.zeros(2, 2, 6, 5)), x)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 1.7]))
def test_whatever_a_flow_makes_is_in_its_budget_and_other_changes_are_not(seed, reach):
    x = torch.rand(2, 3, 9, 8, generator=generator("cpu", seed))
    eps = reach * torch.rand(2, 1, 9, 8, generator=generator("cpu", seed, "eps"))
    flow = eps * (2 * torch.rand(2, 2, 9, 8, generator=generator("cpu", seed, "flow")) - 1)
    budget = Budget("flow", eps)
    assert float(budget.excess(x, moved_by(x, flow)).max()) <= 1e-6
    bright = x.clone()
    bright[0, :, 4, 4] = 1.0 if float(x[0, 0].max()) < 0.99 else 0.0
    assert float(budget.excess(x, bright)[0]) > 0


def test_roughness_by_hand():
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    assert float(roughness(flow)) == pytest.approx(5 + 5, abs=1e-3)


# ---- FAB ----


def rows(seed, elements=12):
    make = [torch.rand(4, elements, generator=generator("cpu", seed, name)) for name in ("a", "low", "high", "gain")]
    slope = 2 * make[0] - 1
    slope[:, 0] = 0
    low, high = -make[1], make[2]
    high[:, 1] = 0
    most = torch.where(slope > 0, slope * high, slope * low).sum(1)
    least = torch.where(slope > 0, slope * low, slope * high).sum(1)
    gain = least + (most - least) * make[3][:, 0]
    return slope, gain, low, high


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_the_shortest_way_is_that_of_a_linear_program(seed):
    """Largest-element norm: minimise t with −t ≤ d ≤ t, a · d = b and the bounds; SciPy's linprog (HiGHS)."""
    slope, gain, low, high = rows(seed)
    way = shortest(slope, gain, low, high, euclidean=False)
    torch.testing.assert_close((slope * way).sum(1), gain, atol=1e-5, rtol=1e-4)
    count = slope.shape[1]
    for row in range(len(slope)):
        identity, ones = np.eye(count), np.ones((count, 1))
        upper = np.block([[identity, -ones], [-identity, -ones]])
        bounds = [*zip(low[row].tolist(), high[row].tolist(), strict=True), (0, None)]
        answer = linprog(
            np.r_[np.zeros(count), 1], A_ub=upper, b_ub=np.zeros(2 * count), bounds=bounds,
            A_eq=np.r_[slope[row].numpy(), 0][None], b_eq=[float(gain[row])],
        )  # fmt: skip
        assert float(way[row].abs().max()) == pytest.approx(answer.fun, abs=1e-5)


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_the_shortest_euclidean_way_is_that_of_a_quadratic_program(seed):
    slope, gain, low, high = rows(seed)
    way = shortest(slope, gain, low, high, euclidean=True)
    torch.testing.assert_close((slope * way).sum(1), gain, atol=1e-5, rtol=1e-4)
    for row in range(len(slope)):
        a, b = slope[row].double().numpy(), float(gain[row])
        found = minimize(
            lambda d: d @ d, np.zeros(len(a)), jac=lambda d: 2 * d, method="SLSQP",
            bounds=list(zip(low[row].tolist(), high[row].tolist(), strict=True)),
            constraints=[{"type": "eq", "fun": lambda d, a=a, b=b: a @ d - b, "jac": lambda d, a=a: a}],
            options={"ftol": 1e-12, "maxiter": 500},
        )  # fmt: skip
        assert float(way[row].square().sum()) == pytest.approx(found.fun, abs=1e-4)


def test_where_no_way_gains_enough_it_is_the_one_that_gains_most():
    slope, low, high = torch.tensor([[1.0, -2.0, 0.0]]), torch.full((1, 3), -0.5), torch.full((1, 3), 0.25)
    for euclidean_length in (False, True):
        way = shortest(slope, torch.tensor([10.0]), low, high, euclidean=euclidean_length)
        assert way.tolist() == [[0.25, -0.5, 0.0]]
        nowhere = shortest(torch.zeros(1, 3), torch.tensor([1.0]), low, high, euclidean=euclidean_length)
        assert nowhere.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_tells_the_distance_to_a_linear_boundary_within_a_map(norm):
    """Two classes: the least scale of a map that reaches the boundary is known; 2 % above it fools, 2 % below not."""
    weight = torch.randn(2, 60, generator=generator("cpu", 3))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 2))
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.zero_()
    x = 0.4 + 0.2 * torch.rand(6, 3, 5, 4, generator=generator("cpu", 1))
    y = model(x).argmax(1)
    shape = torch.rand(6, 1, 5, 4, generator=generator("cpu", 2)) * (
        torch.rand(6, 1, 5, 4, generator=generator("cpu", 4)) < 0.6
    )
    slope = (weight[0] - weight[1]).view(1, 3, 5, 4) * shape
    strength = slope.abs().flatten(1).sum(1) if norm == "linf" else slope.flatten(1).norm(dim=1)
    logits = model(x)
    least = ((logits[:, 0] - logits[:, 1]).abs() / strength).detach().view(-1, 1, 1, 1)
    for factor, fooled in ((0.98, 0), (1.02, 6)):
        budget = Budget(norm, factor * least * shape)
        moved = attacks.run(Fab(steps=20), model, x, y, budget, generator("cpu", 1))
        assert int((model(moved).argmax(1) != y).sum()) == fooled


# ---- Square ----


def test_squares_lie_inside_the_box_around_what_may_change_and_reach_all_of_it():
    x, eps = torch.rand(2, 3, 12, 10), torch.zeros(2, 1, 12, 10)
    eps[0, :, 3:9, 2:7] = 0.1
    eps[1, :, 11, 9] = 0.1
    windows = Box.around(x, Budget("linf", eps)).draw([0.1] * 400, generator("cpu", 1))
    hit = torch.zeros(2, 1, 12, 10, dtype=torch.bool)
    for square in windows.tall(12)[:, :, None, :, None] & windows.wide(10)[:, :, None, None, :]:
        assert square.flatten(1).sum(1).tolist() == [4, 1]  # sides: round √(0.1 · 30) = 2, and 1
        hit |= square
    assert torch.equal(hit, eps > 0)


def test_the_squares_shrink_along_the_published_schedule():
    assert [_share_after(query, 10_000) for query in (1, 11, 51, 201, 8001)] == [1, 0.5, 0.25, 0.125, 0.5**9]
    assert _share_after(4001, 5000) == 0.5**9


# ---- folding ----


@pytest.mark.parametrize("name", ["small", "resnet-18", "preact-resnet-18", "wide-resnet-28-10", "vit-b-16"])
def test_a_folded_copy_is_the_same_function(name):
    model = networks.build(Network(name=name, width=16 if name == "vit-b-16" else 4), 5, 1, (16, 16))
    x = torch.rand(6, 3, 16, 16, generator=generator("cpu", 1))
    model.train()(x)  # running statistics that are not the initial ones
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy, leaf, other = folded(model), x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(copy(leaf), model.eval()(other), atol=1e-4, rtol=1e-4)
    first, second = (torch.autograd.grad(run(z).square().sum(), z)[0] for run, z in ((copy, leaf), (model, other)))
    assert float((first - second).norm()) <= 0.01 * float(second.norm())  # rounding may switch a ReLU at its kink
    assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in copy.modules())
    before = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert norms < before or before == 0


def test_a_randomised_model_keeps_its_views_when_folded():
    classifier = networks.build(Network(width=4), 5, 1).eval()
    settings_ = Purification(transform=Transform(kind="rt1"), width=4, discriminator_width=4)
    copy = folded(compose(settings_, classifier, 1))
    assert copy.voting(3)(torch.rand(2, 3, 16, 16)).shape == (2, 5)


# ---- several classes at once ----


def test_of_rows_of_one_picture_the_deepest_point_is_kept_and_all_leave_together():
    model = torch.nn.Sequential(torch.nn.Flatten())  # three pixels are three logits
    x = torch.tensor([[0.9, 0.5, 0.5], [0.9, 0.5, 0.5]]).view(2, 3, 1, 1)
    aims = torch.tensor([[1, 1], [2, 2]])
    front = Front(model, x, torch.tensor([0, 0]), uniform(1.0, x), aim=aims)
    assert front.y.tolist() == [0, 0, 0, 0]
    points = torch.tensor([[0.1, 0.5, 0.0], [0.9, 0.6, 0.0], [0.1, 0.0, 0.8], [0.9, 0.0, 0.7]]).view(4, 3, 1, 1)
    front.look(points)
    kept = front.leaving(0)
    assert kept is not None
    assert kept.tolist() == [1, 3]
    assert front.aim.tolist() == [1, 2]
    found = front.found(otherwise=points[kept])
    assert torch.equal(found[0], points[2])  # class 2 leads by 0.7 there, class 1 by 0.4 at the other point
    assert torch.equal(found[1], points[3])  # not fooled: class 0 leads by 0.2 there, by 0.3 at the other point


@pytest.mark.parametrize("name", ["apgd-t-20x4", "fab-t-20x4"])
def test_classes_side_by_side_are_as_strong_as_one_after_the_other(name):
    model, x, y = fitted_net(12, 10)
    budget, standing = uniform(5 / 255, x), []
    for room in (1, len(x), 4 * len(x)):
        moved = singles.run(attacks.named(name), model, x, y, budget, generator("cpu", 1), room=room)
        assert float(budget.excess(x, moved).max()) <= 1e-6
        assert bool((moved != x).flatten(1).any(dim=1).all())
        standing.append(int((model(moved).argmax(1) == y).sum()))
    assert min(standing) > 0
    assert max(standing) <= min(standing) + 1 < len(x) - 5


def test_rounds_of_classes_fit_the_room_and_are_about_as_large():
    assert [singles._beside(9, standing, 64) for standing in (64, 31, 20, 12, 5)] == [1, 2, 3, 5, 9]
    assert singles._beside(4, 100, 64) == 1
