"""Networks: known sizes, one contract, one stream of random numbers, weights of torchvision, refusals."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from core import networks
from core.errors import ConfigError
from core.networks import Network, imagenet, pretrained, residual
from core.networks.transformer import fitted_positions, patch_side
from core.salience.cam import eigen_cam, grad_cam, layer_cam
from core.tensors import generator
from core.torchvision_cpu import torchvision

TINY = {
    "small": (Network(width=4), 16, (16, 2, 2)),
    "resnet-18": (Network(name="resnet-18", width=4), 16, (32, 2, 2)),
    "preact-resnet-18": (Network(name="preact-resnet-18", width=4), 16, (32, 2, 2)),
    "wide-resnet-28-10": (Network(name="wide-resnet-28-10", width=1), 8, (40, 2, 2)),
    "wide-resnet-34-10": (Network(name="wide-resnet-34-10", width=1), 8, (40, 2, 2)),
    "resnet-50": (Network(name="resnet-50"), 64, (2048, 2, 2)),
    "densenet-121": (Network(name="densenet-121"), 64, (1024, 2, 2)),
    "inception-v3": (Network(name="inception-v3"), 75, (2048, 1, 1)),
    "vit-b-16": (Network(name="vit-b-16", width=8, patch=4), 16, (8, 4, 4)),
}


def pictures(side, count=2, height=None):
    return torch.rand(count, 3, height or side, side, generator=generator("cpu", 1, "pictures"))


@pytest.fixture(scope="module", params=list(TINY))
def tiny(request):
    network, side, grid = TINY[request.param]
    return side, grid, networks.build(network, 5, 1, (side, side))


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("resnet-18", 10, 11_173_962),
        ("preact-resnet-18", 10, 11_172_170),
        ("wide-resnet-28-10", 10, 36_479_194),
        ("wide-resnet-34-10", 10, 46_160_474),
        ("resnet-50", 1000, 25_557_032),
        ("densenet-121", 1000, 7_978_856),
        ("inception-v3", 1000, 23_834_568),
        ("vit-b-16", 1000, 86_567_656),
    ],
)
def test_networks_have_as_many_parameters_as_published(name, classes, parameters):
    with torch.device("meta"):
        model = networks.build(Network(name=name), classes, 1, (224, 224))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_every_network_is_its_head_behind_its_last_feature_grid(tiny):
    side, shape, model = tiny
    x = pictures(side)
    with torch.no_grad():
        grid = model.eval().features(x)
        logits = model(x)
        assert torch.equal(model.classify(grid), logits)
    assert logits.shape == (2, 5)
    assert grid.shape == (2, *shape)
    assert not torch.allclose(logits[0], logits[1], rtol=1e-4, atol=0)


def test_a_step_in_training_mode_reaches_every_weight_and_draws_nothing(tiny):
    """A weight without a gradient would stop distributed training; a draw would make a resumed run another one."""
    side, _, model = tiny
    before = torch.random.get_rng_state()
    losses = []
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model.train()(pictures(side, 4)), torch.tensor([0, 1, 2, 3]))
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    assert torch.equal(before, torch.random.get_rng_state())
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["small", "resnet-18", "wide-resnet-28-10", "densenet-121", "vit-b-16"])
def test_weights_follow_from_the_seed_alone(name):
    network, side, _ = TINY[name]
    model, again, other = (networks.build(network, 5, seed, (side, side)) for seed in (1, 1, 2))
    weights = dict(model.named_parameters())
    assert all(torch.equal(parameter, weights[name]) for name, parameter in again.named_parameters())
    assert not torch.equal(other.head.weight, model.head.weight)


def test_building_leaves_the_global_stream_alone():
    before = torch.random.get_rng_state()
    networks.build(Network(name="resnet-18", width=4), 5, 1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_pictures_are_normalised_inside():
    x = pictures(64)
    for name, mean, sd in (
        ("resnet-50", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("resnet-18", (0.5,) * 3, (0.25,) * 3),
    ):
        model = networks.build(TINY[name][0], 5, 1).eval()
        normalised = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(sd).view(3, 1, 1)
        with torch.no_grad():
            assert torch.allclose(model.features(x), model.body(normalised), atol=1e-4)


def test_small_networks_keep_the_names_of_their_weights():
    model = networks.build(Network(width=4), 5, 1)
    names = list(model.state_dict())
    assert names[:3] == ["features.0.mean", "features.0.sd", "features.1.weight"]
    assert names[-2:] == ["head.weight", "head.bias"]
    assert networks.build(Network(), 5, 1).head.weight.shape == (5, 128)


def test_a_shortcut_of_a_preactivated_block_is_its_bare_input():
    block = residual.PreActivated(4, 4, 1).eval()
    nn.init.zeros_(block.branch[-1].weight)
    x = torch.randn(2, 4, 5, 5, generator=generator("cpu", 1))
    assert torch.equal(block(x), x)


def test_a_basic_block_is_rectified_behind_the_sum():
    block = residual.Basic(4, 4, 1).eval()
    nn.init.zeros_(block.branch[3].weight)
    x = torch.randn(2, 4, 5, 5, generator=generator("cpu", 1))
    assert torch.equal(block(x), x.relu())
    assert residual.Basic(4, 8, 2)(x).shape == (2, 8, 3, 3)


@pytest.mark.parametrize(("name", "least"), [("densenet-121", 29), ("inception-v3", 75)])
def test_the_least_size_works_and_less_is_refused(name, least):
    model = networks.build(Network(name=name), 2, 1, (least, least)).eval()
    with torch.no_grad():
        assert model(pictures(least)).shape == (2, 2)
        with pytest.raises(RuntimeError, match="size"):
            model(pictures(least - 1))
    with pytest.raises(ConfigError, match=rf"{name}: expected pictures of at least {least}×{least} pixels, got 96×28"):
        networks.build(Network(name=name), 2, 1, (28, 96))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "network: width: expected at least 1, got 0"),
        ({"name": "vit-b-16", "patch": 0}, "network: patch: expected at least 1, got 0"),
        ({"name": "resnet-18", "patch": 4}, "network: patch: expected with 'vit-b-16' only, got 'resnet-18'"),
        ({"name": "resnet-50", "width": 32}, "network: width: resnet-50 has a width of its own, got 32; leave it out"),
        ({"name": "vit-b-16", "width": 200}, "network: width: expected a multiple of 64 or less than 128, got 200"),
    ],
)
def test_contradictory_networks_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Network(**settings)


# Transformer


@pytest.mark.parametrize(
    ("size", "patch"), [((224, 224), 16), ((32, 32), 4), ((48, 48), 6), ((64, 64), 8), ((28, 28), 2), ((160, 96), 8)]
)
def test_patches_divide_a_picture_into_eight_by_eight_or_more(size, patch):
    assert patch_side(size, None) == patch


def test_patches_must_divide_the_picture():
    assert patch_side((48, 48), 16) == 16
    with pytest.raises(ConfigError, match=r"patch: expected a divisor of 48×32 pixels, got 5; leave it out to have 4"):
        patch_side((32, 48), 5)


def test_a_transformer_takes_oblong_pictures_of_the_size_it_was_built_for():
    model = networks.build(Network(name="vit-b-16", width=8, patch=4), 3, 1, (8, 16)).eval()
    with torch.no_grad():
        assert model.features(pictures(16, height=8)).shape == (2, 8, 2, 4)
    with pytest.raises(ConfigError, match=r"vit-b-16: expected pictures of 16×8 pixels, .* got 16×16; set data\.size"):
        model(pictures(16))
    with pytest.raises(ConfigError, match="vit-b-16: expected the size of the pictures, got none"):
        networks.build(Network(name="vit-b-16", width=8), 3, 1)


def test_the_token_grid_lies_as_the_picture_does():
    """With attention's and the last layers' outputs silenced, a token sees its own patch alone."""
    model = networks.build(Network(name="vit-b-16", width=8, patch=4), 3, 1, (8, 16)).eval()
    for name, parameter in model.named_parameters():
        if "out_proj" in name or "mlp.3" in name or "pos_embedding" in name:
            nn.init.zeros_(parameter)
    x = pictures(16, 1, height=8)
    changed = x.clone()
    changed[:, :, 4:, 8:12] = 0
    with torch.no_grad():
        moved = (model.features(x) - model.features(changed)).abs().sum(dim=1)[0]
    assert (moved > 1e-4).tolist() == [[False, False, False, False], [False, False, True, False]]


def test_maps_of_a_transformer_differ_from_place_to_place():
    model = networks.build(Network(name="vit-b-16", width=16, patch=4), 3, 1, (16, 16))
    x = pictures(16, 3)
    for maps in (grad_cam(model, x), layer_cam(model, x), eigen_cam(model, x)):
        assert maps.shape == (3, 1, 16, 16)
        assert maps.amax(dim=(1, 2, 3)).tolist() == [1.0] * 3


def test_positions_are_resized_but_the_class_token_s_is_kept():
    grid = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 2, 4, 4)
    positions = torch.cat([torch.full((1, 1, 2), 99.0), grid.flatten(2).transpose(1, 2)], dim=1)
    smaller = fitted_positions(positions, (2, 8))
    assert smaller.shape == (1, 17, 2)
    assert smaller[0, 0].tolist() == [99.0, 99.0]
    rows = smaller[0, 1:, 0].view(2, 8)
    assert bool((rows[1] - rows[0] > 7).all())
    assert bool((rows.diff(dim=1) > 0).all())
    assert fitted_positions(positions, (4, 4)) is positions
    assert fitted_positions(positions[:, :8], (2, 2)).shape == (1, 8, 2)


# Weights of files


def batch_norms_set(model):
    """Gives the statistics of batch norm values that a confusion of layers would show."""
    for index, module in enumerate(model.modules()):
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1, generator=generator("cpu", index))
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator("cpu", index))
    return model.eval()


@torch.no_grad()
def test_weights_of_torchvision_s_resnet_50_give_its_features(tmp_path):
    theirs = batch_norms_set(torchvision().models.resnet50(weights=None))
    save_file(theirs.state_dict(), tmp_path / "resnet50.safetensors")
    network = Network(name="resnet-50", weights=tmp_path / "resnet50.safetensors")
    ours = networks.build(network, 5, 1, (64, 64)).eval()
    assert torch.equal(ours.head.weight, networks.build(Network(name="resnet-50"), 5, 1).head.weight)
    theirs.fc = nn.Identity()
    x = pictures(64)
    assert torch.allclose(ours.features(x).mean(dim=(2, 3)), theirs(imagenet.normalise()(x)), atol=1e-5)


@torch.no_grad()
def test_weights_of_torchvision_s_densenet_fit_under_their_old_names(tmp_path):
    theirs = batch_norms_set(torchvision().models.densenet121(weights=None))
    old = {
        name.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): tensor
        for name, tensor in theirs.state_dict().items()
        if "num_batches_tracked" not in name
    }
    torch.save(old, tmp_path / "densenet.pth")
    ours = networks.build(Network(name="densenet-121", weights=tmp_path / "densenet.pth"), 5, 1).eval()
    theirs.classifier = nn.Identity()
    x = pictures(64)
    assert torch.allclose(ours.features(x).mean(dim=(2, 3)), theirs(imagenet.normalise()(x)), atol=1e-5)


@torch.no_grad()
def test_inception_sees_pictures_as_torchvision_s_published_weights_do(tmp_path):
    """torchvision turns pictures normalised by ImageNet's statistics into ones in −1..1 before its first layer."""
    theirs = batch_norms_set(
        networks.imagenet._models().inception_v3(weights=None, init_weights=False, aux_logits=True)
    )
    theirs.transform_input = True
    torch.save(theirs.state_dict(), tmp_path / "inception.pth")
    ours = networks.build(Network(name="inception-v3", weights=tmp_path / "inception.pth"), 5, 1).eval()
    theirs.fc = nn.Identity()
    x = pictures(75)
    assert torch.allclose(ours.features(x).mean(dim=(2, 3)), theirs(imagenet.normalise()(x)), atol=1e-4)


@torch.no_grad()
def test_weights_of_a_transformer_give_torchvision_s_tokens(tmp_path):
    theirs = torchvision().models.VisionTransformer(16, 4, 12, 1, 8, 32).eval()
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in theirs.state_dict().items()
    }
    torch.save(old, tmp_path / "vit.pth")
    network = Network(name="vit-b-16", width=8, patch=4, weights=tmp_path / "vit.pth")
    ours = networks.build(network, 5, 1, (16, 16)).eval()
    x = pictures(16)
    patches = theirs._process_input(imagenet.normalise()(x))
    tokens = theirs.encoder(torch.cat([theirs.class_token.expand(2, -1, -1), patches], dim=1))
    assert torch.allclose(ours.features(x).flatten(2).transpose(1, 2), tokens[:, 1:], atol=1e-5)
    assert networks.build(network, 5, 1, (8, 32)).eval()(pictures(32, height=8)).shape == (2, 5)


@pytest.mark.parametrize("name", ["small", "wide-resnet-28-10", "vit-b-16"])
def test_weights_of_a_run_are_taken_without_its_head(name, tmp_path):
    network, side, _ = TINY[name]
    first, second = (networks.build(network, 5, seed, (side, side)) for seed in (1, 2))
    head = second.head.weight.clone()
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    pretrained.load(second, tmp_path / "weights.safetensors")
    assert torch.equal(second.head.weight, head)
    taken = {key: value for key, value in second.state_dict().items() if not key.startswith("head.")}
    assert taken
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in taken.items())


def refusal(weights, **settings):
    with pytest.raises(ConfigError) as caught:
        networks.build(Network(weights=weights, **settings), 5, 1, (16, 16))
    assert str(weights) in str(caught.value)
    return str(caught.value)


def test_files_of_weights_that_do_not_fit_are_refused(tmp_path):
    assert "no such file; correct the path or leave it out" in refusal(tmp_path / "none.pth")
    assert "no such file" in refusal(tmp_path / "none.safetensors")
    small = networks.build(Network(width=4), 5, 1).state_dict()
    save_file(small, tmp_path / "small.safetensors")
    shapes = r"expected features.1.weight of shape (8, 3, 3, 3), got (4, 3, 3, 3); width and patch must be those"
    assert shapes in refusal(tmp_path / "small.safetensors", width=8)
    unlike = refusal(tmp_path / "small.safetensors", name="resnet-18", width=4)
    assert "expected the weights of this network, the file lacks 'body.stem.0.weight'" in unlike
    save_file({**small, "extra": torch.zeros(1)}, tmp_path / "more.safetensors")
    assert "the file has 'extra' (0 missing, 1 unknown)" in refusal(tmp_path / "more.safetensors", width=4)


class Dangerous:
    def __reduce__(self):
        return print, ("this must not run",)


def test_files_of_weights_that_cannot_be_read_run_nothing(tmp_path, capfd):
    torch.save({"weight": Dangerous()}, tmp_path / "pickle.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("noise.pth", "noise.safetensors", "empty.pth"):
        (tmp_path / name).write_bytes(b"" if name == "empty.pth" else b"noise" * 9)
    for name in ("pickle.pth", "noise.pth", "noise.safetensors", "empty.pth"):
        assert "expected tensors (.safetensors or .pth), could not read them: " in refusal(tmp_path / name)
    assert "expected names with tensors, got list of something else" in refusal(tmp_path / "list.pth")
    assert "expected names with tensors, got dict of something else" in refusal(tmp_path / "numbers.pth")
    assert "this must not run" not in capfd.readouterr().out
