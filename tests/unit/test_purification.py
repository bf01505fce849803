"""AToP's pipeline: the transforms cover what they say, and the randomised model keeps its word."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from core import checkpoints, networks
from core.errors import ConfigError
from core.networks import Network
from core.purification import transforms
from core.purification.discriminator import discriminator_hinge, judge_detached, purifier_hinge
from core.purification.pipeline import Purification, compose, reseed
from core.purification.purifier import Purifier
from core.purification.transforms import Transform
from core.tensors import generator

KINDS = ("rt1", "rt2", "rt3")


def pictures(count=4, size=16, seed=1):
    """Smooth pictures: coarse random fields, enlarged."""
    coarse = torch.rand(count, 3, 3, 3, generator=generator("cpu", seed, "pictures"))
    return functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)


def pipeline(kind="rt2", seed=1, votes=1):
    purification = Purification(transform=Transform(kind=kind), width=4, discriminator_width=4, votes=votes)
    return compose(purification, networks.build(Network(width=4), 5, seed), seed)


def draw(kind="rt2", x=None, seed=1, **words):
    x = pictures() if x is None else x
    return transforms.draw(Transform(kind=kind, **words), x, generator("cpu", seed, "draw"))


# the transforms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("missing", "grid", "size"), [(0.25, 8, 16), (0.5, 4, 8), (0.125, 4, 12)])
def test_every_mask_removes_exactly_its_share_in_whole_blocks(kind, missing, grid, size):
    masks = draw(kind, pictures(6, size), missing=missing, grid=grid).masks
    assert masks.shape == (1 / missing if kind == "rt3" else 1, 6, 1, size, size)
    assert (masks.mean(dim=(2, 3, 4)) == missing).all()
    side = size // grid
    shares = functional.avg_pool2d(masks.flatten(0, 1), side)
    assert set(shares.unique().tolist()) == {0.0, 1.0}


def test_masks_of_rt3_share_no_pixel_and_cover_every_one():
    drawn = draw("rt3")
    assert (drawn.masks.sum(dim=0) == 1).all()
    assert (drawn.covered(pictures()) == 1).all()
    assert len({tuple(mask.flatten().tolist()) for mask in drawn.masks[:, 0]}) == 4


@pytest.mark.parametrize("kind", ["rt1", "rt2"])
def test_what_is_covered_is_what_one_mask_removed(kind):
    drawn = draw(kind)
    assert torch.equal(drawn.covered(pictures()), drawn.masks[0])


def test_rt1_removes_blocks_and_leaves_the_rest_bit_for_bit():
    x, drawn = pictures() + 0.01, draw("rt1")
    seen, mask = drawn.inputs(x).split([3, 1], dim=1)
    assert torch.equal(mask, drawn.masks[0])
    assert torch.equal(seen, torch.where(mask == 1, torch.zeros(()), x))


def test_noise_of_rt2_has_its_standard_deviation_is_cut_to_the_range_and_comes_before_the_mask():
    grey = torch.full((8, 3, 32, 32), 0.5)
    drawn = draw("rt2", grey, sigma=0.1)
    seen, mask = drawn.inputs(grey).split([3, 1], dim=1)
    visible = mask.expand_as(seen) == 0
    assert (seen[~visible] == 0).all()
    assert seen[visible].std() == pytest.approx(0.1, rel=0.03)
    loud, _ = draw("rt2", grey, sigma=5.0).inputs(grey).split([3, 1], dim=1)
    assert (loud.min(), loud.max()) == (0, 1)


def test_noise_of_rt3_differs_from_part_to_part():
    drawn = draw("rt3")
    assert drawn.noise.shape == (4, 4, 3, 16, 16)
    assert not torch.equal(drawn.noise[0], drawn.noise[1])


def test_rt3_takes_each_pixel_from_the_completion_in_which_it_was_missing():
    x, drawn = pictures(), draw("rt3")
    completed = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 4, 3, 16, 16).flatten(0, 1)
    expected = drawn.masks.argmax(dim=0).float().expand_as(x)
    assert torch.equal(drawn.merge(completed), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_generator_gives_the_same_draw_and_each_picture_has_its_own(kind):
    first, second, other = draw(kind), draw(kind), draw(kind, seed=2)
    assert torch.equal(first.masks, second.masks)
    assert not torch.equal(first.masks, other.masks)
    assert not torch.equal(first.masks[:, 0], first.masks[:, 1])
    x = pictures()
    assert torch.equal(first.inputs(x), second.inputs(x))


def test_every_block_is_as_likely_to_go_missing():
    share = draw("rt1", torch.zeros(4000, 3, 8, 8), grid=4).masks.mean(dim=(0, 1, 2))
    assert (share - 0.25).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"grid": 1}, "grid, sigma: expected at least 2 and at least 0, got 1"),
        ({"sigma": -0.1}, "grid, sigma: expected at least 2 and at least 0, got 8, -0.1"),
        ({"missing": 0.0}, "missing: expected a share between 0 and 1 .* of the 64 blocks, got 0.0"),
        ({"missing": 1.0}, "missing: expected a share between 0 and 1"),
        ({"missing": 0.3}, r"a whole number of the 64 blocks, got 0.3; choose k / 64"),
        ({"missing": 0.375, "kind": "rt3"}, r"missing: rt3 needs masks that together cover .*choose 1/2, 1/4"),
    ],
)
def test_impossible_transforms_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        Transform(**words)


def test_a_grid_that_does_not_divide_the_picture_is_refused():
    with pytest.raises(ConfigError, match="grid: expected a divisor of the pictures' sides, 12×12, got 8"):
        draw("rt1", torch.zeros(1, 3, 12, 12))


# the nets


@pytest.mark.parametrize(("height", "width"), [(8, 8), (32, 32), (13, 22)])
def test_the_purifier_completes_any_size_within_the_range(height, width):
    completed = Purifier(4)(torch.randn(2, 4, height, width, generator=generator("cpu", 1)) * 50)
    assert completed.shape == (2, 3, height, width)
    assert completed.min() >= 0
    assert completed.max() <= 1


def test_hinge_losses_by_hand():
    real = torch.tensor([2.0, 0.5, 0.0, -1.0]).view(1, 1, 2, 2)
    completed = torch.tensor([-3.0, 0.0, 1.0, -0.5]).view(1, 1, 2, 2)
    assert discriminator_hinge(real, completed).tolist() == [(0 + 0.5 + 1 + 2 + 0 + 1 + 2 + 0.5) / 4 / 2]
    assert purifier_hinge(completed).tolist() == [(3 + 0 - 1 + 0.5) / 4]


def test_verdicts_of_detached_weights_are_the_same_verdicts():
    judge, x = pipeline().discriminator.eval(), pictures()
    mask = draw().covered(x)
    assert torch.equal(judge_detached(judge, x, mask), judge(x, mask))
    assert not torch.equal(judge(x, 1 - mask), judge(x, mask))


def test_every_layer_of_the_discriminator_has_spectral_norm_one():
    judge = pipeline().discriminator
    for _ in range(20):
        judge(pictures(), torch.zeros(4, 1, 16, 16))
    for layer in judge.patches:
        if isinstance(layer, torch.nn.Conv2d):
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, abs=0.05)


# the randomised model


@pytest.mark.parametrize("kind", KINDS)
def test_calls_differ_and_reseeding_repeats_them(kind):
    model, x = pipeline(kind).eval(), pictures()
    with torch.no_grad():
        first, second = model(x), model(x)
        model.reseed(1)
        again = model(x)
        model.reseed(2)
        other = model(x)
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_any_model_can_be_reseeded_wherever_the_purifier_is():
    x, wrapped = pictures(), torch.nn.Sequential(pipeline())
    reseed(networks.build(Network(width=4), 5, 1), 7)
    with torch.no_grad():
        reseed(wrapped, 7)
        first, second = wrapped(x), wrapped(x)
        reseed(wrapped, 7)
        assert torch.equal(wrapped(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_layout_nor_half_precision_changes_the_pipeline(kind):
    model, x = pipeline(kind, votes=2).eval().fixed(1), pictures()
    with torch.no_grad():
        expected = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            halved = model(x)
        model.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(x.contiguous(memory_format=torch.channels_last)), expected)
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, atol=0.02, rtol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_fixed_randomness_is_the_same_for_every_call_and_in_every_batch(kind):
    model, x = pipeline(kind, votes=2).eval(), pictures(6)
    view = model.fixed(3)
    with torch.no_grad():
        whole = view(x)
        assert torch.equal(view(x), whole)
        assert torch.equal(model.fixed(3)(x), whole)
        torch.testing.assert_close(view(x[[4, 1]]), whole[[4, 1]])
        assert not torch.equal(model.fixed(4)(x), whole)
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_purified_as_its_own_draw_says_whatever_else_is_in_the_batch(kind):
    model, x, drawn = pipeline(kind).train(), pictures(), draw(kind)
    other = x.clone()
    other[1:] = 1 - other[1:]
    with torch.no_grad():
        torch.testing.assert_close(model.purify(x, drawn)[0], model.purify(other, drawn)[0])
        assert not torch.allclose(model.purify(x, drawn)[1], model.purify(other, drawn)[1])


def test_a_view_shares_the_nets_and_leaves_the_model_as_it_is():
    model = pipeline()
    view = model.fixed(1).voting(3).with_gradient("identity")
    assert view.purifier is model.purifier
    assert (model.votes, model.gradient, view.votes, view.gradient) == (1, "full", 3, "identity")
    assert [name for name, _ in view.named_parameters()] == [name for name, _ in model.named_parameters()]


def test_votes_are_averaged_as_probabilities():
    model, x = pipeline().eval(), pictures()
    with torch.no_grad():
        draws = list(model.voting(3).fixed(5)._draws(x))
        expected = torch.stack([model.classify(x, drawn).softmax(dim=1) for drawn in draws]).mean(dim=0)
        voted = model.voting(3).fixed(5)(x)
    assert len({tuple(drawn.masks.flatten().tolist()) for drawn in draws}) == 3
    torch.testing.assert_close(voted.exp(), expected)


def test_votes_reduce_the_variance():
    model, x = pipeline().eval(), pictures(2)

    def variance(votes):
        view = model.voting(votes)
        with torch.no_grad():
            return torch.stack([view(x).softmax(dim=1) for _ in range(30)]).var(dim=0).mean()

    assert variance(8) < variance(1) / 3


def test_the_gradient_goes_through_transform_purifier_and_classifier():
    model, x, y = pipeline("rt3").double().eval().fixed(2), 0.2 + 0.6 * pictures().double(), torch.arange(4)
    point = x.clone().requires_grad_()
    functional.cross_entropy(model(point), y).backward()
    direction = torch.randn(x.shape, generator=generator("cpu", 1), dtype=x.dtype) * 1e-6
    with torch.no_grad():
        up, down = (functional.cross_entropy(model(x + sign * direction), y) for sign in (1, -1))
    assert float((up - down) / 2) == pytest.approx(float((point.grad * direction).sum()), rel=1e-3)


def test_the_identity_gradient_is_the_classifiers_at_the_purified_picture():
    model, x, y = pipeline().eval().fixed(2), pictures(), torch.arange(4)
    view = model.with_gradient("identity")
    with torch.no_grad():
        assert torch.equal(view(x), model(x))
        purified = model.purify(x, next(iter(model._draws(x))))
    point, there = x.clone().requires_grad_(), purified.clone().requires_grad_()
    functional.cross_entropy(view(point), y).backward()
    functional.cross_entropy(model.classifier(there), y).backward()
    torch.testing.assert_close(point.grad, there.grad)


def test_the_whole_model_comes_back_from_safetensors(tmp_path):
    model, x = pipeline(seed=1).eval(), pictures()
    checkpoints.save(tmp_path / "weights.safetensors", model.state_dict(), {})
    other = pipeline(seed=2).eval()
    with torch.no_grad():
        assert not torch.equal(other.fixed(1)(x), model.fixed(1)(x))
        other.load_state_dict(checkpoints.read(tmp_path / "weights.safetensors")[0])
        assert torch.equal(other.fixed(1)(x), model.fixed(1)(x))


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before():
    first = pipeline(seed=1).state_dict()
    torch.manual_seed(5)
    second = pipeline(seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = pipeline(seed=2).state_dict()
    assert not torch.equal(first["purifier.picture.weight"], other["purifier.picture.weight"])


def test_a_fixed_view_is_the_same_however_often_the_model_was_asked_before():
    model = compose(Purification(width=4, discriminator_width=4), networks.build(Network(width=4), 5, 1).eval(), 1)
    x = torch.rand(2, 3, 16, 16, generator=generator("cpu", 1))
    before = model.fixed(7)(x)
    model(x)
    assert torch.equal(model.fixed(7)(x), before)
