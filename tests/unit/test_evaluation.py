"""The evaluator holds attacks to their budgets, judges in float32, and refuses what it cannot judge."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import nn

from core import attacks, rng
from core.attacks.budget import Budget, uniform
from core.errors import ConfigError, DataError, RunError
from core.evaluation import Batch, check, climb, judge
from core.evaluation_conditions import CLEAN, Condition, attack_for, transferred, white_box
from core.evaluation_partial import Partial
from core.evaluation_settings import ACCESS, REGIONS, EvaluationSettings
from core.evaluation_subjects import Subject, Voted
from core.purification.pipeline import Purification, compose
from core.tensors import generator

SETTINGS = EvaluationSettings(eps=(0.0, 2.0, 8.0, 32.0), attacks=("pgd-5",))


class Linear(nn.Module):
    def __init__(self, side=8, classes=5, seed=3):
        super().__init__()
        draws = generator("cpu", seed, "weight")
        self.weight = nn.Parameter(torch.randn(classes, 3, side, side, generator=draws))
        self.eval()

    def forward(self, x):
        return torch.einsum("bchw,kchw->bk", x - 0.5, self.weight)


def subject(seed=3, name="run"):
    return Subject(name=name, model=Linear(seed=seed))


def purified(votes=9):
    model = compose(Purification(width=2, discriminator_width=2), Linear(side=16), 1).eval()
    return Subject(name="run", model=model, votes=votes)


def batch(model, pictures=24, side=8, salience=False):
    """Returns pictures with the classes that the model gives them."""
    x = torch.rand(pictures, 3, side, side, generator=generator("cpu", 1, "x"))
    maps = torch.rand(pictures, 1, side, side, generator=generator("cpu", 1, "maps")) if salience else None
    with torch.no_grad():
        return Batch(first=0, x=x, y=model(x).argmax(1), salience=maps)


def outcomes(who, pictures, conditions, settings=SETTINGS, kept=None):
    return [found for condition in conditions for found in climb(who, [who], pictures, condition, settings, kept)]


# ---- verdicts and budgets ----


@pytest.mark.parametrize("norm", ["linf", "l2", "flow"])
def test_a_picture_outside_its_budget_is_refused(norm):
    x = torch.full((2, 3, 4, 4), 0.5)
    budget = Budget(norm, torch.full((1, 1, 1, 1), 0.1))
    check(x, x, budget)
    with pytest.raises(DataError, match=rf"expected changes of at most 0.100000 .{norm}., exceeded by .*is at fault"):
        check(x, x + 0.2, budget)
    with pytest.raises(DataError, match="exceeded by nan"):
        check(x, x * torch.nan, uniform(0.1, x))


def test_a_verdict_is_float32_whatever_the_caller_computes_in():
    model, x = Linear(), torch.rand(6, 3, 8, 8, generator=generator("cpu", 2))
    y = torch.zeros(6, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = judge(model, x, y)
    assert torch.equal(half.margins, judge(model, x, y).margins)


def test_a_model_without_numbers_and_a_label_outside_the_classes_are_refused():
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    broken = Linear()
    broken.weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="expected finite logits, got NaN or infinity for 2 of 2 pictures"):
        judge(broken, x, y)
    with pytest.raises(DataError, match=r"labels: expected classes 0..4, got 0..7; is this the model of these"):
        judge(Linear(), x, torch.tensor([0, 7]))


def test_maps_of_another_size_are_refused():
    who = subject()
    pictures = dataclasses.replace(batch(who.model), salience=torch.zeros(24, 1, 4, 4))
    conditions = white_box(dataclasses.replace(SETTINGS, regions=("salient",)), randomised=False)
    with pytest.raises(DataError, match="expected maps of shape .24, 1, 8, 8., got .24, 1, 4, 4."):
        outcomes(who, pictures, conditions)


def test_accuracy_never_rises_and_unmasked_regions_are_stronger():
    who = subject()
    pictures = batch(who.model, salience=True)
    settings = dataclasses.replace(SETTINGS, regions=REGIONS, l2=(0.1, 0.5), stadv=(0.5, 1.0))
    stand = {}
    for found in outcomes(who, pictures, white_box(settings, randomised=False), settings):
        key = (found.condition.norm, found.condition.region)
        stand.setdefault(key, []).append(found.verdict.margins > 0)
    assert set(stand) == {(norm, region) for norm in ("linf", "l2", "flow") for region in REGIONS}
    for rungs in stand.values():
        assert all(not bool((later & ~sooner).any()) for sooner, later in itertools.pairwise(rungs))
    last = {key: int(rungs[-1].sum()) for key, rungs in stand.items()}
    assert last["linf", "full"] == 0
    for norm in ("linf", "l2"):
        assert last[norm, "full"] <= min(last[norm, "salient"], last[norm, "background"])


def test_a_picture_that_fooled_keeps_its_verdict_and_the_part_that_fooled_it():
    who = subject()
    settings = dataclasses.replace(SETTINGS, attacks=("aa-fast-5x2",))
    rungs = [
        found.verdict for found in outcomes(who, batch(who.model), white_box(settings, randomised=False), settings)
    ]
    for sooner, later in itertools.pairwise(rungs):
        gone = sooner.margins <= 0
        assert torch.equal(sooner.margins[gone], later.margins[gone])
        assert torch.equal(sooner.part[gone], later.part[gone])
    assert bool((rungs[-1].part >= 0).any())
    assert bool(((rungs[-1].part >= 0) == (rungs[-1].margins <= 0)).all())


def test_what_bfloat16_would_have_said_is_kept_beside_the_verdict():
    who = subject()
    settings = dataclasses.replace(SETTINGS, precision="bfloat16", eps=(0.0, 0.25, 0.5, 1.0))
    found = outcomes(who, batch(who.model, pictures=400), [CLEAN, *white_box(settings, randomised=False)], settings)
    apart = [float((one.verdict.half != one.verdict.predictions).float().mean()) for one in found]
    assert 0 < max(apart) < 0.2
    assert all(
        bool(((one.verdict.margins < 0) == (one.verdict.predictions != found[0].verdict.predictions)).all())
        for one in found
    )


def test_pictures_for_others_are_attacked_to_the_end_and_judged_by_each():
    source, other = subject(), subject(seed=4, name="other")
    pictures = batch(other.model)
    condition = transferred(SETTINGS, randomised=False)[0]
    found = list(climb(source, [other], pictures, condition, SETTINGS))
    assert {(one.defender, one.source) for one in found} == {("other", "run")}
    assert [one.eps for one in found] == [2.0, 8.0, 32.0]
    own = outcomes(other, pictures, white_box(SETTINGS, randomised=False))
    assert int((found[-1].verdict.margins > 0).sum()) > int((own[-1].verdict.margins > 0).sum())


# ---- randomised models ----


def test_an_attack_believes_the_vote_not_a_lucky_draw():
    who = purified(votes=40)
    pictures = batch(who.judging(1), pictures=40, side=16)
    with torch.no_grad():
        lucky = (who.model(pictures.x).argmax(1) != pictures.y).float().mean()
        seen = who.attacked("full", 5)
        assert isinstance(seen, Voted)
        missed = (seen(pictures.x).argmax(1) != pictures.y).float().mean()
    assert lucky > 0.1
    assert missed < lucky / 2
    with torch.enable_grad():
        single = seen(pictures.x).argmax(1)
    assert not torch.equal(single, seen.voting(pictures.x).argmax(1))


def test_a_vote_is_the_same_again_and_not_the_one_that_the_attack_saw():
    who = purified()
    x = torch.rand(8, 3, 16, 16, generator=generator("cpu", 1))
    with torch.no_grad():
        first, again, other = (who.judging(seed)(x) for seed in (1, 1, 2))
        attacked = who.attacked("full", 1)(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, attacked)


def test_every_access_sees_what_it_says():
    who = purified()
    x = torch.rand(4, 3, 16, 16, generator=generator("cpu", 1))
    fixed = who.attacked("fixed", 1)
    with torch.no_grad():
        assert torch.equal(fixed(x), fixed(x))
    assert who.attacked("bare", 1) is who.model.classifier
    gradients = {access: _gradient(who.attacked(access, 1), x) for access in ("full", "bpda")}
    assert not torch.allclose(gradients["full"], gradients["bpda"])
    with pytest.raises(ConfigError, match="access 'bpda' is for models that draw random numbers; use 'full'"):
        subject().attacked("bpda", 1)


def _gradient(model, x):
    leaf = x.clone().requires_grad_()
    model(leaf)[:, 0].sum().backward()
    return leaf.grad


def test_randomised_runs_get_twenty_draws_unless_the_name_says_otherwise():
    settings = dataclasses.replace(SETTINGS, attacks=("pgd-5", "apgd-ce-3-eot2", "square-9", "aa-fast", "aa-rand"))
    found = {(c.asked, c.access): c.attack for c in white_box(settings, randomised=True)}
    assert {access for _, access in found} == set(ACCESS)
    for access in ("full", "bpda"):
        assert found["pgd-5", access] == "pgd-5-eot20"
        assert found["apgd-ce-3-eot2", access] == "apgd-ce-3-eot2"
        assert found["square-9", access] == "square-9"
        assert found["aa-fast", access] == "aa-rand-eot20"
    assert found["pgd-5", "fixed"] == "pgd-5"
    assert found["aa-fast", "bare"] == "aa-fast"
    assert {c.access for c in white_box(settings, randomised=False)} == {"full"}


# ---- settings and conditions ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"eps": (-1.0, 0.0)}, "eps: expected grey levels within 0..255, got -1, 0"),
        ({"eps": (0.0, 256.0)}, "eps: expected grey levels within 0..255, got 0, 256"),
        ({"eps": (0.0, float("nan"))}, "eps: expected grey levels within 0..255"),
        ({"eps": (8.0, 2.0)}, "eps: expected rising values, none of them twice, got 8, 2"),
        ({"l2": (0.0,)}, "l2: expected values above 0, got 0"),
        ({"stadv": (-1.0,)}, "stadv: expected values above 0, got -1"),
        ({"attacks": ("pgd-2", "pgd-2")}, "attacks: expected at least one, none of them twice, got pgd-2, pgd-2"),
        ({"regions": ()}, "regions: expected at least one, none of them twice, got none"),
        ({"votes": 0}, "votes: expected at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"threshold": 1.5}, "threshold: expected 0 to 1, got 1.5"),
    ],
)
def test_impossible_settings_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationSettings(**words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"attacks": ("pdg-20",)}, "attack 'pdg-20': expected one of .*did you mean"),
        ({"attacks": ("stadv-20",)}, "stadv-20: moves pixels, and has a ladder of its own; ask for it by --stadv"),
    ],
)
def test_attacks_that_do_not_fit_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        white_box(EvaluationSettings(**words), randomised=False)


def test_a_name_reads_back_as_the_same_attack():
    for name in ("pgd-7-r2", "aa-fast-5x2", "aa-standard-9x3x50", "square-12", "apgd-t-9x3", "aa-rand-eot4", "fgsm"):
        for access in ACCESS:
            used = attack_for(name, access, randomised=True)
            assert attacks.named(used.name) == used


# ---- what is kept ----


CONDITION = Condition(asked="pgd-5", attack="pgd-5", norm="linf", region="full", access="full", eps=(2.0, 8.0))


def test_finished_units_are_read_back_and_the_ladder_goes_on_from_them(tmp_path):
    who, device = subject(), torch.device("cpu")
    pictures = batch(who.model)
    whole = outcomes(who, pictures, [CONDITION])
    kept = Partial(tmp_path / "partial", "a", device)
    next(climb(who, [who], pictures, CONDITION, SETTINGS, kept))
    kept.close()
    again = Partial(tmp_path / "partial", "a", device)
    assert again.finished() == 1
    resumed = outcomes(who, pictures, [CONDITION], kept=again)
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.verdict.margins, other.verdict.margins)
    assert again.finished() == 2
    assert "worst" not in (again.read(f"{CONDITION.key} 0 2") or {})
    assert "worst" in (again.read(f"{CONDITION.key} 0 8") or {})
    again.delete()
    assert not (tmp_path / "partial").exists()


def test_units_of_another_evaluation_are_forgotten(tmp_path, caplog):
    who, device = subject(), torch.device("cpu")
    kept = Partial(tmp_path / "partial", "a", device)
    outcomes(who, batch(who.model), [CONDITION], kept=kept)
    kept.close()
    other = Partial(tmp_path / "partial", "b", device)
    assert "is of an evaluation with other settings or weights; beginning anew" in caplog.text
    assert other.finished() == 0
    other.close()


def test_a_damaged_partial_is_named(tmp_path):
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / "units.sqlite").write_bytes(b"no database at all, but long enough to look at" * 40)
    with pytest.raises(RunError, match="cannot be read .*; remove it, and the evaluation begins anew"):
        Partial(tmp_path / "partial", "a", torch.device("cpu"))


def test_a_unit_draws_the_same_numbers_whenever_it_comes():
    assert rng.derive(1, "evaluate", CONDITION.key, "2", 0) != rng.derive(1, "evaluate", CONDITION.key, "8", 0)
    who = subject()
    pictures = batch(who.model)
    alone = outcomes(who, pictures, [CONDITION])
    later = outcomes(who, pictures, [CLEAN, CONDITION])[1:]
    assert all(torch.equal(a.verdict.margins, b.verdict.margins) for a, b in zip(alone, later, strict=True))
