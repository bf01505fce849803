"""The benchmarks of attacks: small runs against the other libraries where these are installed; what they conclude."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re

import pytest
import torch

from benchmarks import attacks_parity, attacks_speed, rivals, square_l2
from benchmarks.attacks_parity import Cell, Found, Within
from benchmarks.attacks_speed import Leg
from core import attacks
from core.attacks.budget import Budget
from core.errors import ConfigError, DataError, MachineError
from core.tensors import generator
from tests.noise_pictures import write_noise_pictures

MISSING = [name for name in rivals.PACKAGES if importlib.util.find_spec(name) is None]
rivals_installed = pytest.mark.skipif(bool(MISSING), reason=f"make rivals installs {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_noise_pictures(tmp_path_factory.mktemp("data") / "noise", train=12, test=6)


@pytest.fixture
def options():
    return argparse.Namespace(
        attacks=["pgd-2"], eps=[8], pictures=100, seed=1, work=None, data=None, jobs=1, width=16, epochs=15,
        train_per_class=1000, out=None,
    )  # fmt: skip


def found(stands, clean="1111111111"):
    return Found(stands=stands, excess=2e-8, seconds=1.0, clean=clean)


def pair(attack, ours, theirs):
    cells = [Cell(method="pgd-at", eps=8, attack=attack, side=side) for side in ("ours", "torchattacks")]
    return dict(zip(cells, (found(ours), found(theirs)), strict=True)), cells[1]


@rivals_installed
@pytest.mark.parametrize(
    ("ours", "theirs", "value", "met"),
    [
        ("0" * 200, "0" * 199 + "1", -0.5, True),
        ("1" + "0" * 199, "0" * 200, 0.5, True),
        ("11" + "0" * 198, "0" * 200, 1.0, False),
    ],
)
def test_ours_may_be_half_a_point_above_theirs_and_no_more(options, ours, theirs, value, met):
    claim = attacks_parity.claim(*pair("pgd-2", ours, theirs), options)
    assert (claim.value, claim.aim, claim.met, claim.n) == (value, 0.5, met, 200)
    assert claim.spread[0] < value < claim.spread[1]


@rivals_installed
def test_the_ensemble_is_held_to_a_fifth_of_a_point(options):
    options.attacks = ["pgd-2", "apgd-ce-3", "square-5"]
    claim = attacks_parity.claim(*pair(attacks_parity.ENSEMBLE, "1" + "0" * 199, "0" * 200), options)
    assert (claim.aim, claim.met) == (0.2, False)
    assert "our ensemble of apgd-ce-3, square-5 less that under the one of torchattacks, on" in claim.claim
    assert "ours 0.5 %, theirs 0.0 %; stand against ours alone 1, against theirs alone 0" in claim.claim


def test_seen_from_the_uniform_ball_a_picture_stays_within_its_map_and_the_unit_range():
    x = torch.rand(4, 3, 8, 8, generator=generator("cpu", 1))
    limits = attacks_parity.drawn_limits(x, 0.1, seed=1)
    seen = Within(torch.nn.Flatten(), x, limits, 0.1)
    z = (x + 0.1 * (2 * torch.rand(x.shape, generator=generator("cpu", 2)) - 1)).clamp(0, 1)
    assert 0.3 < float((limits == 0).float().mean()) < 0.7
    assert float(Budget("linf", limits).excess(x, seen.shown(z)).max()) <= 1e-6
    assert torch.equal(seen(z), seen.shown(z).flatten(1))
    assert torch.equal(seen.shown(x), x)
    far = Within(torch.nn.Flatten(), x, torch.full((4, 1, 1, 1), 0.1), 0.1)
    torch.testing.assert_close(far.shown(z), z)


@rivals_installed
def test_both_sides_attack_small_classifiers_and_a_second_call_measures_nothing_anew(data, tmp_path):
    command = [
        "--data", str(data), "--attacks", "pgd-3", "apgd-ce-3", "apgd-t-2x3", "fab-t-2x3", "square-9", "--eps", "8",
        "--pictures", "50", "--train-per-class", "12", "--epochs", "2", "--width", "4", "--jobs", "1",
        "--work", str(tmp_path / "work"), "--out", str(tmp_path / "parity.json"),
    ]  # fmt: skip
    assert attacks_parity.main(command) == 0
    claims = json.loads((tmp_path / "parity.json").read_text())
    assert len(claims) == 2 * 7  # six against torchattacks and PGD against foolbox, on two classifiers
    assert {claim["compared_with"].split()[0] for claim in claims} == set(rivals.PACKAGES)
    assert claims[0]["command"].endswith("--eps 8 --pictures 50 --train-per-class 12 --epochs 2 --width 4")
    cells = sorted((tmp_path / "work").rglob("cells/*.json"))
    times = [cell.stat().st_mtime_ns for cell in cells]
    assert attacks_parity.main(command) == 0
    assert [cell.stat().st_mtime_ns for cell in cells] == times
    assert json.loads((tmp_path / "parity.json").read_text()) == claims


@rivals_installed
def test_square_in_l2_is_compared_on_both_classifiers(data, tmp_path):
    command = [
        "--data", str(data), "--pictures", "50", "--queries", "8", "--train-per-class", "12", "--epochs", "2",
        "--width", "4", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "l2.json"),
    ]  # fmt: skip
    assert square_l2.main(command) == 0
    claims = json.loads((tmp_path / "l2.json").read_text())
    kinds = [f"ε = {eps:g}, on the {method} classifier" for method in ("standard", "pgd-at") for eps in (0.25, 0.5)]
    assert len(claims) == 4
    for claim, kind in zip(claims, kinds, strict=True):
        assert kind in claim["claim"]
        counts = re.search(r"(\d+) are right clean, (\d+) under ours, (\d+) under theirs", claim["claim"]).groups()
        clean, ours, theirs = map(int, counts)
        assert max(ours, theirs) <= clean <= claim["n"] == 50
        assert claim["value"] == pytest.approx(2 * (ours - theirs))
        assert claim["spread"][0] <= claim["value"] <= claim["spread"][1]


@rivals_installed
@pytest.mark.parametrize("name", ["pgd-20", "apgd-ce-10", "apgd-dlr-10", "apgd-t-5x3", "fab-t-5x3", "square-50"])
def test_theirs_moves_pictures_within_the_budget(name):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10)).eval()
    torch.nn.init.normal_(model[1].weight, std=0.5, generator=generator("cpu", 1))
    torch.nn.init.zeros_(model[1].bias)
    x = torch.rand(20, 3, 8, 8, generator=generator("cpu", 2))
    with torch.no_grad():
        y = model(x).argmax(1)
    attack = rivals.compared(attacks.named(name))
    moved = rivals.by_torchattacks(attack, model, x, y, 8 / 255, seed=1)
    assert torch.equal(moved, rivals.by_torchattacks(attack, model, x, y, 8 / 255, seed=1))
    least = 0 if name.startswith("fab") else 0.9 * 8 / 255  # FAB ends at the boundary
    assert least < float((moved - x).abs().max()) <= 8 / 255 + 1e-6
    assert int((model(moved).argmax(1) == y).sum()) < 20


@pytest.mark.skipif(not MISSING, reason="the libraries are installed")
def test_without_the_other_libraries_it_says_how_to_get_them():
    with pytest.raises(MachineError, match="expected it to be installed for this comparison, .*: make rivals"):
        rivals.library(MISSING[0])


def test_only_what_the_others_have_is_compared():
    with pytest.raises(ConfigError, match="stadv-50: expected an attack that torchattacks has too: pgd, apgd"):
        rivals.compared(attacks.named("stadv"))


@rivals_installed
def test_speed_is_measured_on_pictures_that_are_right_and_strength_is_stated(data, tmp_path):
    command = [
        "--device", "cpu", "--data", str(data), "--pgd", "pgd-2", "--apgd", "apgd-ce-2", "--parts", "apgd-ce-2",
        "apgd-t-2x3", "--pictures", "4", "--ensemble-pictures", "3", "--width", "4", "--repeats", "2",
        "--train-per-class", "12", "--test-per-class", "6", "--epochs", "1", "--work", str(tmp_path / "work"),
        "--out", str(tmp_path / "speed.json"),
    ]  # fmt: skip
    assert attacks_speed.main(command) == 0
    claims = json.loads((tmp_path / "speed.json").read_text())
    ratios = [claim for claim in claims if claim["unit"] == "ratio"]
    assert len(claims) == 15
    assert [claim["aim"] for claim in ratios] == [2.0, None, None, None, 2.5, None]
    assert all(claim["spread"][0] <= claim["value"] <= claim["spread"][1] for claim in claims)
    assert (
        "an ensemble (apgd-ce-2, apgd-t-2x3), L∞ ε = 8/255, 3 CIFAR-10 pictures that a ResNet-18 of width 4"
        in claims[-1]["claim"]
    )
    with pytest.raises(DataError, match="expected 61 test pictures that it gets right, got .*; train it for longer"):
        attacks_speed.main([*command, "--pictures", "61"])


@rivals_installed
def test_a_faster_attack_that_is_weaker_does_not_meet_the_aim(options):
    contest = attacks_speed.Contest(kind="pgd", attack=rivals.compared(attacks.named("pgd-2")), width=4, pictures=100)
    options.seed = 1
    for stands, met in ((50, True), (51, False)):
        legs = {"bfloat16": [Leg(seconds=1.0, stands=stands)] * 3, "torchattacks": [Leg(seconds=3.0, stands=50)] * 3}
        legs["float32"] = legs["torchattacks"]
        claim = attacks_speed.claims_of(contest, legs, 100, torch.device("cpu"), options)[0]
        assert (claim.value, claim.met) == (3.0, met)
