"""Laws of PART and of the controls: two limits, each picture's own; what a control keeps and what it changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import networks, objectives
from core.attacks.budget import Budget
from core.errors import ConfigError
from core.networks import Network
from core.objectives.controls import controlled
from core.objectives.explainer import Explainer
from core.objectives.jet import jet
from core.objectives.mart import Mart
from core.objectives.part import (
    Part,
    PartM,
    PartT,
    activation_maps,
    part_budget,
    published_importance,
    shared_importance,
)
from core.objectives.pgd_at import PgdAt
from core.objectives.sip_at import SipAt, sip_budget
from core.objectives.trades import Trades
from core.salience.cam import grad_cam, layer_cam, x_grad_cam
from core.tensors import generator
from tests.explained_net import ATTACK, EPS, LOW, PART, Net, batch

CONTROLS = ["inverted", "shuffled", "random-area", "uniform-mean"]


class Curved(Net):
    """Logits are no linear function of the feature grid, so that the three class-activation maps differ."""

    def classify(self, features):
        return super().classify(features.square() - features[:, :, :1, :1] * features)


@pytest.mark.parametrize("kind", [Part, PartT, PartM])
@pytest.mark.parametrize("importance", ["shared", "published"])
def test_limits_of_part_are_one_of_two_and_both_occur(kind, importance):
    eps = part_budget(Net(), batch(), kind(**PART, importance=importance)).eps
    assert eps.shape == (6, 1 if importance == "shared" else 3, 12, 12)
    high, low = eps == torch.tensor(EPS), eps == torch.tensor(LOW)
    assert (high | low).all()
    assert high.flatten(1).any(dim=1).all()
    assert low.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("importance", ["shared", "published"])
@pytest.mark.parametrize("cam", ["grad-cam", "layer-cam", "x-grad-cam"])
def test_a_budget_of_part_belongs_to_its_own_picture(cam, importance):
    model, given = Net(), batch(8)
    objective = Part(**PART, cam=cam, importance=importance)
    eps = part_budget(model, given, objective).eps
    order = torch.randperm(8, generator=generator("cpu", 5))
    permuted = part_budget(model, batch(8, images=given.images[order]), objective).eps
    assert torch.equal(permuted, eps[order])
    others = torch.cat([given.images[:2], batch(5, seed=9).images])
    assert torch.equal(part_budget(model, batch(7, images=others), objective).eps[:2], eps[:2])
    assert not torch.equal(eps[0], eps[1])


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("name", "cam"), [("grad-cam", grad_cam), ("layer-cam", layer_cam), ("x-grad-cam", x_grad_cam)]
)
def test_the_maps_of_part_are_those_asked_for(name, cam, upsampling):
    settings = Part(**PART, cam=name, upsampling=upsampling)
    expected = cam(Curved(), batch().images, upsampling=upsampling)
    assert torch.equal(activation_maps(Curved(), batch().images, settings), expected)
    assert not torch.equal(
        expected, (layer_cam if cam is grad_cam else grad_cam)(Curved(), batch().images, upsampling=upsampling)
    )
    assert torch.equal(part_budget(Curved(), batch(), settings).eps > LOW + 1e-4, shared_importance(expected, 1.0))


def test_the_budget_of_part_moves_with_its_picture():
    """An asymmetric map: the mirrored picture has the mirrored budget (the net's stride fits an odd side)."""
    model, given = Net(), batch(side=13)
    weights = model.body[0].weight
    with torch.no_grad():
        weights.copy_((weights + weights.flip(3)) / 2)
    own, mirrored = (
        part_budget(model, batch(images=x), Part(**PART)).eps for x in (given.images, given.images.flip(3))
    )
    assert (own.flip(3) == mirrored).float().mean() > 0.99
    assert (own == mirrored).float().mean() < 0.95


def test_important_are_pixels_whose_squared_map_is_so_many_sd_above_its_mean():
    maps = torch.rand(4, 1, 9, 9, generator=generator("cpu", 3))
    for above in (0.0, 1.0, 1.5):
        squared = maps.numpy().astype(np.float64) ** 2
        mean, sd = (getattr(squared, name)(axis=(1, 2, 3), keepdims=True) for name in ("mean", "std"))
        np.testing.assert_array_equal(shared_importance(maps, above).numpy(), (squared - mean) / sd > above)
    assert not shared_importance(torch.zeros(1, 1, 9, 9), 1.0).any()
    one = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])  # 1.73 population, 1.5 sample standard deviations above the mean
    assert shared_importance(one, 1.6).sum() == 1


@pytest.mark.parametrize("sigma", [4, 6, 8, 12])
def test_the_published_budget_is_a_pattern_of_colours(sigma):
    """Few entries keep ε; where the map is hottest blue never does, where it is cold blue does."""
    offsets = torch.arange(32) - 15.5
    heat = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))[None, None]
    heat = (heat - heat.min()) / (heat.max() - heat.min())
    important, hot, cold = published_importance(heat, 1.0)[0], heat[0, 0] > 0.8, heat[0, 0] < 0.3
    assert 0.12 < important.float().mean() < 0.29
    assert important[0][hot].float().mean() > 0.8
    assert not important[2][hot].any()
    assert important[2][cold].float().mean() > 0.1
    assert shared_importance(heat, 1.0)[0, 0][hot].all()


def test_jet_is_the_colour_map_of_that_name():
    from matplotlib import colormaps

    values = np.arange(256) / 255
    ours = jet(torch.from_numpy(values)[None, None, None]).squeeze().T
    np.testing.assert_allclose(ours, colormaps["jet"](np.arange(256))[:, :3], atol=1e-6)


def test_warm_up_is_the_base_method_and_ends():
    bases = [(Part, PgdAt(attack=ATTACK)), (PartT, Trades(attack=ATTACK)), (PartM, Mart(attack=ATTACK))]
    for kind, base in bases:
        objective = kind(attack=ATTACK, warm_up_epochs=2)
        plain = objectives.loss(base, Net(), batch()).per_picture
        assert torch.equal(objectives.loss(objective, Net(), batch(epoch=1)).per_picture, plain)
        assert not torch.equal(objectives.loss(objective, Net(), batch(epoch=2)).per_picture, plain)
        assert objectives.loss(objective, Net(), batch(epoch=1)).parts["budget"].item() == pytest.approx(EPS)
        assert LOW < objectives.loss(objective, Net(), batch(epoch=2)).parts["budget"].item() < EPS


def test_maps_of_earlier_weights_come_from_the_copy_that_is_refreshed_every_so_many_steps():
    model, objective = Net(), Part(**PART, recompute_every=3)
    first = part_budget(Net(), batch(), Part(**PART)).eps
    explainer = Explainer(model, objective.recompute_every)
    found = []
    for step in range(4):
        copy = explainer.at(step, model)
        found.append(part_budget(model, batch(explainer=copy, step=step), objective).eps)
        model.load_state_dict(Net(seed=10 + step).state_dict())
    assert torch.equal(found[0], first)
    assert torch.equal(found[1], first)
    assert torch.equal(found[2], first)
    assert torch.equal(found[3], part_budget(Net(seed=12), batch(), Part(**PART)).eps)
    assert not torch.equal(found[3], first)


def test_a_copy_of_earlier_weights_survives_saving_and_restoring():
    model = Net()
    explainer = Explainer(model, 3)
    explainer.at(0, model)
    kept = {name: tensor.clone() for name, tensor in explainer.tensors().items()}
    later = Explainer(Net(seed=4), 3)
    later.restore(kept)
    again = later.at(1, Net(seed=4))
    assert torch.equal(again.head.weight, model.head.weight)


def two_valued(pictures=6, share=0.3):
    drawn = torch.rand(pictures, 1, 12, 12, generator=generator("cpu", 7)) < share
    return torch.where(drawn, torch.tensor(LOW), torch.tensor(EPS))


@pytest.mark.parametrize("channels", [1, 3])
def test_random_areas_keep_each_picture_its_limits_and_move_them(channels):
    eps = torch.rand(5, channels, 12, 12, generator=generator("cpu", 3)) * EPS
    eps[0] = EPS * (eps[0] > EPS / 2)
    moved = controlled("random-area", Budget("linf", eps), 0.0, EPS, generator("cpu", 4)).eps
    assert torch.equal(moved.flatten(2).sort(dim=2).values, eps.flatten(2).sort(dim=2).values)
    assert (moved != eps).float().flatten(1).mean(dim=1).min() > 0.3
    spared = moved[0, 0] == 0
    beside = (spared[:, 1:] == spared[:, :-1]).float().mean()
    assert beside > 0.7  # blobs: neighbours are alike more often than in the dust that they are made of
    assert beside > (eps[0, 0, :, 1:] == eps[0, 0, :, :-1]).float().mean() + 0.1


def test_uniform_mean_is_the_mean_of_each_picture_at_every_pixel():
    eps = two_valued()
    flat = controlled("uniform-mean", Budget("linf", eps), LOW, EPS, generator("cpu", 4)).eps
    assert flat.shape == (6, 1, 1, 1)
    torch.testing.assert_close(flat.flatten(), eps.flatten(1).mean(dim=1))


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_shuffling_gives_everyone_the_budget_of_somebody_else(pictures, seed):
    eps = (torch.arange(pictures) / 100).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    moved = controlled("shuffled", Budget("linf", eps), 0.0, 1.0, generator("cpu", seed)).eps
    assert (moved != eps).all()
    assert torch.equal(moved.sort(dim=0).values, eps)


def test_a_picture_alone_in_its_batch_cannot_be_shuffled():
    with pytest.raises(ConfigError, match="shuffled: expected batches of at least 2 pictures, got 1; choose"):
        controlled("shuffled", Budget("linf", two_valued(1)), LOW, EPS, generator("cpu", 4))


def test_inverting_attacks_what_was_spared_and_leaves_pictures_without_a_map_alone():
    maps = torch.rand(3, 1, 12, 12, generator=generator("cpu", 3))
    maps[1] = 0
    own, inverse = (
        sip_budget(SipAt(attack=ATTACK, control=control), maps, generator("cpu", 1)).eps
        for control in ("none", "inverted")
    )
    assert torch.equal(inverse[[0, 2]] > 0, own[[0, 2]] == 0)
    assert torch.equal(inverse[1], own[1])
    assert (own[1] == torch.tensor(EPS)).all()
    soft = sip_budget(SipAt(attack=ATTACK, budget="soft", control="inverted"), maps, generator("cpu", 1)).eps
    torch.testing.assert_close(soft[0], EPS * maps[0])
    part = controlled("inverted", Budget("linf", two_valued()), LOW, EPS, generator("cpu", 1)).eps
    torch.testing.assert_close(part, LOW + EPS - two_valued())


@pytest.mark.parametrize(("control", "kind"), list(itertools.product(CONTROLS, [SipAt, Part])))
def test_a_control_changes_the_loss_and_not_its_reproducibility(control, kind):
    common = {"attack": ATTACK} if kind is SipAt else PART
    own, first, second = (
        objectives.loss(kind(**common, control=name), Net(), batch()) for name in ("none", control, control)
    )
    assert torch.equal(first.per_picture, second.per_picture)
    assert not torch.equal(own.per_picture, first.per_picture)
    if control != "inverted":
        torch.testing.assert_close(own.parts["budget"], first.parts["budget"])


@pytest.mark.parametrize("network", [Network(name="resnet-18", width=4), Network(name="vit-b-16", width=8, patch=4)])
def test_part_takes_its_maps_from_any_network_with_a_grid_tokens_included(network):
    model, given = networks.build(network, 4, 1, (24, 24)), batch(3, side=24)
    eps = part_budget(model, given, Part(**PART, cam="layer-cam")).eps
    assert eps.shape == (3, 1, 24, 24)
    share = (eps > LOW + 1e-4).float().flatten(1).mean(dim=1)
    assert ((share > 0.02) & (share < 0.5)).all()
    assert model.training
