"""Coverage in short and seeded: the bands, what the simulations find with few studies, and that finished cells stay."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis.design_checks import trend
from benchmarks.coverage import page, people, single_curves
from benchmarks.coverage.__main__ import main
from benchmarks.coverage.acceptance import Share, binomial_band, covered, erred, side_limit, uniform
from benchmarks.coverage.people import People
from benchmarks.coverage.scenarios import PRINTED
from benchmarks.coverage.single_curves import Curve, uniform_ranks
from core import rng
from core.errors import ConfigError


@pytest.mark.parametrize(
    ("n", "low", "high"), [(400, 0.920, 0.975), (1000, 0.931, 0.967), (2000, 0.937, 0.962), (10_000, 0.9443, 0.9555)]
)
def test_the_bands_are_those_of_the_protocol(n, low, high):
    assert binomial_band(n, 0.95) == pytest.approx((low, high), abs=0.00051)


def test_intervals_that_are_too_short_are_missed_and_those_that_are_too_long_where_both_sides_count():
    normal = rng.numpy_generator(1, "intervals").standard_normal(400)
    half = {"short": 1.3, "right": 1.96, "long": 3.2}
    found = {
        name: covered(name, list(zip(normal - h, normal + h, strict=True)), 0.0, "inside") for name, h in half.items()
    }
    assert {name: share.met for name, share in found.items()} == {"short": False, "right": True, "long": False}
    wide = list(zip(normal - 3.2, normal + 3.2, strict=True))
    assert covered("long", wide, 0.0, "not below").met
    assert (found["short"].below + found["short"].above) / 400 == pytest.approx(1 - found["short"].value)


def test_intervals_that_are_missed_on_one_side_are_not_met_where_sides_are_judged():
    assert side_limit(2000, 0.95) == 0.0345
    normal = rng.numpy_generator(2, "intervals").standard_normal(2000)
    lopsided = list(zip(normal - 1.75, normal + 2.35, strict=True))
    assert covered("lopsided", lopsided, 0.0, "inside").met
    assert covered("lopsided", lopsided, 0.0, "inside", sides=True).met is False
    right = list(zip(normal - 1.96, normal + 1.96, strict=True))
    assert covered("right", right, 0.0, "inside", sides=True).met


def test_tests_that_err_too_often_are_missed_and_timid_ones_where_both_sides_count():
    assert erred("keen", [True] * 60 + [False] * 340, "not above").met is False
    assert erred("timid", [False] * 400, "not above").met
    assert erred("timid", [False] * 400, "inside").met is False
    assert erred("keen", [True] * 60 + [False] * 340, "reported").met is None


def test_p_values_that_are_not_uniform_are_missed():
    p = rng.numpy_generator(1, "p-values").uniform(size=500)
    assert uniform("right", p.tolist(), "inside").met
    assert uniform("wrong", (p**2).tolist(), "inside").met is False


def test_ranks_of_a_posterior_that_is_too_narrow_leave_the_bands():
    ranks = rng.numpy_generator(1, "ranks").integers(0, 100, size=600).astype(float)
    narrow = np.where(rng.numpy_generator(2, "ranks").uniform(size=600) < 0.15, np.where(ranks < 50, 0, 99), ranks)
    assert uniform_ranks(ranks, 300) > 0.01
    assert uniform_ranks(narrow, 300) < 0.01


def test_printed_intervals_of_a_single_curve_cover_and_its_test_of_fit_keeps_its_promise():
    curve = Curve(task="yes-no", trials=20, tested=True, integrated=True)
    rows = [single_curves.batch(curve, 5, 0, size=100)]
    found = {share.quantity: share for share in single_curves.shares(curve, rows)}
    assert [share.quantity for share in found.values() if share.met is False] == []
    printed = {"m, profile", "ln w, profile", "slope, profile", "m, quasi-t"}
    assert printed <= {name for name, share in found.items() if share.met}
    reported = {"m, posterior", "ln w, posterior", "m, posterior with η integrated out", "η, posterior"}
    assert {name for name, share in found.items() if share.met is None} == reported


def test_what_a_fit_takes_for_something_else_is_reported_and_not_judged():
    curve = Curve(task="yes-no", trials=160, family="student-t", tested=True)
    found = single_curves.shares(curve, [single_curves.batch(curve, 5, number, size=20) for number in range(4)])
    assert {share.met for share in found} == {None}
    power = {share.quantity: share.value for share in found}
    assert power["wrong S found out by deviance"] > 0.3, "a true S is rejected in 0.05; this one in about one half"


def test_clustered_intervals_cover_where_participants_differ():
    design = People(task="2afc", participants=12, trials=10, sd=0.875, models=2)
    rows = [people.one(design, 3, number) for number in range(15)]
    found = {share.quantity: share for share in people.shares(design, rows)}
    assert found["ε₅₀ of pooled answers, clustered"].met
    assert found["test of a difference of thresholds"].met
    assert found["equivalence (two one-sided tests) at the margin, differences moved there"].met


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("sensitivity-yes-no-p8", 60),
        ("sensitivity-2afc-p8", 60),
        ("sensitivity-same-different-p8", 60),
        ("confidence-p8", 20),
        ("mean-ratings-p8", 60),
        ("times-medians-p8", 60),
        ("times-ex-gaussian-p8", 12),
        ("times-accuracy-p8", 40),
        ("own-thresholds-yes-no", 2),
        ("own-thresholds-same-different", 1),
        ("two-stages-p8", 200),
        ("two-stages-p8-censored", 30),
        ("missing-p8", 400),
        ("monotony-p8", 200),
        ("power-law-alike", 3),
        ("agreement-6-annotators", 20),
        ("maps-8-pictures", 400),
        ("d-prime-band-p8-sd0.875", 25),
        ("without-shape-yes-no-n20-lapse0.02-eta0", 2),
    ],
)
def test_what_is_printed_of_people_keeps_its_promise(name, times):
    cell = next(cell for cell in PRINTED if cell.name == name)
    found = cell.shares([cell.one(11, number) for number in range(times)])
    assert [share.quantity for share in found if not share.met] == []


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("undetected-usual", 25),
        ("undetected-few-pictures", 25),
        ("at-threshold-unlike", 3),
        ("pictures-p24-x1", 50),
        ("machines-accuracy-300", 4),
        ("machines-compared-30-0", 2),
        ("machines-curve-40", 2),
        ("machines-seeds-3", 10),
    ],
)
def test_what_is_printed_of_machines_keeps_its_promise(name, times):
    cell = next(cell for cell in PRINTED if cell.name == name)
    found = cell.shares([cell.one(11, number) for number in range(times)])
    assert [share.quantity for share in found if not share.met] == []


def test_one_who_loses_more_and_was_shown_one_end_more_often_is_no_trend():
    eps, person = np.repeat([1.0, 2.0, 1.0, 2.0], [80, 20, 20, 80]), np.repeat([0, 1], 100)
    rejected = {"together": 0, "within": 0}
    for number in range(300):
        lost = rng.numpy_generator(4, "losses", number).random(200) < np.array([0.05, 0.4])[person]
        for name, who in (("together", np.zeros_like(person)), ("within", person)):
            found = trend(eps, lost, who)
            rejected[name] += found is not None and found["p"] < 0.05
    assert rejected["within"] < 0.09 * 300
    assert rejected["together"] > 0.5 * 300


def run(tmp_path, *more):
    paths = [f"--{name}={tmp_path / name}" for name in ("state", "docs")]
    main(
        [
            *paths,
            f"--out={tmp_path / 'c.json'}",
            "--scale=0.01",
            "--processes=1",
            "--only",
            "machines-seeds-3",
            "calibration",
            *more,
        ]
    )
    return json.loads((tmp_path / "c.json").read_text())


def test_the_command_writes_claims_and_page_and_keeps_finished_cells(tmp_path, capsys):
    claims = run(tmp_path)
    assert {claim["command"] for claim in claims} == {"python -m benchmarks.coverage"}
    text = (tmp_path / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert f"of {len(claims)} judged shares lie where they should" in text
    assert (tmp_path / "docs" / "figures" / "coverage.svg").read_text(encoding="utf-8").count("<title") == 1
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").iterdir()}
    assert run(tmp_path) == claims
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").iterdir()} == kept
    capsys.readouterr()
    main([f"--state={tmp_path / 'state'}", "--scale=0.01", "--list"])
    assert capsys.readouterr().out.count("finished") == 2


def test_a_share_that_is_missed_is_named_on_the_page():
    share = Share(quantity="short", kind="coverage", value=0.8, n=400, nominal=0.95, gate="inside", below=40, above=40)
    text = page.text([("cell", "a cell", [share])])
    assert "**0 of 1 judged shares lie where they should**" in text
    assert "- short (a cell): 0.800, too sure" in text


def test_a_share_whose_misses_lie_on_one_side_is_named_as_such():
    share = Share(
        quantity="m", kind="coverage", value=0.95, n=2000, nominal=0.95, gate="inside", below=90, above=10, sides=True
    )
    text = page.text([("cell", "a cell", [share])])
    assert "- m (a cell): 0.950, misses lie on one side" in text
    assert "inside the band, each side at most 0.0345: **missed**" in text


@pytest.mark.parametrize(
    ("flag", "message"), [("--only=nothing", "no cell begins so"), ("--scale=0", "--scale above 0")]
)
def test_what_cannot_be_simulated_is_refused(flag, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        main([flag, f"--state={tmp_path}"])
