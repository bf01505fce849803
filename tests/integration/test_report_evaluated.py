"""Real runs, evaluated by ``core.evaluate``, in the sections on machines: seeds, pairs of outcomes, thresholds."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from analysis import joint, robustness
from analysis.study import read_study
from core import train
from core.evaluation_comparisons import read as read_comparisons
from tests.evaluated_runs import OBJECTIVES, PICTURES, command, fit
from tests.simulated_export import write_export


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """Two runs of one recipe with seeds 5 and 6, and one of another, on three levels of ε."""
    folder = tmp_path_factory.mktemp("evaluated")
    names = {"standard": OBJECTIVES["standard"], "pgd-at": OBJECTIVES["pgd-at"]}
    runs = [fit(folder, name, *words) for name, words in names.items()]
    recipe = (folder / "standard.toml").read_text().replace("seed = 5", "seed = 6")
    (folder / "standard-6.toml").write_text(recipe)
    assert train.main([str(folder / "standard-6.toml"), "--run-dir", str(folder / "standard-6")]) == 0
    runs.append(folder / "standard-6")
    pairs = folder / "comparisons.json"
    words = ["--eps", "1", "4", "16", "--attacks", "pgd-3", "--comparisons", str(pairs)]
    done = command(*map(str, runs), *words)
    assert done.returncode == 0, done.stderr
    laws = {"standard": (9.0, 1.3, 0.15), "pgd-at": (5.0, 1.2, 0.15)}
    write_export(folder / "export", participants=12, laws=laws)
    return read_study(folder / "export", evaluations=runs, replicates=100, progress=False), read_comparisons(pairs)


def test_pairs_of_outcomes_are_compared_as_the_evaluation_compares_them(evaluated):
    study, written = evaluated
    found = robustness.section(study).results["comparisons"]
    for pair in written:
        if pair.norm == "linf" and pair.eps > 0:
            row = next(
                r for r in found if {r["first"], r["second"]} == {pair.reference, pair.run} and r["eps"] == pair.eps
            )  # fmt: skip
            flipped = -1 if row["first"] == pair.run else 1
            assert row["pictures"] == PICTURES
            assert row["difference"]["estimate"] == pytest.approx(flipped * pair.difference)
            assert row["p"] == pytest.approx(pair.p)


def test_two_seeds_of_one_recipe_are_one_method(evaluated):
    study, _ = evaluated
    rows = robustness.section(study).results["seeds"]
    assert {row["seeds"] for row in rows} == {2}
    assert sorted(rows[0]["runs"]) == ["standard", "standard-6"]
    assert {row["eps"] for row in rows} == {0.0, 1.0, 4.0, 16.0}


def test_curves_are_the_outcomes_counted(evaluated):
    study, _ = evaluated
    for curve in robustness.all_curves(study):
        assert curve.right is not None
        assert curve.right.sum(axis=0).tolist() == curve.correct.tolist()
        assert isinstance(study.outcomes[curve.run], pd.DataFrame)


def test_people_and_these_machines_stand_in_one_section(evaluated):
    study, _ = evaluated
    section = joint.section(study)
    json.dumps(section.results, allow_nan=False)
    assert {row["attack"] for row in section.results["at_threshold"]} == {"pgd-3"}
    assert {row["who"] for row in section.results["curves"]} == {"people", "pgd-3"}
