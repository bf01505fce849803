"""AToP: each loss reaches its own net, the attack goes through the pipeline, the classifier stays as it is."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from core import config, networks
from core.attacks.budget import uniform
from core.attacks.pgd import Pgd, pgd
from core.devices import deterministic
from core.errors import ConfigError
from core.networks import Network
from core.objectives.atop import Atop, attack, terms
from core.objectives.atop import atop as loss_of
from core.objectives.batch import Batch
from core.purification import transforms
from core.purification.discriminator import discriminator_hinge
from core.purification.pipeline import Purification, Purified, compose
from core.purification.transforms import Transform
from core.tensors import generator

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("rt1", "rt2", "rt3")
CURVES = {
    "rt1": [1.16665, 1.32923, 1.32359, 1.35204, 1.32574],
    "rt2": [1.16715, 1.32929, 1.32381, 1.35257, 1.32646],
    "rt3": [1.16551, 1.33066, 1.32104, 1.3422, 1.32444],
}
ATTACK = Pgd(eps=8 / 255, steps=2, step_size=4 / 255)


def pictures(count=4, size=16, seed=1):
    """Smooth pictures: coarse random fields, enlarged."""
    coarse = torch.rand(count, 3, 3, 3, generator=generator("cpu", seed, "pictures"))
    return functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=True)


def settings(kind="rt2", **changes):
    purification = Purification(transform=Transform(kind=kind), width=4, discriminator_width=4)
    words = {"classifier": Path("run"), "purification": purification, "attack": ATTACK, "adversarial_from_epoch": 0}
    return Atop(**(words | changes))


def pipeline(kind="rt2", seed=1, votes=1):
    purification = Purification(transform=Transform(kind=kind), width=4, discriminator_width=4, votes=votes)
    return compose(purification, networks.build(Network(width=4), 5, seed), seed)


def draw(kind="rt2", x=None, seed=1, **words):
    x = pictures() if x is None else x
    return transforms.draw(Transform(kind=kind, **words), x, generator("cpu", seed, "draw"))


def atop(model, x, y, objective, source, epoch):
    batch = Batch(images=x, labels=y, salience=None, generator=source, epoch=epoch)
    return loss_of(model, batch, objective)


def gradients(module):
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in module.named_parameters()
    }


def size_of(gradient):
    return sum(float(value.abs().sum()) for value in gradient.values())


def test_a_few_steps_bring_the_purifier_below_the_error_of_its_input():
    objective, x = settings("rt2", adversarial_from_epoch=1), pictures(16)
    model = pipeline().train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01, betas=(0.5, 0.999))
    for step in range(40):
        optimiser.zero_grad()
        source = generator("cpu", 1, "step", step)
        atop(model, x, torch.arange(16) % 5, objective, source, 0).per_picture.mean().backward()
        optimiser.step()
    unseen, drawn = pictures(16, seed=2), draw("rt2", pictures(16), seed=9)
    with torch.no_grad():
        error = (model.purify(unseen, drawn) - unseen).abs().mean()
    before = (drawn.inputs(unseen)[:, :3] - unseen).abs().mean()
    assert error < 0.6 * before


# the objective


@pytest.mark.parametrize("kind", KINDS)
def test_first_five_losses(kind):
    """The second, third and later ones hold a classification term: adversarial from epoch 1, one step an epoch."""
    model = pipeline(kind).train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    with deterministic():
        for step in range(5):
            x, objective = pictures(8, seed=step), settings(kind, adversarial_from_epoch=1)
            loss = atop(model, x, torch.arange(8) % 5, objective, generator("cpu", step), step).per_picture.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert losses == pytest.approx(CURVES[kind], abs=2e-4)


def test_one_backward_gives_each_net_the_gradients_of_its_own_loss():
    """Against two backward passes, each with the other net's weights switched off."""
    model, x, y, objective = pipeline().train(), pictures(), torch.arange(4), settings(gan_weight=0.7)
    twin = copy.deepcopy(model)
    atop(model, x, y, objective, generator("cpu", 3), 0).per_picture.mean().backward()

    source = generator("cpu", 3)
    drawn = transforms.draw(twin.transform, x, source)
    attacked = attack(twin, x, y, objective, drawn, source)
    completed, logits = twin.purify(x, drawn), twin.classify(attacked, drawn)
    twin.discriminator.requires_grad_(False)
    gan = -twin.discriminator(completed, drawn.covered(x)).mean()
    loss = 0.7 * gan + (completed - x).abs().mean() + 0.1 * functional.cross_entropy(logits, y)
    loss.backward()
    twin.discriminator.requires_grad_(True)
    real, fake = (twin.discriminator(z, drawn.covered(x)) for z in (x, completed.detach()))
    (((1 - real).relu().mean() + (1 + fake).relu().mean()) / 2).backward()

    for name, expected in gradients(twin).items():
        torch.testing.assert_close(gradients(model)[name], expected, msg=name)
    assert size_of(gradients(model.purifier)) > 0
    assert size_of(gradients(model.discriminator)) > 0


@pytest.mark.parametrize(
    ("term", "reached", "spared"),
    [
        ("gan", "purifier", "discriminator"),
        ("reconstruction", "purifier", "discriminator"),
        ("classification", "purifier", "discriminator"),
        ("discriminator", "discriminator", "purifier"),
    ],
)
def test_each_term_reaches_its_own_net_alone(term, reached, spared):
    model, x = pipeline().train(), pictures()
    drawn = draw()
    completed = model.purify(x, drawn)
    parts = terms(model, x, completed, drawn, model.classifier(completed), torch.arange(4))
    parts[term].sum().backward()
    assert parts[term].shape == (4,)
    assert size_of(gradients(getattr(model, reached))) > 0
    assert size_of(gradients(getattr(model, spared))) == 0
    assert size_of(gradients(model.classifier)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_step_leaves_the_classifier_and_its_statistics_alone(kind):
    model = pipeline(kind).train()
    before = copy.deepcopy(model.state_dict())
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for epoch in range(2):
        optimiser.zero_grad()
        result = atop(model, pictures(), torch.arange(4), settings(kind), generator("cpu", epoch), epoch)
        result.per_picture.mean().backward()
        optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("classifier.") for name in changed)
    assert any(name.startswith("purifier.") for name in changed)
    assert any(name.startswith("discriminator.") for name in changed)
    assert sum(name.endswith("running_mean") for name in before) == 4


def test_modes_and_wishes_for_gradients_stay_as_they_were():
    model = pipeline().train()
    modes = {name: module.training for name, module in model.named_modules()}
    wishes = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for target in ("pipeline", "classifier"):
        atop(model, pictures(), torch.arange(4), settings(attack_target=target), generator("cpu", 1), 0)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wishes
    assert all(mode != name.startswith("classifier") for name, mode in modes.items())
    assert all(wish != name.startswith("classifier.") for name, wish in wishes.items())


def test_the_attack_on_the_pipeline_raises_its_loss_at_the_very_draw():
    model, x, y = pipeline().eval(), pictures(16), torch.arange(16) % 5
    drawn, budget = draw(x=x), uniform(ATTACK.eps, x)
    strong = Pgd(eps=8 / 255, steps=8, step_size=2 / 255)
    losses = {}
    for target in ("pipeline", "classifier"):
        objective = settings(attack_target=target, attack=strong)
        attacked = attack(model, x, y, objective, drawn, generator("cpu", 4))
        assert float(budget.excess(x, attacked).max()) < 1e-6
        with torch.no_grad():
            losses[target] = functional.cross_entropy(model.classify(attacked, drawn), y)
    with torch.no_grad():
        clean = functional.cross_entropy(model.classify(x, drawn), y)
    assert losses["pipeline"] > clean
    assert losses["pipeline"] > losses["classifier"]


def test_the_published_attack_is_that_on_the_bare_classifier():
    model, x, y = pipeline().train(), pictures(), torch.arange(4)
    attacked = attack(model, x, y, settings(attack_target="classifier"), draw(), generator("cpu", 5))
    bare = networks.build(Network(width=4), 5, 1)
    expected = pgd(bare, x, y, uniform(ATTACK.eps, x), steps=2, step_size=4 / 255, generator=generator("cpu", 5))
    assert torch.equal(attacked, expected)


def test_pre_training_has_neither_attack_nor_classification_term():
    x, y = pictures(), torch.arange(4)

    def losses(epoch, **changes):
        objective = settings(adversarial_from_epoch=2, **changes)
        return atop(pipeline(), x, y, objective, generator("cpu", 6), epoch).per_picture

    for epoch in (0, 1):
        assert torch.equal(losses(epoch), losses(epoch, classification_weight=9.0, attack_target="classifier"))
    assert (losses(2, classification_weight=9.0) > losses(2) + 1).all()
    torch.testing.assert_close(losses(2, classification_weight=0.0), losses(0))


def test_the_parts_are_the_means_of_the_terms_and_make_up_the_loss():
    objective = settings(gan_weight=0.5, classification_weight=0.2)
    result = atop(pipeline().eval(), pictures(), torch.arange(4), objective, generator("cpu", 7), 0)
    parts = result.parts
    assert set(parts) == {"gan", "reconstruction", "classification", "discriminator"}
    assert not any(part.requires_grad for part in parts.values())
    whole = 0.5 * parts["gan"] + parts["reconstruction"] + 0.2 * parts["classification"] + parts["discriminator"]
    torch.testing.assert_close(result.per_picture.mean(), whole)
    torch.testing.assert_close(parts["classification"], functional.cross_entropy(result.logits, torch.arange(4)))


def test_the_adversarial_picture_can_be_what_is_reconstructed():
    x, y = pictures(), torch.arange(4)
    objective = settings(reconstruct="adversarial", gan_weight=0.0, classification_weight=0.0)
    model, source = pipeline().eval(), generator("cpu", 7)
    got = atop(model, x, y, objective, generator("cpu", 7), 0).per_picture
    drawn = transforms.draw(model.transform, x, source)
    attacked = attack(model, x, y, objective, drawn, source)
    completed, where = model.purify(attacked, drawn), drawn.covered(x)
    hinge = discriminator_hinge(model.discriminator(attacked, where), model.discriminator(completed, where))
    torch.testing.assert_close(got, (completed - attacked).abs().mean(dim=(1, 2, 3)) + hinge)
    clean = atop(model, x, y, settings(gan_weight=0.0, classification_weight=0.0), generator("cpu", 7), 0)
    assert not torch.allclose(got, clean.per_picture)


def test_half_precision_changes_a_loss_by_little_and_layout_by_less():
    def loss(model, x):
        return atop(model, x, torch.arange(4), settings(attack_target="classifier"), generator("cpu", 8), 0)

    expected = loss(pipeline().train(), pictures()).per_picture
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halved = loss(pipeline().train(), pictures()).per_picture
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, expected, atol=0.01, rtol=0.01)
    swapped = pipeline().train().to(memory_format=torch.channels_last)
    got = loss(swapped, pictures().contiguous(memory_format=torch.channels_last)).per_picture
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_another_model_is_refused():
    with pytest.raises(ConfigError, match="atop: expected a purifier in front of a classifier, got SmallNet"):
        atop(networks.build(Network(width=4), 5, 1), pictures(), torch.arange(4), settings(), generator("cpu", 1), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: settings(adversarial_from_epoch=-1), "adversarial_from_epoch: expected at least 0, got -1"),
        (lambda: settings(gan_weight=-1.0), "classification_weight, gan_weight: expected at least 0, got 0.1, -1"),
        (lambda: settings(attack=Pgd(batch_norm="train")), "attack: batch_norm: expected 'eval', got 'train'; the"),
        (lambda: settings(classification_weight=-1.0), "classification_weight, gan_weight: .* got -1.0"),
        (lambda: Purification(votes=0), "width, discriminator_width, votes: expected at least 1, got 32, 32, 0"),
        (lambda: Purification(width=0), "width, discriminator_width, votes: expected at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


# from files


@pytest.mark.parametrize("name", ["demo-atop", "cifar10-atop"])
def test_the_configs_hold_objectives(name):
    table = tomllib.loads((ROOT / "core" / "configs" / f"{name}.toml").read_text(encoding="utf-8"))
    objective = config.build(Atop, table["objective"], name)
    assert objective.classifier.name == "standard"
    assert objective.attack.eps == 8 / 255
    assert objective.adversarial_from_epoch < table["optimiser"]["epochs"]
    transforms.block_sides(objective.purification.transform, *[table["data"].get("size", 32)] * 2)


RECIPE = """
seed = 0
[data]
source = "photographs"
size = 16
train_per_class = 4
test_per_class = 1
[network]
width = 4
[objective]
method = "standard"
[optimiser]
epochs = 1
batch_size = 32
"""


def test_a_new_model_stands_in_front_of_the_classifier_of_a_run_and_is_read_back(tmp_path):
    from core import models, train

    standard, run = tmp_path / "standard.toml", tmp_path / "standard"
    standard.write_text(RECIPE)
    assert train.main([str(standard), "--run-dir", str(run), "--device", "cpu"]) == 0
    objective = f'method = "atop"\nclassifier = "{run.as_posix()}"\nadversarial_from_epoch = 0\n'
    objective += "attack = { steps = 1 }\npurification = { width = 4, discriminator_width = 4 }"
    defended = tmp_path / "atop.toml"
    defended.write_text(RECIPE.replace('method = "standard"', objective))
    assert train.main([str(defended), "--run-dir", str(tmp_path / "atop"), "--device", "cpu"]) == 0
    before, after = (models.load_classifier(path, torch.device("cpu")) for path in (run, tmp_path / "atop"))
    assert isinstance(after, Purified)
    expected = before.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in after.classifier.state_dict().items())
    untrained = compose(Purification(width=4, discriminator_width=4), before, seed=0)
    assert after.transform == untrained.transform == Transform()
    assert not torch.equal(untrained.purifier.picture.weight, after.purifier.picture.weight)
