"""The laws on a CUDA device, and that it agrees with the CPU."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch.nn import functional

from core import attacks, networks
from core.attacks.budget import Budget, uniform
from core.attacks.pgd import Pgd, pgd
from core.datasets import Data
from core.datasets.augmentation import Augmentation
from core.datasets.split import Split
from core.devices import autocast, deterministic, exact_float32
from core.evaluation import judge
from core.networks import Network
from core.objectives.part import Part
from core.objectives.pgd_at import PgdAt
from core.objectives.sip_at import SipAt
from core.objectives.standard import Standard
from core.optimisation import Optimiser
from core.recipe import Recipe
from core.salience.spectral import SpectralResidual
from core.tensors import generator, to_unit
from core.training import Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: torch.cuda.is_available() is false"),
]
DEVICE = torch.device("cuda")
OF_LINF = (
    "fgsm", "pgd-5", "apgd-ce-5", "apgd-dlr-5", "apgd-t-5x3", "fab-t-5x3", "square-40", "aa-fast-5x3", "pgd-3-r2-eot2",
)  # fmt: skip
OF_L2 = ("fgsm", "pgd-5", "apgd-ce-5", "apgd-t-5x3", "fab-t-5x3")
PICTURES, SIDE, CLASSES = 60, 16, 5
NETWORK = Network(name="resnet-18", width=8)
ATTACK = Pgd(steps=3, step_size=4 / 255)
OBJECTIVES = (PgdAt(attack=ATTACK), SipAt(attack=ATTACK), Part(attack=ATTACK, warm_up_epochs=0))


@pytest.fixture(autouse=True)
def full_float32():
    """TensorFloat-32 off: agreement with the CPU is meant in float32."""
    with exact_float32():
        yield


@pytest.fixture(scope="module")
def split():
    drawn = torch.randint(0, 256, (PICTURES, 3, SIDE, SIDE), generator=generator("cpu", 1, "pixels"))
    ids = tuple(f"train/noise/{number}" for number in range(PICTURES))
    return Split(pixels=drawn.to(torch.uint8), labels=torch.arange(PICTURES) % CLASSES, ids=ids)


@pytest.fixture(scope="module")
def fitted(split):
    """A net on the CPU that was trained for a moment, so that its margins are not all alike."""
    model = networks.build(NETWORK, CLASSES, seed=1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        optimiser.zero_grad()
        functional.cross_entropy(model(to_unit(split.pixels)), split.labels).backward()
        optimiser.step()
    return model.eval()


@pytest.fixture
def on_card(fitted):
    return copy.deepcopy(fitted).to(DEVICE)


def limits(highest):
    """Limits of every pixel from 0 to ``highest``; about half of them 0."""
    drawn = torch.rand(PICTURES, 1, SIDE, SIDE, generator=generator("cpu", 1, "limits")) * highest
    return drawn * (torch.rand(drawn.shape, generator=generator("cpu", 1, "mask")) < 0.5)


def right(model, x, y):
    return int((judge(model, x, y).margins > 0).sum())


@pytest.mark.parametrize("name", OF_LINF)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_attack_stays_inside_a_map_and_leaves_the_rest_bit_for_bit(on_card, split, name, precision):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    budget = Budget("linf", limits(16 / 255).to(DEVICE))
    with autocast(DEVICE, precision):
        found = attacks.run(attacks.named(name), on_card, x, y, budget, generator(DEVICE, 1))
    assert (found.device.type, found.dtype, found.shape) == (DEVICE.type, torch.float32, x.shape)
    assert float(budget.excess(x, found).max()) <= 1e-6
    still = (budget.eps == 0).expand_as(x)
    assert torch.equal(found[still], x[still])
    assert float((judge(on_card, found, y).margins - judge(on_card, x, y).margins).mean()) < 0


@pytest.mark.parametrize("name", OF_L2)
def test_an_attack_stays_inside_an_l2_budget(on_card, split, name):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    budget = Budget("l2", torch.full((1, 1, 1, 1), 0.5, device=DEVICE))
    found = attacks.run(attacks.named(name), on_card, x, y, budget, generator(DEVICE, 1))
    assert float(budget.excess(x, found).max()) <= 1e-6
    assert right(on_card, found, y) < right(on_card, x, y)


def test_a_flow_stays_inside_its_budget(on_card, split):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    budget = Budget("flow", torch.full((1, 1, 1, 1), 0.8, device=DEVICE))
    found = attacks.run(attacks.named("stadv-10"), on_card, x, y, budget, generator(DEVICE, 1))
    assert float(budget.excess(x, found).max()) <= 1e-6
    assert right(on_card, found, y) < right(on_card, x, y)


@pytest.mark.parametrize("name", OF_LINF)
def test_no_budget_is_identity(on_card, split, name):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    assert torch.equal(attacks.run(attacks.named(name), on_card, x, y, uniform(0.0, x), generator(DEVICE, 1)), x)


def test_the_same_seed_finds_the_same_pictures(on_card, split):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    attack, budget = attacks.named("aa-fast-5x3"), uniform(4 / 255, x)
    with deterministic():
        found = [attacks.run(attack, on_card, x, y, budget, generator(DEVICE, 1)) for _ in range(2)]
    assert torch.equal(*found)


def tell_apart(channels):
    """Returns how far a convolution on the card is from that in float64, over the largest of its sums."""
    drawn = generator("cpu", 1, "convolution")
    x, weight = (torch.randn(shape, generator=drawn) for shape in ((8, channels, 16, 16), (channels, channels, 3, 3)))
    exact = functional.conv2d(x.double(), weight.double())
    return float((functional.conv2d(x.to(DEVICE), weight.to(DEVICE)).cpu() - exact).abs().max() / exact.abs().max())


def test_convolutions_of_a_command_are_float32_even_where_tensorfloat_32_was_allowed():
    torch.backends.cudnn.allow_tf32 = True
    coarse = tell_apart(256)
    with deterministic():
        assert tell_apart(256) < 1e-5
    if torch.cuda.get_device_capability() >= (8, 0):  # older cards have no TensorFloat-32
        assert coarse > 1e-5


def test_logits_and_verdicts_agree_with_the_cpu(on_card, fitted, split):
    x, y = to_unit(split.pixels), split.labels
    ours, theirs = judge(on_card, x.to(DEVICE), y.to(DEVICE)), judge(fitted, x, y)
    torch.testing.assert_close(ours.margins.cpu(), theirs.margins, atol=1e-4, rtol=1e-4)
    sure = theirs.margins.abs() > 1e-3
    assert torch.equal(ours.predictions.cpu()[sure], theirs.predictions[sure])


def test_fgsm_agrees_with_the_cpu_but_for_gradients_of_nearly_zero(on_card, fitted, split):
    x, y = to_unit(split.pixels), split.labels
    found = [
        attacks.run(attacks.named("fgsm"), model, x.to(device), y.to(device), uniform(4 / 255, x.to(device)),
                    generator(device, 1)).cpu()
        for model, device in ((on_card, DEVICE), (fitted, torch.device("cpu")))
    ]  # fmt: skip
    assert float(((found[0] - found[1]).abs() < 1e-6).float().mean()) > 0.995


def test_pgd_from_one_start_agrees_with_the_cpu(on_card, fitted, split):
    """The random start of a device is its own, so both begin where the CPU begins."""
    x, y, eps = to_unit(split.pixels), split.labels, 4 / 255
    start = uniform(eps, x).random_start(x, generator("cpu", 1))
    losses = []
    for model, device in ((on_card, DEVICE), (fitted, torch.device("cpu"))):
        budget = _From(uniform(eps, x.to(device)), start.to(device))
        found = pgd(model, x.to(device), y.to(device), budget, steps=10, step_size=eps / 4, generator=None)
        losses.append(functional.cross_entropy(model(found), y.to(device), reduction="none").detach().cpu())
    assert float((losses[0] - losses[1]).abs().median()) < 0.01 * float(losses[1].median())
    assert float(losses[0].mean()) == pytest.approx(float(losses[1].mean()), rel=0.01)


class _From(Budget):
    """A budget whose random start is given."""

    def __init__(self, budget, start):
        super().__init__(budget.norm, budget.eps)
        object.__setattr__(self, "start", start)

    def random_start(self, x, generator):
        return self.start


def test_bfloat16_attacks_are_about_as_strong_judged_in_float32(on_card, split):
    x, y = to_unit(split.pixels).to(DEVICE), split.labels.to(DEVICE)
    standing = []
    for precision in ("float32", "bfloat16"):
        with autocast(DEVICE, precision):
            found = attacks.run(attacks.named("aa-fast-20x3"), on_card, x, y, uniform(2 / 255, x), generator(DEVICE, 1))
        standing.append(right(on_card, found, y))
    assert right(on_card, x, y) > standing[0]
    assert abs(standing[0] - standing[1]) <= 3


def recipe(objective, **changes):
    return Recipe(
        data=Data(source="photographs"),
        network=NETWORK,
        objective=objective,
        salience=SpectralResidual() if isinstance(objective, SipAt) else None,
        optimiser=Optimiser(epochs=2, batch_size=16, lr=0.05),
        **changes,
    )


def maps(settings):
    if settings.salience is None:
        return None
    return torch.rand(PICTURES, 1, SIDE, SIDE, generator=generator("cpu", 1, "maps")).to(DEVICE)


def training(settings, run, split, show=None):
    return Training(settings, run, split, CLASSES, maps(settings), show=show)


def test_a_training_step_gives_the_weights_that_it_gives_on_the_cpu(tmp_path, split):
    """One batch, no augmentation and no attack: these draw random numbers of the device's own."""
    settings = recipe(Standard(), augmentation=Augmentation(crop_border=0, flip=False))
    settings = dataclasses.replace(settings, optimiser=Optimiser(epochs=1, batch_size=PICTURES, lr=0.01))
    weights = []
    for name, pictures in (("card", split.to(DEVICE)), ("cpu", split)):
        fitting = training(settings, tmp_path / name, pictures)
        fitting.fit()
        weights.append({key: tensor.cpu() for key, tensor in fitting.final().items()})
    start = networks.build(NETWORK, CLASSES, seed=settings.seed).state_dict()
    assert any(not torch.equal(weights[1][key], start[key]) for key in start)
    for key, tensor in weights[1].items():
        torch.testing.assert_close(
            weights[0][key], tensor, atol=1e-4, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}"
        )


class StoppedError(Exception):
    """Ends a training after its first epoch, as a kill would."""


def stop(values, epoch):
    raise StoppedError


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.method)
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path, split, objective):
    settings, pictures = recipe(objective, precision="bfloat16", channels_last=True), split.to(DEVICE)
    with deterministic():
        whole = training(settings, tmp_path / "whole", pictures)
        whole.fit()
        with pytest.raises(StoppedError):
            training(settings, tmp_path / "stopped", pictures, show=stop).fit()
        resumed = training(settings, tmp_path / "stopped", pictures)
        assert resumed.progress.epoch == 1
        resumed.fit()
    assert all(torch.equal(tensor, resumed.final()[key]) for key, tensor in whole.final().items())
