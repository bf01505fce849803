"""Laws of every attack × norm × map, and that each does something."""

from __future__ import annotations

import logging
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from core import attacks, networks
from core.attacks import autoattack, front, singles
from core.attacks.apgd import Apgd
from core.attacks.autoattack import Ensemble, aa_fast, aa_standard
from core.attacks.budget import Budget, uniform
from core.attacks.fab import Fab
from core.attacks.fgsm import Fgsm
from core.attacks.front import Front, check_answers
from core.attacks.losses import margin
from core.attacks.minimal import minimal_levels, on_lattice
from core.attacks.pgd import RelativePgd
from core.attacks.square import Square
from core.attacks.stadv import StAdv
from core.attacks.tries import Tries
from core.errors import ConfigError, DataError
from core.networks import Network
from core.regions import budget_in
from core.tensors import generator, to_unit
from tests.fitted_net import fitted_net

GRADIENT = ["fgsm", "pgd-4", "apgd-ce-4", "apgd-dlr-4", "apgd-t-3x2", "fab-t-3x2", "aa-fast-3x2", "aa-rand-2-eot2"]
LINF = [*GRADIENT, "square-20", "aa-standard-3x2x10"]
PAIRS = [("linf", name) for name in LINF] + [("l2", name) for name in GRADIENT] + [("flow", "stadv-4")]
STRONG = {
    "linf": ["fgsm", "pgd-20", "apgd-ce-20", "apgd-dlr-40", "apgd-t-20x4", "fab-t-20x4", "aa-standard-20x4x50"],
    "l2": ["fgsm", "pgd-20", "apgd-ce-20", "apgd-dlr-40", "apgd-t-20x4", "fab-t-20x4", "aa-fast-20x4"],
    "flow": ["stadv-20"],
}
REACH = {"linf": 6 / 255, "l2": 0.3, "flow": 0.3}


@pytest.fixture(scope="module")
def fitted():
    model, x, y = fitted_net(12, 10)
    assert right(model, x, y) > 0.95
    return model, x, y


def right(model, x, y):
    return float((model(x).argmax(1) == y).float().mean())


def a_map(norm, seed, batch=3, height=8, width=6):
    """Returns limits of which about half are 0; of one picture all are."""
    size = {"linf": 0.1, "l2": 1.0, "flow": 1.5}[norm]
    eps = torch.rand(batch, 1, height, width, generator=generator("cpu", seed, "eps")) * size
    eps *= torch.rand(eps.shape, generator=generator("cpu", seed, "mask")) < 0.5
    eps[-1] = 0
    return Budget(norm, eps)


def linear(classes=4, shape=(3, 6, 5), seed=3):
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(model[1].weight.shape, generator=generator("cpu", seed)))
        model[1].bias.zero_()
    return model.eval()


# ---- laws ----


@settings(max_examples=12)
@pytest.mark.parametrize(("norm", "name"), PAIRS)
@given(seed=st.integers(0, 1000), start=st.sampled_from([0.0, 0.5, 1.0]))
def test_inside_the_map_and_the_unit_range_and_bit_for_bit_where_nothing_may_change(norm, name, seed, start):
    model = networks.build(Network(width=4), classes=5, seed=1).eval()
    x = torch.rand(3, 3, 8, 6, generator=generator("cpu", seed)) * (1 - start) + start / 2
    y, budget = torch.tensor([0, 1, 2]), a_map(norm, seed)
    moved = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", seed))
    assert moved.dtype == x.dtype
    assert float(budget.excess(x, moved).max()) <= 1e-6
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    still = (budget.eps == 0).expand_as(x)
    assert torch.equal(moved[still], x[still])


@pytest.mark.parametrize(("norm", "name"), PAIRS)
def test_no_budget_is_identity(norm, name, fitted):
    model, x, y = fitted
    budget = Budget(norm, torch.zeros(1, 1, 1, 1))
    assert torch.equal(attacks.run(attacks.named(name), model, x[:6], y[:6], budget, generator("cpu", 1)), x[:6])


@pytest.mark.parametrize(("norm", "name"), [(norm, name) for norm, names in STRONG.items() for name in names])
def test_an_attack_that_does_nothing_would_fail(norm, name, fitted):
    """Each takes at least one picture in ten; within a map too, where half of the pixels may change as much again."""
    model, x, y = fitted
    half = (torch.rand(60, 1, 12, 10, generator=generator("cpu", 5)) < 0.5).float()
    for budget in (Budget(norm, torch.full((1, 1, 1, 1), REACH[norm])), Budget(norm, 3 * REACH[norm] * half)):
        moved = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", 1))
        assert right(model, moved, y) <= right(model, x, y) - 0.1
        assert bool((moved != x).flatten(1).any(dim=1).all())


def test_square_takes_pictures_too(fitted):
    model, x, y = fitted
    moved = attacks.run(Square(queries=300), model, x, y, uniform(32 / 255, x), generator("cpu", 1))
    assert right(model, moved, y) <= right(model, x, y) - 0.1


@settings(max_examples=8)
@pytest.mark.parametrize(
    ("norm", "kind"),
    [("linf", "pgd-{}"), ("linf", "apgd-ce-{}"), ("l2", "pgd-{}"), ("l2", "apgd-ce-{}")],
)
@given(seed=st.integers(0, 1000))
def test_on_a_linear_model_more_steps_are_never_weaker(norm, kind, seed):
    """The margin after 40 steps is at most that after 10 plus a hundredth of what 10 steps gained; fooled is fooled."""
    model, x = linear(), torch.rand(8, 3, 6, 5, generator=generator("cpu", seed))
    y = model(x).argmax(1)
    budget = Budget(norm, torch.full((1, 1, 1, 1), 0.002 if norm == "linf" else 0.01))
    margins = [
        margin(model(attacks.run(attacks.named(kind.format(steps)), model, x, y, budget, generator("cpu", seed))), y)
        for steps in (10, 40)
    ]
    gained = margin(model(x), y) - margins[0]
    assert bool((gained > 0).all())
    assert bool((margins[1].clamp(min=0) <= margins[0].clamp(min=0) + 0.01 * gained + 1e-5).all())


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_on_a_linear_model_more_queries_of_square_bring_the_mean_margin_down(seed):
    model, x = linear(), torch.rand(16, 3, 6, 5, generator=generator("cpu", seed))
    y, budget = model(x).argmax(1), uniform(0.002, x)
    after = []
    for queries in (1, 30, 300):
        moved = attacks.run(Square(queries=queries), model, x, y, budget, generator("cpu", seed))
        after.append(float(margin(model(moved), y).detach().mean()))
    assert after[0] > after[1] > after[2]


@pytest.mark.parametrize(("norm", "name"), [("linf", "pgd-40"), ("linf", "fab-t-60x4"), ("linf", "square-300"),
                                            ("l2", "apgd-ce-40"), ("flow", "stadv-40")])  # fmt: skip
def test_a_targeted_attack_brings_its_class_and_no_other_counts(norm, name, fitted):
    model, x, y = fitted
    target, eps = (y + 1) % 5, {"linf": 64 / 255, "l2": 3.0, "flow": 1.0}[norm]
    budget = Budget(norm, torch.full((1, 1, 1, 1), eps))
    moved = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", 1), target=target)
    assert right(model, moved, target) >= right(model, x, target) + 0.25


def test_the_same_seed_gives_the_same_pictures_and_another_one_others(fitted):
    model, x, y = fitted
    attack = aa_standard(steps=5, targets=2, queries=20)
    first, second, other = (
        attacks.run(attack, model, x, y, uniform(4 / 255, x), generator("cpu", seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_mode_and_gradients_stay_as_they_were(fitted):
    model, x, y = fitted
    for name in LINF:
        attacks.run(attacks.named(name), model.train(), x[:4], y[:4], uniform(0.01, x), generator("cpu", 1))
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())
    model.eval()


# ---- who leaves when ----


@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce-20", "fab-t-20x4"])
def test_pictures_that_leave_change_nothing_for_those_that_stay(name, fitted, monkeypatch):
    model, x, y = fitted
    with_leaving = attacks.run(attacks.named(name), model, x, y, uniform(5 / 255, x), generator("cpu", 1))
    monkeypatch.setattr(front, "_STEPS_BETWEEN_LEAVING", 10**6)
    without = attacks.run(attacks.named(name), model, x, y, uniform(5 / 255, x), generator("cpu", 1))
    stands = model(without).argmax(1) == y
    assert torch.equal(stands, model(with_leaving).argmax(1) == y)
    assert 0 < int(stands.sum()) < len(x)
    torch.testing.assert_close(with_leaving[stands], without[stands], atol=1e-5, rtol=0)


def test_the_numbers_of_rows_come_from_one_short_sequence():
    sizes = {front._bucket(standing, 256) for standing in range(257)}
    assert all(front._bucket(standing, 256) >= standing for standing in range(257))
    assert front._bucket(0, 256) == 0
    assert sorted(sizes)[-4:] == [108, 144, 192, 256]
    assert len(sizes) < 20


class Rounded(nn.Module):
    """A model whose bfloat16 self says something else near the boundary: it sees the sum in steps."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        logits = self.model(x)
        if torch.is_autocast_enabled("cpu"):
            logits = logits - 5 * torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1])
        return logits


def test_only_what_float32_agrees_to_leaves(fitted):
    """In bfloat16 every picture seems fooled at once; those that float32 says stand go on, and fall as usual."""
    model, x, y = fitted
    budget = uniform(6 / 255, x)
    alone = attacks.run(Apgd(steps=20), Rounded(model), x, y, budget, generator("cpu", 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lied_to = attacks.run(Apgd(steps=20), Rounded(model), x, y, budget, generator("cpu", 1))
    assert right(model, alone, y) < 0.6
    assert right(model, lied_to, y) < 0.8


def test_gradients_in_bfloat16_are_about_as_strong_and_stay_inside(fitted):
    model, x, y = fitted
    budget = uniform(6 / 255, x)
    for name in ("pgd-20", "apgd-ce-20", "apgd-t-20x4", "aa-fast-20x4"):
        full = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", 1))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = attacks.run(attacks.named(name), model, x, y, budget, generator("cpu", 1))
        assert half.dtype == torch.float32
        assert float(budget.excess(x, half).max()) <= 1e-6
        assert right(model, half, y) <= right(model, full, y) + 0.05


# ---- tries: restarts, targets, expectation over randomness ----


def test_restarts_help_and_only_the_standing_are_tried_again(fitted):
    model, x, y = fitted
    budget = uniform(5 / 255, x)
    once, often = (
        attacks.run(RelativePgd(steps=5, restarts=times), model, x, y, budget, generator("cpu", 1)) for times in (1, 8)
    )
    fooled = model(once).argmax(1) != y
    assert torch.equal(often[fooled], once[fooled])
    assert right(model, often, y) < right(model, once, y)


class Noisy(nn.Module):
    """A classifier that adds noise to its logits, anew at each call."""

    def __init__(self, model, size):
        super().__init__()
        self.model, self.size, self.calls = model, size, 0

    def forward(self, x):
        self.calls += 1
        logits = self.model(x)
        return logits + self.size * torch.randn(logits.shape, generator=generator("cpu", self.calls))


def test_passes_over_randomness_are_averaged(fitted):
    model, x, y = fitted
    noisy = Noisy(model, 3.0)
    stand = Front(noisy, x, y, uniform(0.1, x), eot=64)
    _, averaged = stand.gradient(x, "ce")
    assert noisy.calls == 64
    _, one = Front(noisy, x, y, uniform(0.1, x)).gradient(x, "ce")
    _, exact = Front(noisy, x, y, uniform(0.1, x), eot=512).gradient(x, "ce")
    assert float((averaged - exact).norm()) < 0.5 * float((one - exact).norm())


def test_a_lucky_pass_is_no_success(fitted):
    """Of a model that errs at random in one pass, the mean over passes says whether a picture is fooled."""
    model, x, y = fitted
    for eot, least, most in ((1, 0.2, 1.0), (64, 0.0, 0.05)):
        stand = Front(Noisy(model, 8.0), x, y, uniform(0.0, x), eot=eot)
        stand.look(x)
        assert least <= float((stand.ahead < 0).float().mean()) <= most


# ---- ensembles ----


def test_an_ensemble_is_as_strong_as_its_strongest_part_and_says_who_did_it(fitted):
    model, x, y = fitted
    budget = Budget("linf", torch.rand(len(x), 1, 12, 10, generator=generator("cpu", 2)) * 12 / 255)
    ensemble = aa_standard(steps=10, targets=4, queries=50)
    found = autoattack.run(ensemble, model, x, y, budget, generator("cpu", 1))
    clean, stands = model(x).argmax(1) == y, model(found.adversarial).argmax(1) == y
    assert torch.equal(found.part >= 0, clean & ~stands)
    assert set(found.part[found.part >= 0].tolist()) >= {0}
    assert int(found.part.max()) < 4
    assert torch.equal(found.adversarial[~clean], x[~clean])
    first = attacks.run(ensemble.parts[0], model, x, y, budget, generator("cpu", 1))
    assert 0 < int(stands.sum()) <= int((model(first).argmax(1) == y).sum())


def test_what_stands_is_shown_at_the_worst_point_found(fitted):
    model, x, y = fitted
    moved = attacks.run(aa_fast(steps=10, targets=4), model, x, y, uniform(2 / 255, x), generator("cpu", 1))
    stands = model(moved).argmax(1) == y
    before, after = margin(model(x), y), margin(model(moved), y)
    assert bool(stands.any())
    assert bool((after[stands] < before[stands]).all())


@pytest.mark.parametrize(
    ("classes", "left", "reasons"),
    [
        (2, (0, 2, 3), ["apgd-t-2x9 falls out: its loss needs at least 4 classes, the model has 2"]),
        (4, (0, 1, 2, 3), []),
    ],
)
def test_with_few_classes_parts_fall_out_and_are_named(classes, left, reasons, caplog):
    ensemble = aa_standard(steps=2, queries=3)
    assert autoattack.usable(ensemble, classes, "linf") == (left, tuple(reasons))
    model = networks.build(Network(width=4), classes=classes, seed=1)
    x, y = torch.rand(4, 3, 8, 8, generator=generator("cpu", 1)), torch.zeros(4, dtype=torch.int64)
    with caplog.at_level(logging.WARNING):
        assert attacks.run(ensemble, model, x, y, uniform(0.1, x), generator("cpu", 1)).shape == x.shape
    assert [record.getMessage() for record in caplog.records] == [f"{ensemble.name}: {reason}" for reason in reasons]


def test_an_ensemble_without_a_part_is_refused():
    with pytest.raises(ConfigError, match="no part is left: apgd-ce-100 falls out: it knows no flows"):
        autoattack.usable(aa_fast(), 10, "flow")
    with pytest.raises(ConfigError, match="mine: expected at least one attack, got none"):
        Ensemble(name="mine", parts=())


def test_a_killed_ensemble_goes_on_from_its_state_to_the_same_pictures(fitted, tmp_path, monkeypatch):
    model, x, y = fitted
    ensemble, budget, state = aa_standard(steps=5, targets=2, queries=20), uniform(4 / 255, x), tmp_path / "state"
    whole = autoattack.run(ensemble, model, x, y, budget, generator("cpu", 1))
    done, real = [], singles.run

    def stopping(attack, *words, **more):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(attack)
        return real(attack, *words, **more)

    monkeypatch.setattr(autoattack.singles, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        attacks.run(ensemble, model, x, y, budget, generator("cpu", 1), state=state)
    again = []
    monkeypatch.setattr(
        autoattack.singles, "run", lambda attack, *w, **m: again.append(attack) or real(attack, *w, **m)
    )
    resumed = autoattack.run(ensemble, model, x, y, budget, generator("cpu", 1), state=state)
    assert (tuple(done), tuple(again)) == (ensemble.parts[:2], ensemble.parts[2:])
    assert torch.equal(resumed.adversarial, whole.adversarial)
    assert torch.equal(resumed.part, whole.part)
    again.clear()
    finished = autoattack.run(ensemble, model, x, y, budget, generator("cpu", 1), state=state)
    assert not again
    assert torch.equal(finished.adversarial, whole.adversarial)
    with pytest.raises(DataError, match="expected the state of this attack on these pictures, got that of another"):
        attacks.run(ensemble, model, x, y, uniform(5 / 255, x), generator("cpu", 1), state=state)


# ---- the weakest that works ----


def test_the_least_level_is_that_of_a_walk_through_all_levels():
    """On a linear two-class model FGSM is exact, so the least level that works can be told by trying each."""
    model = linear(classes=2)
    pixels = torch.randint(40, 216, (12, 3, 6, 5), generator=generator("cpu", 4), dtype=torch.uint8)
    y = model(to_unit(pixels)).argmax(1)
    y[0] = 1 - y[0]
    walked, x = torch.full_like(y, 31), to_unit(pixels)
    for level in range(30, -1, -1):
        moved = on_lattice(attacks.run(Fgsm(), model, x, y, uniform(level / 255, x), generator("cpu", 1)))
        walked[model(to_unit(moved)).argmax(1) != y] = level
    found = minimal_levels(Fgsm(), model, pixels, y, 1, highest=30)
    assert found.levels.tolist() == walked.tolist()
    assert found.levels[0] == 0
    assert len(set(walked.tolist())) > 4
    change = (found.pixels.int() - pixels.int()).abs().flatten(1).amax(1)
    assert bool((change <= found.levels).all())
    fooled = found.levels <= 30
    assert bool((model(to_unit(found.pixels[fooled])).argmax(1) != y[fooled]).all())
    assert torch.equal(found.pixels[~fooled], pixels[~fooled])


def test_the_least_level_inside_a_mask_is_no_less_and_leaves_the_rest_alone(fitted):
    model, x, y = fitted
    pixels = on_lattice(x)
    allowed = torch.zeros(60, 1, 12, 10)
    allowed[..., :5] = 1
    everywhere = minimal_levels(Apgd(steps=10), model, pixels, y, 1, highest=40)
    masked = minimal_levels(Apgd(steps=10), model, pixels, y, 1, highest=40, allowed=allowed)
    assert torch.equal(masked.pixels[..., 5:], pixels[..., 5:])
    assert float(masked.levels.float().mean()) > float(everywhere.levels.float().mean())


@pytest.mark.parametrize("highest", [0, 256])
def test_a_highest_level_that_is_none_is_refused(highest):
    pixels, y = torch.zeros(1, 3, 6, 5, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ConfigError, match=f"expected a highest level of 1 to 255 grey levels, got {highest}"):
        minimal_levels(Fgsm(), linear(), pixels, y, 1, highest=highest)


# ---- names and refusals ----


@pytest.mark.parametrize(
    "name",
    ["fgsm", "pgd-20", "pgd-7-r3-eot20", "apgd-ce-100", "apgd-dlr-50", "apgd-t-100x9", "fab-t-100x9-r2", "square-5000",
     "stadv-50", "aa-standard", "aa-standard-20x3x100", "aa-fast", "aa-fast-20x3-r2", "aa-rand-eot20", "fgsm-eot4"],
)  # fmt: skip
def test_an_attack_has_the_name_that_it_is_called_by(name):
    assert attacks.named(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pdg-20", "attack 'pdg-20': expected one of fgsm, pgd, .*did you mean 'pgd'"),
        ("pgd-", "attack 'pgd-': expected one of"),
        ("square-1x2", "square does not take these numbers"),
        ("aa-fast-eot3", "aa-fast does not take these numbers"),
        ("pgd-0", "relativepgd: expected at least 1, got steps = 0"),
        ("fgsm-r2", "fgsm: expected one try away from the class, got 2 restarts, 0 targets"),
    ],
)
def test_a_name_that_is_none_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        attacks.named(name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RelativePgd(relative_step=0), "pgd: relative_step: expected above 0, got 0"),
        (lambda: Square(share=0), "square: share: expected above 0 and at most 1, got 0"),
        (lambda: StAdv(smoothness=-1), "stadv: expected relative_rate above 0 and smoothness of at least 0"),
        (lambda: Fab(eot=0), "fab: expected at least 1, got eot = 0"),
        (lambda: Tries(targets=-1), "targets: expected at least 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("norm", "name", "message"),
    [
        ("flow", "square-5", "square: expected a budget of norm 'linf' or 'l2', got 'flow'; leave it out there"),
        ("linf", "stadv-5", "stadv: expected a budget of norm 'flow'"),
        ("flow", "fab-t-5", "fab: expected a budget of norm 'linf' or 'l2', got 'flow'"),
        ("flow", "pgd-5", "a flow takes no steps in intensities; attack it with stadv|cannot be projected on a flow"),
    ],
)
def test_an_attack_says_which_budgets_it_knows(norm, name, message, fitted):
    model, x, y = fitted
    with pytest.raises(ConfigError, match=message):
        attacks.run(attacks.named(name), model, x, y, Budget(norm, torch.full((1, 1, 1, 1), 0.1)), generator("cpu", 1))


def test_a_model_that_returns_nan_is_refused(fitted):
    model, x, y = fitted
    broken = nn.Sequential(model, nn.Softmax(dim=1), nn.Threshold(2.0, float("nan")))
    for attack in (RelativePgd(steps=1), aa_fast(steps=1)):
        with pytest.raises(DataError, match="expected finite logits, got NaN or infinity for 60 of 60 pictures"):
            attacks.run(attack, broken, x, y, uniform(0.1, x), generator("cpu", 1))


@pytest.mark.parametrize("label", [-1, 5])
def test_a_label_outside_the_classes_is_refused(label, fitted):
    model, x, _ = fitted
    with pytest.raises(DataError, match=rf"labels: expected classes 0..4, got {label}..{label}"):
        check_answers(model(x), torch.full((60,), label))
    with pytest.raises(DataError, match="labels: expected classes 0..4"):
        attacks.run(Apgd(steps=1), model, x, torch.full((60,), label), uniform(0.1, x), generator("cpu", 1))


# ---- regions ----


def test_regions_share_the_picture_and_the_tie_is_background():
    x, salience = torch.rand(2, 3, 4, 4), torch.tensor([0.2, 0.5, 0.51, 1.0]).expand(2, 1, 4, 4)
    salient, background = (budget_in(region, "linf", 0.1, x, salience).eps > 0 for region in ("salient", "background"))
    assert torch.equal(salient, ~background)
    assert salient[0, 0, 0].tolist() == [False, False, True, True]
    assert budget_in("full", "l2", 0.5, x).eps.flatten().tolist() == [0.5]


def test_a_region_without_maps_or_with_others_is_refused():
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(DataError, match="region 'salient': expected salience maps, got none"):
        budget_in("salient", "linf", 0.1, x)
    with pytest.raises(DataError, match=r"expected maps of shape \(2, 1, 4, 4\), got \(2, 1, 5, 4\)"):
        budget_in("background", "linf", 0.1, x, torch.rand(2, 1, 5, 4))
