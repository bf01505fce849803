"""``python -m core.evaluate`` on real runs: regions, threats, transfer, chance, kill and resume, verify, bad input."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pyarrow.compute
import pyarrow.parquet
import pytest
import safetensors.torch
import torch

from analysis.machine import machine_results
from core import attacks, evaluate, evaluation_card, evaluation_comparisons, files, runs
from core.errors import RunError
from core.evaluation_settings import REGIONS
from tests.evaluated_runs import PICTURES, QUICK, ROOT, command, copied, fit, train_all


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_all(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def atop(trained):
    folder = trained["standard"].parent
    objective = f'method = "atop"\nclassifier = "{trained["standard"].as_posix()}"\nadversarial_from_epoch = 1\n'
    objective += "attack = { steps = 1 }\npurification = { width = 4, discriminator_width = 4 }"
    return fit(folder, "atop", objective)


@pytest.fixture(scope="module")
def everything(trained, tmp_path_factory):
    """Three runs under everything at once; returns what was printed, and the comparisons."""
    path = tmp_path_factory.mktemp("comparisons") / "comparisons.json"
    words = [*map(str, trained.values()), "--eps", "4", "16", "--attacks", "fgsm", "aa-standard-4x2x20"]
    words += ["--regions", "full", "salient", "background", "--salience", str(trained["sip-at"])]
    words += ["--l2", "0.5", "--stadv", "1", "--transfer", "--minimal", "--comparisons", str(path)]
    done = command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout, path


def outcomes(run, suffix=""):
    return pyarrow.parquet.read_table(run / f"outcomes{suffix}.parquet")


# ---- everything at once ----


def test_every_condition_is_in_the_card_and_counts_agree_with_outcomes(everything, trained):
    for name, run in trained.items():
        card, table = runs.read_evaluation(run), outcomes(run).to_pandas()
        assert tuple(table.columns) == runs.OUTCOME_COLUMNS
        conditions = {(p.attack, p.norm, p.region, p.source, p.eps) for p in card.curve if p.attack != runs.WORST_CASE}
        assert len(conditions) == 1 + 3 * 3 * (2 * 2 + 2 + 1)
        assert card.curve[0].attack == "none"
        assert card.curve[0].source == name
        keys = ["attack", "norm", "region", "access", "source", "eps"]
        right = (~table.fooled).groupby([table[key] for key in keys]).sum()
        for point in card.curve:
            assert point.pictures == PICTURES
            if point.attack != runs.WORST_CASE:
                assert right[tuple(getattr(point, key) for key in keys)] == point.correct
        assert ((table.prediction != table.source_class) == table.fooled).all()
        assert ((table.margin <= 0) == table.fooled).all()


def test_the_worst_case_is_no_better_than_any_attack_and_ladders_fall(everything, trained):
    for name, run in trained.items():
        own = [point for point in runs.read_evaluation(run).curve if point.source == name and point.eps > 0]
        worst = {(p.norm, p.region, p.eps): p.correct for p in own if p.attack == runs.WORST_CASE}
        assert len(worst) == 3 * 3
        assert all(worst.get((p.norm, p.region, p.eps), 0) <= p.correct for p in own)
        for low, high in (
            (p, q) for p in own for q in own if dataclasses.replace(p, **_same(q)) == q and p.eps < q.eps
        ):
            assert high.correct <= low.correct


def _same(point):
    return {key: getattr(point, key) for key in ("eps", "correct", "accuracy", "low", "high")}


def test_what_fooled_a_picture_is_named(everything, trained):
    table = outcomes(trained["standard"]).to_pandas()
    own = table[(table.source == "standard") & (table.eps > 0)]
    by = own[own.attack == "aa-standard-4x2x20"].fooled_by.dropna()
    assert set(by) <= {part.name for part in attacks.named("aa-standard-4x2x20").parts}
    assert len(set(by)) >= 1
    clean_wrong = set(table[(table.attack == "none") & table.fooled].source_id)
    newly = own[own.fooled & ~own.source_id.isin(clean_wrong)]
    assert newly.fooled_by.notna().all()
    assert own[~own.fooled].fooled_by.isna().all()


def test_maps_and_threshold_are_those_of_sip_at(everything, trained):
    for run in trained.values():
        maps = runs.read_evaluation(run).maps
        assert (maps["source"], maps["threshold"]) == ("spectral-residual", 0.75)
        assert maps["share_salient"] == pytest.approx(0.25, abs=0.01)


def test_the_printed_result_can_be_read(everything):
    printed, _ = everything
    assert re.search(r"standard: standard, 45 test pictures; clean accuracy \d+\.\d % \[\d+\.\d, \d+\.\d\]", printed)
    for line in (
        "accuracy in % at ε (grey levels)",
        "accuracy in % at ε ([0, 1] units)",
        "accuracy in % at ε (pixels)",
        "aa-standard-4x2x20 (linf, salient)",
        "stadv-50 (flow, background)",
        "worst-case (linf, full)",
        "made against ↓, judged → fgsm (linf, full), ε = 16 grey levels",
        "compared with standard on the same pictures",
        "least whole ε that fools, fgsm (full): median",
    ):
        assert line in printed


def test_comparisons_rest_on_the_same_pictures(everything, trained):
    found = evaluation_comparisons.read(everything[1])
    assert {(one.reference, one.run) for one in found} == {("standard", "pgd-at"), ("standard", "sip-at")}
    cards = {name: runs.read_evaluation(run) for name, run in trained.items()}
    assert {one.attack for one in found} == {"none", "fgsm", "aa-standard-4x2x20", "stadv-50", "worst-case"}
    for one in found:
        assert one.both + one.only_reference + one.only_run + one.neither == PICTURES
        assert one.p <= one.p_holm <= 1
        key = (one.attack, one.norm, one.region, one.eps)
        for name, right in (("standard", one.both + one.only_reference), (one.run, one.both + one.only_run)):
            own = [p for p in cards[name].curve if (p.attack, p.norm, p.region, p.eps) == key and p.source == name]
            assert [p.correct for p in own] == [right]


def test_minimal_levels_are_counted_and_within_the_ladder(everything, trained):
    for run in trained.values():
        card = runs.read_evaluation(run)
        table = pyarrow.parquet.read_table(run / "minimal.parquet").to_pandas()
        assert len(card.minimal) == 2 * 3
        wrong = PICTURES - card.curve[0].correct
        for found in card.minimal:
            assert (found.highest, sum(found.levels), found.levels[0]) == (16, PICTURES, wrong)
            rows = table[(table.attack == found.attack) & (table.region == found.region)]
            assert rows.level.isna().sum() == found.levels[-1]
            assert [int((rows.level == level).sum()) for level in range(17)] == list(found.levels[:-1])


def test_a_card_is_computed_again_to_the_same_outcomes(everything, trained, capsys):
    assert evaluate.main([str(trained["pgd-at"]), "--verify"]) == 0
    assert "pgd-at: computed again on cpu: all" in capsys.readouterr().out


def test_the_report_takes_what_lies_on_the_axis_of_people(everything, trained):
    card = runs.read_evaluation(trained["sip-at"])
    found = machine_results(card, None)
    assert {(row["attack"], row["region"]) for row in found["robust_accuracy"]} == {
        (attack, region) for attack in ("fgsm", "aa-standard-4x2x20", "worst-case") for region in REGIONS
    }
    assert {row["eps"] for row in found["robust_accuracy"]} == {4, 16}
    assert found["clean_accuracy"]["correct"] == card.curve[0].correct


# ---- verify ----


@pytest.fixture
def small(trained, tmp_path):
    run = copied(trained["standard"], tmp_path)
    assert evaluate.main([str(run), *QUICK]) == 0
    return run


def test_a_changed_count_is_seen(small):
    card = json.loads((small / "evaluation.json").read_text())
    card["curve"][1]["correct"] += 1
    files.write_json(small / "evaluation.json", card)
    with pytest.raises(RunError, match=r"pgd-3, linf, full, full, standard, ε = 4: \d+ of 45 right, again \d+ of 45"):
        evaluate.main([str(small), "--verify"])
    assert command(str(small), "--verify").returncode == 1


def test_a_changed_outcome_is_seen(small):
    table = outcomes(small)
    margins = pyarrow.compute.add(table["margin"], 0.01)
    changed = table.set_column(table.column_names.index("margin"), "margin", margins)
    evaluation_card.write_table(small / "outcomes.parquet", changed)
    with pytest.raises(RunError, match="outcomes: margins differ by up to 0.01, expected at most 0.001"):
        evaluate.main([str(small), "--verify"])
    evaluation_card.write_table(small / "outcomes.parquet", table.slice(1))
    with pytest.raises(RunError, match="outcomes: 134 rows, computed again 135"):
        evaluate.main([str(small), "--verify"])
    evaluation_card.write_table(small / "outcomes.parquet", table.drop(["norm"]))
    with pytest.raises(RunError, match="expected other columns than source_id, .*; run core.evaluate again"):
        evaluate.main([str(small), "--verify"])
    (small / "outcomes.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="expected outcomes, could not read them"):
        evaluate.main([str(small), "--verify"])


def test_a_card_of_other_weights_is_seen(small):
    card = json.loads((small / "evaluation.json").read_text())
    files.write_json(small / "evaluation.json", card | {"weights_sha256": "0" * 64})
    with pytest.raises(RunError, match="weights: the card is of 000000000000, the run has"):
        evaluate.main([str(small), "--verify"])
    files.write_json(small / "evaluation.json", card | {"dataset_fingerprint": "0" * 64})
    with pytest.raises(RunError, match="pictures: the card is of 000000000000, the run has"):
        evaluate.main([str(small), "--verify"])


def test_verify_takes_no_settings(small, capsys):
    with pytest.raises(SystemExit):
        evaluate.main([str(small), "--verify", "--eps", "3"])
    assert "--verify takes its settings from the card" in capsys.readouterr().err


# ---- kill and resume ----


def test_a_killed_evaluation_goes_on_to_the_same_outcomes(trained, tmp_path):
    words = ["--eps", "2", "4", "8", "--attacks", "square-600", "--batch-size", "15"]
    whole, killed = copied(trained["pgd-at"], tmp_path / "whole"), copied(trained["pgd-at"], tmp_path / "killed")
    assert evaluate.main([str(whole), *words]) == 0
    units = _kill(killed, words)
    _mark(killed / "evaluation.partial" / "units.sqlite", "none linf full full 0 0", margin=123.0)
    assert evaluate.main([str(killed), *words]) == 0
    one, other = outcomes(whole), outcomes(killed)
    first = pyarrow.compute.equal(other["margin"], 123.0)
    assert units >= 2
    assert pyarrow.compute.sum(first).as_py() == 15, "a unit that was kept is read, not computed again"
    rest = pyarrow.compute.greater(one["eps"], 0.0)
    assert one.filter(rest).equals(other.filter(rest))
    assert not (killed / "evaluation.partial").exists()


def _kill(run, words):
    """Begins an evaluation, kills it when some units are finished, and returns how many."""
    process = subprocess.Popen(
        [sys.executable, "-m", "core.evaluate", str(run), *words], cwd=ROOT, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline, finished = time.monotonic() + 120, 0
    while finished < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        finished = _finished(run / "evaluation.partial" / "units.sqlite")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run / "evaluation.json").exists()
    return finished


def _finished(path):
    if not path.exists():
        return 0
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return database.execute("SELECT count(*) FROM unit").fetchone()[0]
    except sqlite3.OperationalError:  # being written
        return 0
    finally:
        database.close()


def _mark(path, unit, margin):
    database = sqlite3.connect(path)
    with database:
        (stored,) = database.execute("SELECT tensors FROM unit WHERE name = ?", (unit,)).fetchone()
        tensors = safetensors.torch.load(stored)
        tensors["0 margins"] = torch.full_like(tensors["0 margins"], margin)
        database.execute("UPDATE unit SET tensors = ? WHERE name = ?", (safetensors.torch.save(tensors), unit))
    database.close()


# ---- chance ----


def test_a_randomised_run_is_attacked_in_every_way_and_judged_by_vote(atop, capsys):
    assert evaluate.main([str(atop), "--eps", "8", "--attacks", "pgd-2", "--votes", "7"]) == 0
    card = runs.read_evaluation(atop)
    assert card.randomised
    assert card.settings.votes == 7
    own = {(point.attack, point.access) for point in card.curve[1:]}
    assert own == {
        ("pgd-2-eot20", "full"), ("pgd-2", "fixed"), ("pgd-2-eot20", "bpda"), ("pgd-2", "bare"), ("worst-case", "full"),
    }  # fmt: skip
    assert "judged by the vote of 7 draws" in capsys.readouterr().out
    assert "random-output" not in {finding.code for finding in card.warnings}
    assert evaluate.main([str(atop), "--verify"]) == 0


def test_chance_without_an_average_is_warned_of(atop, caplog):
    assert evaluate.main([str(atop), "--eps", "8", "--attacks", "fgsm-eot1", "--access", "full"]) == 0
    card = runs.read_evaluation(atop)
    assert "random-output" in {finding.code for finding in card.warnings}
    assert "random-output" in caplog.text


def test_a_randomised_run_is_paired_by_the_attack_that_was_asked_for(atop, trained, tmp_path):
    path = tmp_path / "comparisons.json"
    words = ["--eps", "8", "--attacks", "pgd-2", "--votes", "5", "--access", "full", "bare"]
    assert evaluate.main([str(trained["standard"]), str(atop), *words, "--transfer", "--comparisons", str(path)]) == 0
    found = evaluation_comparisons.read(path)
    assert {(one.attack, one.eps) for one in found} == {("none", 0.0), ("pgd-2", 8.0)}
    table = outcomes(atop).to_pandas()
    at_8 = table[(table.eps == 8) & (table.source == "atop")]
    stand = ~at_8.groupby("source_id").fooled.any()
    (compared,) = (one for one in found if one.eps == 8)
    assert compared.both + compared.only_run == int(stand.sum())
    made = outcomes(trained["standard"]).to_pandas()
    assert set(made[made.access == "transfer"].source) == {"atop"}


# ---- precision ----


def test_attacks_in_bfloat16_are_judged_in_float32_and_the_disagreement_is_kept(trained, tmp_path):
    run = copied(trained["pgd-at"], tmp_path)
    assert evaluate.main([str(run), *QUICK, "--precision", "bfloat16"]) == 0
    card = runs.read_evaluation(run)
    assert all(point.disagreement is not None and 0 <= point.disagreement <= 0.2 for point in card.curve)
    assert card.curve[0].correct == _clean(trained["pgd-at"], tmp_path)
    assert evaluate.main([str(run), "--verify"]) == 0


def _clean(run, folder):
    again = copied(run, folder / "again")
    assert evaluate.main([str(again), "--eps", "0"]) == 0
    return runs.read_evaluation(again).curve[0].correct
