"""``make demo`` itself, from empty to the report: what a newcomer gets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.study_site import free_port
from core.annotations import sets

ROOT = Path(__file__).resolve().parents[2]
RUNS = ("pgd-at", "sip-at", "standard")
PEOPLE = "sip-at-people"  # evaluated and reported; the participants see no stimuli of it


def make(*words, **environment):
    """Runs make with this interpreter's virtual environment; on one core, since other tests are on the others."""
    values = {**os.environ, **environment}
    venv = Path(sys.executable).parent.parent
    return subprocess.run(
        ["make", f"VENV={venv}", *words], cwd=ROOT, env=values, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    work = tmp_path_factory.mktemp("demo") / "work"
    done = make("demo", f"WORK={work}", f"PORT={free_port()}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"{work}/report/index.html" in done.stdout
    assert "make serve" in done.stdout
    return work


@pytest.fixture(scope="module")
def results(demo):
    return json.loads((demo / "report" / "results.json").read_text(encoding="utf-8"))


def test_the_robots_law_is_recovered(results):
    assert results["data"]["participants"] == 48
    recovery = results["recovery"]
    assert recovery["consistent"] is True
    assert recovery["covered"] == recovery["quantities"], "with the demo's seeds every interval covers the truth"


def test_every_source_model_has_its_numbers(results):
    assert tuple(sorted(results["source_models"])) == RUNS
    for model in results["source_models"].values():
        assert model["n_participants"] == 48
        assert model["n_trials"] == 320
        assert [cell["eps"] for cell in model["by_eps"]] == [1, 2, 4, 8, 16, 32]
        assert sum(cell["trials"] for cell in model["by_eps"]) == 320
        assert model["false_alarms"]["trials"] == 960
        for threshold in model["threshold"].values():
            assert threshold["low"] < threshold["estimate"] < threshold["high"]
        assert model["recovery"]["eps_dprime1"]["covered"] in {True, False}
        assert model["machine"]["clean_accuracy"]["pictures"] == 360


def test_machines_fall_along_the_ladder_and_adversarial_training_stands_above_standard(results):
    at_8 = {}
    for name, model in results["source_models"].items():
        machine = model["machine"]
        curve = [machine["clean_accuracy"]["accuracy"], *(point["accuracy"] for point in machine["robust_accuracy"])]
        assert curve == sorted(curve, reverse=True)
        assert curve[0] > curve[-1]
        at_8[name] = next(point for point in machine["robust_accuracy"] if point["eps"] == 8)
    for name in ("pgd-at", "sip-at"):
        assert at_8[name]["low"] > at_8["standard"]["high"]


def test_a_model_is_trained_on_what_annotators_agreed_upon(demo, results):
    record = sets.read_record(demo / "annotations")
    assert record.counts["annotators"] == 3
    assert record.counts["annotations"] == 3 * record.counts["annotated"] == 360
    assert len(record.maps) >= 110, "a few pictures may be skipped by everybody"
    run = json.loads((demo / "runs" / PEOPLE / "record.json").read_text(encoding="utf-8"))
    assert record.sha256 in json.dumps(run)
    assert results["evaluations_without_human_data"] == [PEOPLE]
    regions = results["salient-regions"]
    assert [each["sha256"] for each in regions["sets"]] == [record.sha256]
    assert {row["run"] for row in regions["training"]} == {"sip-at", PEOPLE, "pgd-at", "standard"}
    assert regions["comparisons"], "with the spectral residual that sip-at was trained on"


def test_nothing_is_done_twice(demo):
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file()}
    done = make("demo", f"WORK={demo}")
    assert done.returncode == 0, done.stderr
    assert "core.train" not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in demo.rglob("*") if path.is_file()} == before


def test_the_report_again_has_the_same_bytes(demo, tmp_path):
    runs = [str(demo / "runs" / name) for name in ("standard", "pgd-at", "sip-at", PEOPLE)]
    command = [sys.executable, "analysis/report.py", str(demo / "export"), "--evaluations", *runs]
    command += ["--annotations", str(demo / "annotations")]
    command += ["--observers", "study_app/observers/demo.toml", "--out", str(tmp_path / "report")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    first, second = ({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
                     for root in (demo / "report", tmp_path / "report"))  # fmt: skip
    assert first == second


def test_no_path_of_this_machine_is_in_the_report(demo):
    for path in (demo / "report").rglob("*"):
        assert path.is_dir() or str(ROOT).encode() not in path.read_bytes()
        assert path.is_dir() or str(demo).encode() not in path.read_bytes()


def test_a_machine_without_node_is_told_so(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "touch", "test", "grep", "make"):
        (tools / name).symlink_to(shutil.which(name))
    assets = tmp_path / "jspsych.js"
    done = make(str(assets), f"VENDOR={assets}", "SHELL=/bin/bash", PATH=str(tools))
    assert done.returncode == 2
    assert "expected Node with npm for the front end, found none; install Node 18 or newer" in done.stderr
    assert not assets.exists()


def test_an_unsupported_python_is_told_so(tmp_path):
    done = make(f"{tmp_path}/venv/.run", f"VENV={tmp_path}/venv", "PYTHON=/bin/false")
    assert done.returncode == 2
    assert "expected Python 3.11 to 3.13 as '/bin/false'" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_serve_without_a_demo_says_what_to_do(tmp_path):
    done = make("serve", f"WORK={tmp_path}/none")
    assert done.returncode == 2
    assert "no study in" in done.stderr
    assert "run make demo first" in done.stderr
