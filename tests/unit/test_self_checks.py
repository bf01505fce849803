"""Each self-check on a model that truly has the fault, and on a healthy one that has not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from core import attacks, networks, self_checks
from core.attacks.budget import uniform
from core.datasets.photographs import cut_photographs
from core.networks import Network
from core.tensors import generator, to_unit

EPS = 8 / 255


@pytest.fixture(scope="module")
def pictures():
    test = cut_photographs(24, 40, 4).test
    return to_unit(test.pixels), test.labels


@pytest.fixture(scope="module")
def net():
    """A classifier that learned its pictures: real, and healthy."""
    train = cut_photographs(24, 40, 4).train
    model = networks.build(Network(width=8), 15, 1, (24, 24)).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    draws = generator("cpu", 1)
    for _ in range(120):
        chosen = torch.randperm(len(train), generator=draws)[:64]
        loss = nn.functional.cross_entropy(model(to_unit(train.pixels[chosen])), train.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


class Changed(nn.Module):
    """A net with something before it or after it."""

    def __init__(self, net, before=lambda x: x, after=lambda logits: logits):
        super().__init__()
        self.net, self.before, self.after = net, before, after
        self.eval()

    def forward(self, x):
        return self.after(self.net(self.before(x)))


def reversed_gradient(x):
    """Returns ``x``, with a gradient that points the wrong way."""
    return 2 * x.detach() - x


def wavy(x):
    """Returns ``x`` with a ripple a grey level that changes no 8-bit picture: small steps get caught in it."""
    return x + torch.sin(2 * math.pi * 255 * x) / 255


def fooled(model, pictures, *names, eps=EPS):
    x, y = pictures
    budget, found = uniform(eps, x), {}
    for name in names:
        adversarial = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", 1, name))
        with torch.no_grad():
            found[name] = model(adversarial).argmax(1) != y
    return found


def code(finding):
    return None if finding is None else finding.code


def test_a_healthy_model_raises_no_doubt(net, pictures):
    assert self_checks.of_model(net, *pictures) == []


def test_a_model_in_training_mode_is_seen(net):
    model = nn.Sequential(net, nn.Dropout())
    assert code(self_checks.training_mode(model.train())) == "training-mode"
    assert self_checks.training_mode(model.eval()) is None


def test_random_output_is_seen_and_may_be_allowed(net, pictures):
    draws = generator("cpu", 3)
    noisy = Changed(net, before=lambda x: x + 0.1 * torch.randn(x.shape, generator=draws))
    assert code(self_checks.random_output(noisy, pictures[0])) == "random-output"
    assert self_checks.random_output(net, pictures[0]) is None
    codes = [finding.code for finding in self_checks.of_model(noisy, *pictures, chance_allowed=True)]
    assert "random-output" not in codes


def test_probabilities_are_told_from_logits(net, pictures):
    soft = Changed(net, after=lambda logits: logits.softmax(1))
    assert code(self_checks.probabilities(soft, pictures[0])) == "probabilities"
    assert self_checks.probabilities(net, pictures[0]) is None
    assert self_checks.probabilities(Changed(net, after=torch.sigmoid), pictures[0]) is None


def test_a_model_of_another_input_range_is_seen(net, pictures):
    x, y = pictures
    for before in (lambda x: x / 255, lambda x: (x + 1) / 2):
        finding = self_checks.input_range(Changed(net, before=before), x, y)
        assert code(finding) == "input-range"
        assert "it was trained for that range" in finding.message
    assert self_checks.input_range(net, x, y) is None


@pytest.mark.parametrize("change", [lambda x: 255 * x, lambda x: 2 * x - 1, lambda x: x / 255])
def test_pictures_outside_the_range_are_seen(net, pictures, change):
    finding = self_checks.input_range(net, change(pictures[0]), pictures[1])
    assert code(finding) == "input-range"
    assert "expected 0..1" in finding.message


def test_vanished_gradients_are_seen(net, pictures):
    x, y = pictures
    rounded = Changed(net, before=lambda x: (8 * x).round() / 8)
    huge = Changed(net, after=lambda logits: 1e5 * logits)
    cut = Changed(net, before=lambda x: x.detach())
    for model in (rounded, huge, cut):
        assert code(self_checks.zero_gradients(model, x, y)) == "zero-gradients"
    assert self_checks.zero_gradients(net, x, y) is None


def test_a_model_that_stands_where_none_can_is_seen(net, pictures):
    misleading = Changed(net, before=reversed_gradient)
    assert code(self_checks.large_budget(misleading, *pictures)) == "large-budget-survived"
    assert self_checks.large_budget(net, *pictures) is None


def test_square_that_beats_gradients_is_seen(net, pictures):
    masked = fooled(Changed(net, before=reversed_gradient), pictures, "pgd-20", "square-300")
    healthy = fooled(net, pictures, "pgd-40", "square-300")
    finding = self_checks.square_beats_gradients([masked["pgd-20"]], [masked["square-300"]])
    assert code(finding) == "square-beats-gradients"
    assert self_checks.square_beats_gradients([healthy["pgd-40"]], [healthy["square-300"]]) is None
    assert self_checks.square_beats_gradients([], [healthy["square-300"]]) is None


def test_one_picture_more_for_square_is_no_sign():
    gradients = torch.tensor([True, False, False, False])
    one, two = torch.tensor([False, True, False, False]), torch.tensor([False, True, True, False])
    assert self_checks.square_beats_gradients([gradients], [one]) is None
    assert code(self_checks.square_beats_gradients([gradients], [two])) == "square-beats-gradients"


def test_fgsm_that_beats_pgd_is_seen(net, pictures):
    masked = fooled(Changed(net, before=wavy), pictures, "fgsm", "pgd-100")
    healthy = fooled(net, pictures, "fgsm", "pgd-100")
    assert code(self_checks.fgsm_beats_pgd(masked)) == "fgsm-beats-pgd"
    assert self_checks.fgsm_beats_pgd(healthy) is None


def test_an_attack_that_gets_weaker_with_steps_is_seen(net, pictures):
    names = ("pgd-2", "pgd-100")
    masked = fooled(Changed(net, before=wavy), pictures, *names)
    healthy = fooled(net, pictures, *names)
    assert code(self_checks.more_steps_weaker(masked)) == "more-steps-weaker"
    assert self_checks.more_steps_weaker(healthy) is None
    assert self_checks.more_steps_weaker({"pgd-2": masked["pgd-2"], "apgd-ce-100": masked["pgd-100"]}) is None


def test_transfer_that_beats_the_white_box_is_seen(net, pictures):
    own = fooled(net, pictures, "pgd-20")
    masked = fooled(Changed(net, before=reversed_gradient), pictures, "pgd-20")
    finding = self_checks.transfer_beats_white_box(masked, {"net by pgd-20": own["pgd-20"]})
    assert code(finding) == "transfer-beats-white-box"
    assert self_checks.transfer_beats_white_box(own, {"other by pgd-20": masked["pgd-20"]}) is None
    assert self_checks.transfer_beats_white_box({}, own) is None
