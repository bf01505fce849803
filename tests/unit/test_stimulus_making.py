"""How stimuli are drawn, attacked and measured: laws of the parts, without files or runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core import attacks, contact_sheet
from core.attacks.budget import uniform
from core.attacks.minimal import on_lattice
from core.attacks.pgd import pgd
from core.datasets.split import Split
from core.errors import ConfigError, DataError
from core.evaluation_settings import REGIONS
from core.networks.small import SmallNet
from core.purification.pipeline import Purification, compose
from core.regions import budget_in
from core.stimulus_index import index
from core.stimulus_plan import Draw
from core.stimulus_regions import allowed
from core.stimulus_request import Request
from core.stimulus_sets import measure, perturb, verdict
from core.tensors import generator, to_unit

CLASSES = ("ape", "bee", "cow")


def pictures(count=6, size=12, seed=1):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator("cpu", seed))


def net(seed=1):
    torch.manual_seed(seed)
    return SmallNet(len(CLASSES), 4).eval()


def split(per_class):
    labels = torch.arange(3).repeat_interleave(per_class)
    ids = tuple(f"test/{CLASSES[label]}/{number:03d}" for number, label in enumerate(labels.tolist()))
    return Split(pixels=torch.zeros(len(ids), 3, 2, 2, dtype=torch.uint8), labels=labels, ids=ids)


# ---- drawing sources ----


@given(st.integers(1, 12), st.integers(0, 99), st.data())
def test_rounds_go_on_until_every_class_has_enough_and_never_try_one_twice(wanted, seed, data):
    test, request = split(30), Request(name="x", seed=seed, sources_per_class=wanted, require="fooled")
    draw, tried, kept = Draw(test, CLASSES, request), [], []
    bad = data.draw(st.sets(st.integers(0, 89), max_size=18))
    while chosen := draw.round():
        tried += chosen
        kept += [place for place in chosen if place not in bad]
        draw.note((place // 30, "bad" if place in bad else None) for place in chosen)
    assert len(set(tried)) == len(tried)
    assert sorted(place // 30 for place in kept) == [0] * wanted + [1] * wanted + [2] * wanted
    assert (draw.kept, draw.left_out["bad"]) == (3 * wanted, len(bad & set(tried)))


def test_equal_requests_draw_equal_sources_and_other_seeds_others():
    rounds = [Draw(split(30), CLASSES, Request(name="x", seed=seed, sources_per_class=9)).round() for seed in (1, 1, 2)]
    assert rounds[0] == rounds[1] != rounds[2]


def test_a_class_that_runs_out_is_named_with_the_commonest_reason():
    draw = Draw(split(4), CLASSES, Request(name="x", sources_per_class=3))
    draw.note((place // 4, "not fooled" if place // 4 == 1 else None) for place in draw.round())
    with pytest.raises(
        ConfigError, match=r"expected 3 .* class bee .*found 0 among the first 3 of 4.*not fooled .3 pict"
    ):
        draw.round()


# ---- attacking ----


@pytest.mark.parametrize("name", ["pgd-5", "pgd-3-r2", "fgsm", "apgd-ce-5", "square-30", "fab-t-4x2"])
@pytest.mark.parametrize("region", REGIONS)
def test_pictures_keep_to_their_region_and_budget_on_the_lattice(name, region):
    """Whatever the model says of them before: a third is wrong, and is perturbed nevertheless."""
    model, pixels = net(), pictures()
    x, y = to_unit(pixels), torch.arange(6) % 3
    levels = pictures(seed=2)[:, :1]
    budget = budget_in(region, "linf", 8 / 255, x, to_unit(levels), 0.5)
    made = on_lattice(perturb(attacks.named(name), model, x, y, budget, generator("cpu", 1)))
    change = (made.int() - pixels.int()).abs()
    assert int(change.max()) <= 8
    may_change = np.stack([allowed(region, one[0].numpy(), 0.5, (12, 12)) for one in levels])
    assert not change.amax(1).numpy()[~may_change].any()
    if not name.startswith("fab"):  # it looks for the smallest change, which may round to none
        assert (change.amax(dim=(1, 2, 3)) > 0).all()


def test_pgd_is_carried_through_when_the_picture_is_fooled_already():
    """Every picture is wrong before; evaluation leaves those as they are, a stimulus is what all steps make of it."""
    model, x = net(), to_unit(pictures(30))
    y = (verdict(model, x, torch.zeros(30, dtype=torch.int64))[0] + 1) % 3
    budget, named = uniform(4 / 255, x), attacks.named("pgd-20")
    made = perturb(named, model, x, y, budget, generator("cpu", 1))
    step = 2.5 * 4 / 255 / 20
    assert torch.equal(made, pgd(model, x, y, budget, steps=20, step_size=step, generator=generator("cpu", 1)))
    assert torch.equal(attacks.run(named, model, x, y, budget, generator("cpu", 1)), x)
    assert float((made - x).abs().mean()) > 3 / 255


def test_a_randomised_model_is_judged_alike_whatever_was_asked_before_and_with_whom():
    model = compose(Purification(width=8), net(), 1).eval()
    x, y = to_unit(pictures(size=32)), torch.arange(6) % 3
    first = verdict(model, x, y)
    model(x)
    alone = [verdict(model, x[place : place + 1], y[place : place + 1])[1] for place in range(6)]
    assert torch.equal(verdict(model, x, y)[1], first[1])
    assert torch.allclose(torch.cat(alone), first[1], atol=1e-5)


def test_answers_that_cannot_be_judged_are_refused():
    x = to_unit(pictures(2))
    with pytest.raises(
        DataError, match=r"labels: expected classes 0..2, got 0..3; is this the model of these pictures"
    ):
        verdict(net(), x, torch.tensor([0, 3]))
    broken = net()
    broken.head.weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match="model: expected finite logits, got NaN or infinity for 2 of 2 pictures"):
        perturb(attacks.named("fgsm"), broken, x, torch.tensor([0, 1]), uniform(0.1, x), generator("cpu", 1))


# ---- measuring and showing ----


def test_measures_of_a_known_change():
    reference = np.full((8, 8, 3), 100, np.uint8)
    changed = reference.copy()
    changed[2, 3] = (103, 100, 96)
    assert measure(reference, reference) == {"eps_measured": 0, "l2": 0.0, "ssim": 1.0}
    assert measure(reference, changed)["eps_measured"] == 4
    assert measure(reference, changed)["l2"] == pytest.approx(5 / 255, abs=1e-6)


@given(st.integers(1, 255))
def test_differences_fill_the_grey_levels_and_are_cut_only_beyond_half_of_them(eps):
    reference = np.array([[[0, 255, 128]]], np.uint8)
    picture = np.array([[[eps, 255 - eps, 128]]], np.uint8)
    times = contact_sheet.gain(eps)
    shown = contact_sheet.difference(reference, picture, times)[0, 0].tolist()
    assert shown == [min(255, 128 + times * eps), max(0, 128 - times * eps), 128]
    assert eps > 127 or 63 <= times * eps <= 127


def test_the_index_knows_what_was_noted(tmp_path):
    (tmp_path / "png" / "ab").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "png" / "ab" / name).write_bytes(b"")
    with index() as known:
        assert known.note_name("a")
        assert not known.note_name("a")
        known.note_file("png/ab/a.png")
        known.note_file("png/ab/a.png")
        assert list(known.strangers(tmp_path)) == [tmp_path / "png" / "ab" / "b.png"]
