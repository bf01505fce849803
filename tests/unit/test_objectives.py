"""Laws of the training objectives: what may move, whose budget it is, and the terms against hand calculations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import config, objectives
from core.attacks.budget import Budget
from core.attacks.pgd import Pgd, pgd
from core.devices import autocast
from core.errors import ConfigError
from core.networks.mode import frozen
from core.objectives.batch import Batch
from core.objectives.mart import Mart, boosted_cross_entropy, weighted_kl
from core.objectives.part import (
    Part,
    PartM,
    PartT,
    part_budget,
)
from core.objectives.pgd_at import PgdAt
from core.objectives.sip_at import SipAt
from core.objectives.standard import Standard
from core.objectives.trades import Trades, kl_divergence
from core.recipe import Recipe
from core.tensors import generator
from tests.explained_net import ATTACK, EPS, PART, Net, batch

CONFIGS = Path(config.__file__).parent / "configs"
METHODS = {
    "standard": Standard(),
    "pgd-at": PgdAt(attack=ATTACK),
    "pgd-at, batch norm in training mode": PgdAt(attack=Pgd(eps=EPS, steps=2, batch_norm="train")),
    "trades": Trades(attack=ATTACK),
    "mart": Mart(attack=ATTACK),
    "sip-at": SipAt(attack=ATTACK),
    "sip-at, soft": SipAt(attack=ATTACK, budget="soft"),
    "sip-at on trades": SipAt(attack=ATTACK, base="trades", beta=6.0),
    "part": Part(**PART),
    "part, published": Part(**PART, importance="published", upsampling="bicubic"),
    "part, layer-cam": Part(**PART, cam="layer-cam"),
    "part, x-grad-cam": Part(**PART, cam="x-grad-cam"),
    "part-t": PartT(**PART),
    "part-m": PartM(**PART),
}
TRAINED_ON_BOTH = {"trades", "mart", "sip-at on trades", "part-t", "part-m"}
SIP = [SipAt(attack=ATTACK, threshold=0.4), SipAt(attack=ATTACK, threshold=0.4, base="trades", beta=6.0)]


class Fixed(nn.Module):
    """Gives the first logits to the pictures of its batch as they are, the second to any others."""

    def __init__(self, x, clean, attacked):
        super().__init__()
        self.x, self.clean, self.attacked = x, clean, attacked

    def forward(self, x):
        return (self.clean if torch.equal(x, self.x) else self.attacked) + 0 * x.sum()


def softmax(logits):
    powers = np.exp(np.asarray(logits, dtype=np.float64))
    return powers / powers.sum(axis=1, keepdims=True)


LOGITS = torch.tensor([[2.0, 0.5, -1.0, 0.0], [0.1, 0.2, 0.3, 3.0], [-1.0, 1.0, 0.0, 0.5]])
OTHERS = torch.tensor([[0.0, 1.5, -0.5, 0.2], [0.4, -0.2, 1.3, 2.0], [2.0, -1.0, 0.3, 0.1]])
LABELS = torch.tensor([0, 3, 2])


def hand_kl(clean, attacked):
    p, q = softmax(clean), softmax(attacked)
    return (p * np.log(p / q)).sum(axis=1)


def hand_trades(clean, attacked):
    natural, divergence = -np.log(softmax(clean)[range(3), LABELS]), hand_kl(clean, attacked)
    return natural + 2.5 * divergence, {"natural": natural, "divergence": divergence}


def hand_mart(clean, attacked):
    p, q, rows = softmax(clean), softmax(attacked), range(3)
    rival = np.where(np.arange(4) == LABELS.numpy()[:, None], 0, q).max(axis=1)
    boosted = -np.log(q[rows, LABELS]) - np.log(1 - rival)
    divergence = hand_kl(clean, attacked) * (1 - p[rows, LABELS])
    return boosted + 5 * divergence, {"boosted": boosted, "divergence": divergence}


def hand_gradient(function, clean, attacked, place):
    """Returns the gradient of the summed loss for one of its two arguments, by central differences."""
    logits, step = [clean.double().numpy(), attacked.double().numpy()], 1e-5
    gradient = np.zeros_like(logits[place])
    for index in np.ndindex(gradient.shape):
        sums = []
        for sign in (1, -1):
            moved = [values.copy() for values in logits]
            moved[place][index] += sign * step
            sums.append(function(*moved)[0].sum())
        gradient[index] = (sums[0] - sums[1]) / (2 * step)
    return gradient


def on_fixed_logits(objective, clean, attacked):
    x = torch.rand(3, 3, 4, 4, generator=generator("cpu", 2)) * 0.5 + 0.25
    given = Batch(images=x, labels=LABELS, salience=None, generator=generator("cpu", 2))
    return objectives.loss(objective, Fixed(x, clean, attacked), given)


@pytest.mark.parametrize(
    ("objective", "hand"),
    [(Trades(attack=ATTACK, beta=2.5), hand_trades), (Mart(attack=ATTACK, beta=5.0), hand_mart)],
    ids=["trades", "mart"],
)
def test_terms_and_gradients_on_fixed_logits_are_what_a_hand_calculation_gives(objective, hand):
    clean, attacked = LOGITS.clone().requires_grad_(), OTHERS.clone().requires_grad_()
    loss = on_fixed_logits(objective, clean, attacked)
    expected, parts = hand(LOGITS, OTHERS)
    np.testing.assert_allclose(loss.per_picture.detach(), expected, rtol=1e-5)
    assert loss.parts.keys() == parts.keys()
    for name, values in parts.items():
        np.testing.assert_allclose(loss.parts[name], values.mean(), rtol=1e-5)
    assert torch.equal(loss.logits, OTHERS)
    for place, gradient in enumerate(torch.autograd.grad(loss.per_picture.sum(), (clean, attacked))):
        np.testing.assert_allclose(gradient, hand_gradient(hand, LOGITS, OTHERS, place), atol=1e-4)


def test_terms_stay_finite_and_right_where_probabilities_round_to_0_and_1():
    sure, wrong = torch.tensor([[200.0, 0.0, -200.0]]), torch.tensor([[0.0, 200.0, -200.0]]).requires_grad_()
    y = torch.tensor([0])
    assert kl_divergence(sure, wrong).item() == pytest.approx(200)
    assert boosted_cross_entropy(wrong, y).item() == pytest.approx(400)
    (gradient,) = torch.autograd.grad((boosted_cross_entropy(wrong, y) + weighted_kl(sure, wrong, y)).sum(), wrong)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 0] == pytest.approx(-2)


@pytest.mark.parametrize("name", METHODS)
def test_mode_gradients_and_statistics_of_the_attack_leave_no_trace(name):
    model = Net()
    model.body[0].weight.requires_grad_(False)
    model.drop.eval()
    modes = [module.training for module in model.modules()]
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    given = batch()
    objectives.loss(METHODS[name], model, given).per_picture.mean().backward()
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert model.body[0].weight.grad is None
    assert model.head.weight.grad.abs().max() > 0
    assert model.body[1].num_batches_tracked == (2 if name in TRAINED_ON_BOTH else 1)


@pytest.mark.parametrize("name", METHODS)
def test_every_weight_learns_in_bfloat16_as_well(name):
    """Autocast keeps casts of weights; one that an attack makes, without gradients, must not be used for training."""
    model, coarse = Net(), Net()
    given = batch()
    exact = objectives.loss(METHODS[name], model, given).per_picture
    exact.mean().backward()
    with autocast(given.images.device, "bfloat16"):
        loss = objectives.loss(METHODS[name], coarse, batch()).per_picture
    loss.mean().backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, atol=0.1, rtol=0.05)
    for (place, parameter), other in zip(model.named_parameters(), coarse.parameters(), strict=True):
        if place != "body.0.bias":  # batch norm takes it away again
            likeness = torch.cosine_similarity(parameter.grad.flatten(), other.grad.flatten(), dim=0)
            assert likeness > 0.8, place


@pytest.mark.parametrize("name", METHODS)
def test_identical_inputs_give_identical_losses_and_parts_are_their_means(name):
    first, second = (objectives.loss(METHODS[name], Net(), batch()) for _ in range(2))
    assert torch.equal(first.per_picture, second.per_picture)
    assert torch.equal(first.logits, second.logits)
    weights = {"divergence": 6.0, "budget": 0.0}
    total = sum(weights.get(part, 1.0) * value for part, value in first.parts.items())
    assert total.item() == pytest.approx(first.per_picture.mean().item(), rel=1e-5)
    assert not any(value.requires_grad for value in first.parts.values())


@pytest.mark.parametrize("objective", SIP, ids=["on pgd-at", "on trades"])
def test_sip_at_never_changes_a_salient_pixel_at_any_step(objective):
    model, given = Net(), batch()
    objectives.loss(objective, model, given)
    spared = (given.salience > 0.4).expand_as(given.images)
    iterates = [shown for shown in model.shown if not torch.equal(shown, given.images)]
    assert len(iterates) == ATTACK.steps + 1  # the start, two steps on, and the pictures that are trained on
    for shown in iterates:
        assert torch.equal(shown[spared], given.images[spared])
        assert (shown - given.images)[~spared].abs().max() > 0
        assert (shown - given.images).abs().max() <= EPS + 1e-6


def test_a_soft_budget_shrinks_with_salience_and_holds_at_every_step():
    model, given = Net(), batch()
    objectives.loss(SipAt(attack=ATTACK, budget="soft"), model, given)
    limit = EPS * (1 - given.salience)
    for shown in model.shown:
        assert ((shown - given.images).abs() <= limit + 1e-6).all()
    reached = ((model.shown[-1] - given.images).abs() / limit).clamp(max=1)
    assert reached.mean() > 0.7


def test_the_attack_of_trades_starts_from_little_noise_and_raises_the_divergence_from_a_prediction_held_fixed():
    model, given = Net(), batch()
    objectives.loss(Trades(attack=ATTACK), model, given)
    clean, start, *_, last = (*model.shown[:-2], model.shown[-1])
    assert torch.equal(clean, given.images)
    assert 0 < (start - given.images).abs().max() < 0.006
    fresh = Net().eval()
    p = fresh(clean).detach().softmax(1)
    same = pgd(
        fresh, clean, given.labels, Budget("linf", torch.full((1, 1, 1, 1), EPS)), steps=3, step_size=3 / 255,
        generator=generator("cpu", 1), loss=lambda logits, _: -(p * logits.log_softmax(1)).sum(1), start="normal",
    )  # fmt: skip
    assert torch.equal(same, last)  # KL(p ‖ q) and −Σ p log q differ by a constant
    with torch.no_grad():
        assert (kl_divergence(fresh(clean), fresh(last)) > 5 * kl_divergence(fresh(clean), fresh(start))).all()


def test_mart_attacks_by_cross_entropy_from_little_noise():
    model, given = Net(), batch()
    objectives.loss(Mart(attack=ATTACK), model, given)
    start = model.shown[0]
    assert 0 < (start - given.images).abs().max() < 0.006
    same = pgd(
        Net(), given.images, given.labels, Budget("linf", torch.full((1, 1, 1, 1), EPS)), steps=3, step_size=3 / 255,
        generator=generator("cpu", 1), start="normal",
    )  # fmt: skip
    assert torch.equal(same, model.shown[-1])


def test_batch_norm_of_an_attack_in_training_mode_sees_the_batch_and_forgets_it():
    model, x = Net(), batch().images
    model.drop.p = 0.9
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with frozen(model, "train"), torch.no_grad():
        by_batch = model.body[1](model.body[0](x))
        assert not model.drop.training
    torch.testing.assert_close(by_batch.mean(dim=(0, 2, 3)), torch.zeros(6), atol=1e-5, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model.eval()
    with frozen(model, "train"), torch.no_grad():
        assert not model.body[1].training
    losses = [
        objectives.loss(PgdAt(attack=Pgd(eps=EPS, steps=3, batch_norm=mode)), Net(), batch()).per_picture
        for mode in ("eval", "train")
    ]
    assert not torch.equal(*losses)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trades(beta=-1.0), "beta: expected at least 0 .6 is usual., got -1.0"),
        (lambda: Mart(beta=-1.0), "beta: expected at least 0"),
        (lambda: PartT(beta=-1.0), "beta: expected at least 0"),
        (lambda: PartM(beta=-1.0), "beta: expected at least 0"),
        (lambda: SipAt(base="trades", beta=-1.0), "beta: expected at least 0"),
        (lambda: SipAt(threshold=1.5), "threshold: expected 0 to 1, got 1.5"),
        (lambda: SipAt(budget="soft", threshold=0.7), "threshold: a soft budget has none, got 0.7"),
        (lambda: SipAt(base="trades"), "beta: base = 'trades' needs it, got none; add beta = 6.0"),
        (lambda: SipAt(beta=6.0), "beta: base = 'pgd-at' has none, got 6.0; remove it"),
        (lambda: Part(eps_low=9 / 255), "eps_low: expected 0 to attack.eps = 0.0313725, got 0.0352941"),
        (lambda: PartT(eps_low=-0.1), "eps_low: expected 0 to attack.eps"),
        (lambda: Part(warm_up_epochs=-1), "warm_up_epochs, recompute_every: expected at least 0 and 1, got -1, 1"),
        (lambda: PartM(recompute_every=0), "expected at least 0 and 1, got 20, 0"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_what_a_batch_lacks_is_named():
    with pytest.raises(ConfigError, match="recompute_every: 5 expects a copy of earlier weights .*, got none; set"):
        objectives.loss(Part(**PART, recompute_every=5), Net(), batch())
    grey = torch.rand(2, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"'published' expects pictures of 3 channels \(RGB\), got 1; use importance"):
        part_budget(Grey(), batch(2, images=grey), Part(**PART, importance="published"))


class Grey(Net):
    def features(self, x):
        return super().features(x.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("data", ["demo", "cifar10"])
@pytest.mark.parametrize("method", ["trades", "mart", "part", "part-t", "part-m"])
def test_recipes_differ_from_pgd_at_in_the_objective_alone(data, method):
    made, base = (config.load(Recipe, CONFIGS / f"{data}-{name}.toml") for name in (method, "pgd-at"))
    assert made.objective.method == method
    assert made.objective.attack == base.objective.attack
    assert dataclasses.replace(made, objective=base.objective) == base
    assert getattr(made.objective, "warm_up_epochs", 0) < made.optimiser.epochs


@pytest.mark.parametrize("name", METHODS)
def test_settings_survive_a_toml_file(name, tmp_path):
    path = tmp_path / "objective.toml"
    path.write_text(config.dumps(METHODS[name]))
    assert config.load(type(METHODS[name]), path) == METHODS[name]
