"""Maps of one batch: class-activation maps, gradients, drawn maps, and their scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from core.errors import ConfigError
from core.networks.normalise import Normalise
from core.salience.cam import eigen_cam, grad_cam, layer_cam, x_grad_cam
from core.salience.drawn import centre_gaussian, random_area
from core.salience.gradient import gradient_top_k
from core.salience.scale import scaled, unannotated_rows
from core.salience.smoothing import gaussian
from core.tensors import generator

CAMS = [grad_cam, x_grad_cam, layer_cam, eigen_cam]


class Net(nn.Module):
    """A small classifier with a feature grid; with ``mirrored`` its kernels are their own mirror images."""

    def __init__(self, seed=1, mirrored=False):
        super().__init__()
        torch.manual_seed(seed)
        self.normalise, self.norm = Normalise(), nn.BatchNorm2d(6)
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        if mirrored:
            with torch.no_grad():
                self.convolution.weight.copy_((self.convolution.weight + self.convolution.weight.flip(-1)) / 2)

    def features(self, x):
        return nn.functional.avg_pool2d(self.norm(self.convolution(self.normalise(x))).relu(), 2)

    def classify(self, features):
        return self.head(features.mean((2, 3)))

    def forward(self, x):
        return self.classify(self.features(x))


class Linear(nn.Module):
    """Its feature grid is the picture through a 1×1 convolution, its logits are linear in the grid's means."""

    def __init__(self, mixing, head):
        super().__init__()
        self.mixing, self.head = (nn.Parameter(torch.tensor(values)) for values in (mixing, head))

    def features(self, x):
        return torch.einsum("kc,bchw->bkhw", self.mixing, x)

    def classify(self, features):
        return features.mean((2, 3)) @ self.head.T

    def forward(self, x):
        return self.classify(self.features(x))


def images(count=4, side=8, seed=1):
    return torch.rand(count, 3, side, side, generator=generator("cpu", seed, "images"))


def by_hand(weights, activation):
    raw = (torch.tensor(weights).view(1, -1, 1, 1) * activation).sum(1, keepdim=True).relu()
    low, high = raw.amin((2, 3), keepdim=True), raw.amax((2, 3), keepdim=True)
    return (raw - low) / (high - low)


# ---- class-activation maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("upsampling", ["bilinear", "bicubic"])
@pytest.mark.parametrize("cam", CAMS)
def test_maps_fill_zero_to_one_at_the_size_of_the_picture(cam, upsampling):
    maps = cam(Net(), images(), upsampling=upsampling)
    assert maps.shape == (4, 1, 8, 8)
    assert maps.dtype == torch.float32
    assert maps.amin((1, 2, 3)).tolist() == [0, 0, 0, 0]
    assert maps.amax((1, 2, 3)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("cam", [*CAMS, gradient_top_k])
def test_a_map_does_not_depend_on_the_rest_of_the_batch(cam):
    model, x = Net(), images(5)
    together = cam(model, x)
    assert torch.allclose(torch.cat([cam(model, picture[None]) for picture in x]), together, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=0.1)


@pytest.mark.parametrize("cam", CAMS)
def test_the_map_of_a_mirrored_picture_is_mirrored(cam):
    model, x = Net(mirrored=True), images()
    maps = cam(model, x)
    assert torch.allclose(cam(model, x.flip(-1)), maps.flip(-1), atol=1e-5)
    assert not torch.allclose(maps, maps.flip(-1), atol=0.1)


@pytest.mark.parametrize("cam", [*CAMS, gradient_top_k])
def test_mode_statistics_and_gradients_are_left_as_they_were(cam):
    model = Net().train()
    model.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = cam(model, x := images())
    assert model.training
    assert model.norm.training
    assert {name: p.requires_grad for name, p in model.named_parameters() if not p.requires_grad} == {
        "head.bias": False
    }
    assert all(p.grad is None for p in model.parameters())
    assert not maps.requires_grad
    assert not x.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(cam(model.eval(), x), maps)


@pytest.mark.parametrize("cam", CAMS)
def test_under_autocast_maps_are_float32_and_nearly_the_same(cam):
    model, x = Net(), images()
    classes = model.eval()(x).argmax(1)
    wanted = {} if cam is eigen_cam else {"classes": classes}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = cam(model, x, **wanted)
    assert maps.dtype == torch.float32
    assert torch.allclose(maps, cam(model, x, **wanted), atol=0.05)


def test_grad_cam_of_a_linear_net_is_the_head_times_the_grid():
    model, x = Linear([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]], [[1.0, -0.5], [-2.0, 3.0]]), images()
    activation = model.features(x).detach()
    for classes, weights in ((0, [1.0, -0.5]), (1, [-2.0, 3.0])):
        wanted = torch.full((4,), classes)
        expected = by_hand(weights, activation)
        assert torch.allclose(grad_cam(model, x, wanted), expected, atol=1e-5)
        assert torch.allclose(x_grad_cam(model, x, wanted), expected, atol=1e-5)
        positive = by_hand([max(0.0, weight) for weight in weights], activation)
        assert torch.allclose(layer_cam(model, x, wanted), positive, atol=1e-5)


class Bare(nn.Module):
    """Its feature grid is the picture itself; its one logit weighs every cell by itself."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def features(self, x):
        return x

    def classify(self, features):
        return (features * self.weights).sum((1, 2, 3))[:, None]


def test_where_the_gradient_varies_each_map_weighs_it_in_its_own_way():
    x = images(2, 4)
    gradient = torch.randn(3, 4, 4, generator=generator("cpu", 5)) + 0.6
    weights = {
        grad_cam: gradient.mean((1, 2)).expand(2, 3),
        x_grad_cam: (gradient * x).sum((2, 3)) / x.sum((2, 3)),
    }
    for cam, channels in weights.items():
        expected = torch.cat([by_hand(row.tolist(), picture[None]) for row, picture in zip(channels, x, strict=True)])
        assert torch.allclose(cam(Bare(gradient), x), expected, atol=1e-5)
    expected = by_hand([1.0] * 3, gradient.relu() * x)
    assert torch.allclose(layer_cam(Bare(gradient), x), expected, atol=1e-5)
    assert not x.requires_grad


def test_autocast_does_not_reach_the_singular_vectors():
    x = images(2, 8)
    expected = eigen_cam(Bare(x[0]), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(eigen_cam(Bare(x[0]), x), expected)


def test_grids_are_brought_to_the_picture_with_pixel_centres_aligned():
    model, x = Net().eval(), torch.zeros(1, 3, 4, 4)
    grid = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    model.features, model.classify = lambda _: grid.clone(), lambda features: features.mean((2, 3))
    along = torch.tensor([0.0, 0.25, 0.75, 1.0])
    assert torch.allclose(grad_cam(model, x)[0, 0], along[:, None] * along)


def test_without_classes_the_map_is_of_the_predicted_class():
    model, x = Net().eval(), images(8)
    predicted = model(x).argmax(1)
    for cam in (grad_cam, x_grad_cam, layer_cam, gradient_top_k):
        assert torch.equal(cam(model, x), cam(model, x, predicted))
        assert not torch.equal(cam(model, x), cam(model, x, (predicted + 1) % 4))


def test_layer_cam_is_blank_where_every_gradient_is_negative():
    model = Linear([[1.0, 1.0, 1.0]], [[-1.0], [-2.0]])
    assert float(layer_cam(model, images(), torch.zeros(4, dtype=torch.int64)).abs().max()) == 0


@pytest.mark.parametrize("side", [2, 8])
def test_eigen_cam_is_the_first_singular_pair_with_its_sum_above_zero(side):
    """Both ways round: more channels than cells, and fewer."""
    mixing = torch.randn(6, 3, generator=generator("cpu", 3)).tolist()
    model, x = Linear(mixing, [[1.0] * 6]), images(3, side) - 0.4
    for picture, shown in zip(x, eigen_cam(model, x), strict=True):
        left, _, _ = np.linalg.svd(model.features(picture[None])[0].flatten(1).detach().numpy())
        projection = left[:, 0] @ model.features(picture[None])[0].flatten(1).detach().numpy()
        projection = projection * np.sign(projection.sum())
        expected = (projection - projection.min()) / np.ptp(projection)
        assert shown.flatten().numpy() == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9).filter(lambda values: max(map(abs, values)) > 0.1))
def test_eigen_cam_shows_the_pattern_that_all_channels_share_whatever_their_signs(channels):
    x = images(1, 4)
    x[:, 1:] = 0
    maps = eigen_cam(Linear([[value, 0.0, 0.0] for value in channels], [[1.0] * len(channels)]), x)
    assert torch.allclose(maps, by_hand([1.0], x[:, :1]), atol=1e-3)


def test_the_feature_grid_may_be_a_submodule():
    model, x = Net().eval(), images()
    expected = grad_cam(model, x)
    with_submodule = nn.Module()
    with_submodule.features = nn.Sequential(model.normalise, model.convolution, model.norm, nn.ReLU(), nn.AvgPool2d(2))
    with_submodule.classify = model.classify
    assert torch.equal(grad_cam(with_submodule, x), expected)


def test_a_model_without_a_feature_grid_is_refused():
    with pytest.raises(ConfigError, match=r"expected a classifier with features.*got Flatten.*use gradient-top-k"):
        grad_cam(nn.Flatten(), images())


# ---- gradients, drawn maps, scale ----------------------------------------------------------------------------------


def test_gradient_top_k_finds_the_pixels_that_the_logits_hang_on():
    head = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2, bias=False))
    with torch.no_grad():
        head[1].weight.mul_(0.01)
        head[1].weight[0].view(3, 8, 8)[1, 2:6, 3:7] += 1
    maps = gradient_top_k(head, images(), share=0.25, smoothing=0)
    expected = torch.zeros(8, 8)
    expected[2:6, 3:7] = 1
    assert torch.equal(maps, expected.expand(4, 1, 8, 8))
    smooth = gradient_top_k(head, images(), share=0.25, smoothing=1 / 8)
    assert smooth.sum((1, 2, 3)).tolist() == [16] * 4
    assert (smooth * expected).sum((1, 2, 3)).min() >= 12


def test_without_a_gradient_no_pixel_is_salient():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    nn.init.zeros_(flat[1].weight)
    assert float(gradient_top_k(flat, images()).sum()) == 0


@given(st.integers(0, 1000), st.floats(0.01, 1), st.integers(3, 9), st.integers(3, 9))
def test_random_areas_have_the_share_to_the_pixel_and_belong_to_their_picture(seed, share, height, width):
    ids = ("train/a/0", "train/b/1", "train/b/2")
    maps = random_area(ids, height, width, share, seed)
    assert maps.sum((1, 2, 3)).tolist() == [round(share * height * width)] * 3
    assert torch.equal(random_area(ids[::-1], height, width, share, seed).flip(0), maps)


def test_random_areas_are_blobs_and_differ():
    maps = random_area([str(name) for name in range(20)], 32, 32, 0.25, seed=1)
    assert float((maps[..., 1:] == maps[..., :-1]).float().mean()) > 0.9  # dust: 0.63
    assert len({bytes(picture.numpy()) for picture in maps}) == 20


def test_the_centre_gaussian_is_a_gaussian_at_the_centre():
    bump = centre_gaussian(5, 9, sigma=0.4)[0, 0]
    assert float(bump[2, 4]) == 1
    assert float(bump[2, 6]) == pytest.approx(np.exp(-0.5))
    assert torch.equal(bump, bump.flip(0, 1))
    assert float(centre_gaussian(4, 4, 0.5)[0, 0, 1, 1]) == pytest.approx(np.exp(-0.5 / 8))


def test_smoothing_keeps_a_flat_map_flat_and_spreads_a_point():
    assert torch.allclose(gaussian(torch.ones(1, 1, 6, 7), 3.0), torch.ones(1, 1, 6, 7))
    point = torch.zeros(1, 1, 15, 15)
    point[0, 0, 7, 7] = 1
    blurred = gaussian(point, 1.5)[0, 0]
    assert float(blurred[7, 7] / blurred[7, 8]) == pytest.approx(np.exp(1 / (2 * 1.5**2)), rel=1e-4)
    assert torch.equal(gaussian(point, 0), point)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_rank_scale_spares_the_share_above_the_threshold(seed, threshold):
    raw = torch.randn(2, 1, 9, 11, generator=generator("cpu", seed))
    spared = (scaled(raw, "rank") > threshold).float().mean((1, 2, 3))
    assert spared.tolist() == pytest.approx([1 - threshold] * 2, abs=1 / 98)
    assert torch.equal(scaled(raw, "rank").flatten(1).argsort(1), raw.flatten(1).argsort(1))


def test_equal_values_have_equal_ranks_and_a_constant_map_is_blank():
    raw = torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0, 3.0]]).view(2, 1, 1, 5)
    assert scaled(raw, "rank").flatten(1).tolist() == [[0, 0, 0, 0.75, 0.75], [0] * 5]
    assert scaled(raw, "min-max").flatten(1).tolist() == [[0, 0, 0, 1, 1], [0] * 5]
    assert scaled(raw, "none") is raw


@given(st.integers(0, 1000), st.floats(0, 1), st.permutations(range(20)))
def test_pictures_without_annotation_are_an_exact_share_chosen_by_name(seed, share, order):
    ids = [f"train/cat/{index}" for index in range(20)]
    rows = unannotated_rows(ids, share, seed)
    assert int(rows.sum()) == round(share * 20)
    assert torch.equal(unannotated_rows([ids[index] for index in order], share, seed), rows[list(order)])
