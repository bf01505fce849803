"""The report from an export that was simulated by the observers' law: end to end, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from analysis import report
from analysis.estimates import estimate
from analysis.observers import read_observers
from analysis.recovery import population_truth
from analysis.trials import read_export
from core import files
from core.runs import RunRecord, write_record
from tests.simulated_export import EPS, LAWS, OBSERVERS_TOML, write_evaluation, write_export

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["--bootstrap", "200"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("study")
    write_export(directory / "export", participants=240, seed=11)
    (directory / "observers.toml").write_text(OBSERVERS_TOML)
    for run, half in (("standard", 2.0), ("pgd-at", 9.0), ("sip-at", 7.0)):
        write_evaluation(directory / "runs" / run, run, half=half)
    return directory


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_export(tmp_path_factory.mktemp("small") / "export", participants=8, seed=2)


def arguments(study: Path, out: Path) -> list[str]:
    runs = sorted(map(str, (study / "runs").iterdir()))
    options = ["--evaluations", *runs, "--observers", str(study / "observers.toml"), *QUICK]
    return [str(study / "export"), *options, "--out", str(out)]


@pytest.fixture(scope="module")
def written(study) -> Path:
    out = study / "report"
    assert report.main(arguments(study, out)) == 0
    return out


@pytest.fixture(scope="module")
def results(written) -> dict:
    return json.loads((written / "results.json").read_text())


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_law_of_the_observers_is_recovered(results):
    assert results["recovery"]["consistent"] is True
    assert results["recovery"]["quantities"] == 7
    for run, (eps_dprime1, _, _) in LAWS.items():
        recovery = results["source_models"][run]["recovery"]
        for found in (recovery["eps_dprime1"], recovery["eps50"]):
            assert found["covered"] is (found["low"] <= found["true"] <= found["high"])
        assert recovery["eps_dprime1"]["true"] == pytest.approx(eps_dprime1, rel=0.02)
        assert recovery["eps_dprime1"]["estimate"] == pytest.approx(eps_dprime1, rel=0.2)
    assert results["observers"]["recovery"]["criterion"]["covered"] is True


def test_intervals_cover_the_law_as_often_as_they_say(tmp_path):
    observers_file = tmp_path / "observers.toml"
    observers_file.write_text(OBSERVERS_TOML)
    observers, covered, deviations = read_observers(observers_file), [], []
    for seed in range(12):
        cells = read_export(write_export(tmp_path / str(seed), seed=seed)).cells
        study = estimate(cells, replicates=200, seed=seed, progress=False)
        truth = population_truth(cells, observers).point.power_law.log2_eps_dprime1[0]
        for threshold, true in zip(study.eps_dprime1, truth, strict=True):
            covered.append(threshold.interval.covers(2**true))
            deviations.append(np.log2(threshold.interval.estimate) - true)
    assert len(covered) == 36
    assert sum(covered) >= 29  # of 36 at 95 % fewer happen about once in 10,000 times
    assert abs(np.mean(deviations)) < 3.3 * np.std(deviations) / np.sqrt(36)


def test_a_wrong_law_is_not_recovered(study, tmp_path):
    (tmp_path / "observers.toml").write_text(OBSERVERS_TOML.replace("eps_dprime1 = 9.0", "eps_dprime1 = 14.0"))
    options = ["--observers", str(tmp_path / "observers.toml"), *QUICK, "--out", str(tmp_path / "out")]
    assert report.main([str(study / "export"), *options]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["recovery"]["consistent"] is False
    assert found["source_models"]["standard"]["recovery"]["eps_dprime1"]["covered"] is False


def test_every_source_model_has_its_numbers(results):
    assert results["data"]["participants"] == 240
    assert results["data"]["robots"] == 240
    assert results["data"]["eps"] == [0.0, *map(float, EPS)]
    trials = sum(model["n_trials"] for model in results["source_models"].values())
    assert trials + results["observers"]["false_alarms"]["trials"] == results["data"]["trials"] == 240 * 40
    for model in results["source_models"].values():
        assert [point["eps"] for point in model["by_eps"]] == list(map(float, EPS))
        for point in model["by_eps"]:
            rate = point["hit_rate"]
            assert 0 <= rate["low"] <= rate["estimate"] == point["hits"] / point["trials"] <= rate["high"] <= 1
            assert point["d_prime"]["low"] < point["d_prime"]["estimate"] < point["d_prime"]["high"]
        assert model["false_alarms"]["trials"] == 240 * 20
        assert model["machine"]["clean_accuracy"]["pictures"] == 300
        assert [row["eps"] for row in model["machine"]["robust_accuracy"]] == list(map(float, EPS))


def test_counts_are_those_of_the_export(study, results):
    with (study / "export/data/table-trials_data.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] == "main" and row["session_id"] != "s240"]
    shown = [row for row in rows if row["run"] == "pgd-at" and row["eps_asked"] == "8"]
    point = results["source_models"]["pgd-at"]["by_eps"][3]
    assert (point["trials"], point["hits"]) == (len(shown), sum(row["response"] == "yes" for row in shown))


def test_exclusions_are_counted_step_by_step(results):
    steps = {step["rule"]: step for step in results["exclusions"]}
    assert steps["practice trials"]["trials_removed"] == 241 * 2
    assert steps["sessions that were not finished"]["participants_removed"] == 1
    assert steps["sessions that were not finished"]["trials_left"] == 240 * 40


def test_the_same_input_gives_the_same_bytes(study, written, tmp_path):
    assert report.main(arguments(study, tmp_path / "again")) == 0
    assert tree(tmp_path / "again") == tree(written)


def test_the_order_of_rows_in_the_export_does_not_matter(study, written, tmp_path):
    shuffled = tmp_path / "export"
    write_export(shuffled, participants=240, seed=11)
    table = shuffled / "data/table-trials_data.csv"
    header, *lines = table.read_text().splitlines()
    table.write_text("\n".join([header, *reversed(lines)]) + "\n")
    options = arguments(study, tmp_path / "out")
    assert report.main([str(shuffled), *options[1:]]) == 0
    assert (tmp_path / "out" / "results.json").read_bytes() == (written / "results.json").read_bytes()


def test_the_manifest_names_every_file_with_its_hash_and_no_path_of_this_machine(study, written):
    manifest = json.loads((written / "manifest.json").read_text())
    found = {name: files.sha256_bytes(data) for name, data in tree(written).items() if name != "manifest.json"}
    assert manifest["outputs"] == found
    assert manifest["inputs"]["observers.toml"] == files.sha256_file(study / "observers.toml")
    assert "standard/evaluation.json" in manifest["inputs"]
    for name, data in tree(written).items():
        assert str(study).encode() not in data, name
        assert str(ROOT).encode() not in data, name


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.ids, self.labels = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        table = dict(attrs)
        self.tags.append((tag, table))
        self.ids += [table["id"]] if "id" in table else []
        self.labels += (table.get("aria-labelledby") or "").split()


def test_the_page_fetches_nothing_and_is_well_labelled(written):
    text = (written / "index.html").read_text()
    page = Page(text)
    assert re.search(r"https?://|//[a-z]+\.|url\((?!#)|@import", text) is None
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe")]
    assert len(page.ids) == len(set(page.ids))
    assert set(page.labels) <= set(page.ids)
    drawings = [table for tag, table in page.tags if tag == "svg"]
    assert len(drawings) == len(list((written / "figures").iterdir())) >= 5
    assert all(table["role"] == "img" for table in drawings)
    assert {table["href"][1:] for tag, table in page.tags if tag == "a" and "href" in table} <= set(page.ids)
    used = re.findall(r'(?:xlink:href="|url\()#([^")]+)', text)
    assert set(used) <= set(page.ids)


def test_every_figure_is_a_drawing_with_a_title_and_numbers_in_its_description(written):
    for path in (written / "figures").iterdir():
        root = ET.fromstring(path.read_text())
        title, description = root[0], root[1]
        assert title.tag.endswith("title")
        assert title.text
        assert re.search(r"\d", description.text), path.name


def test_tables_hold_the_numbers_of_the_results_at_full_precision(written, results):
    with (written / "tables" / "thresholds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    for row in rows:
        threshold = results["source_models"][row["source_model"]]["threshold"][row["threshold"]]
        assert float(row["eps"]) == threshold["estimate"]
    with (written / "tables" / "detection.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1 + 3 * len(EPS)


def test_a_report_of_ours_is_replaced_and_anything_else_is_left_alone(small, tmp_path):
    out = tmp_path / "report"
    options = [str(small), *QUICK, "--out", str(out)]
    assert report.main(options) == 0
    first = tree(out)
    assert report.main([*options, "--seed", "2"]) == 0
    assert tree(out)["results.json"] != first["results.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(report.ExportError, match=r"holds notes\.txt, which no report wrote"):
        report.main(options)
    with pytest.raises(report.ExportError, match="expected no such path or an earlier report"):
        report.main([str(small), "--out", str(small)])


def test_a_run_directory_adds_what_was_trained_on(study, small, tmp_path):
    run = Path(shutil.copytree(study / "runs" / "standard", tmp_path / "standard"))
    record = RunRecord(
        schema_version=1, run="standard", method="standard", classes=("a", "b"), height=48, width=32,
        dataset="photographs", dataset_fingerprint="1" * 64, train_pictures=2400, salience={}, seed=5, epochs=12,
        seconds=1.0, commit="", dirty=False, device="cpu", threads=1, versions={},
    )  # fmt: skip
    write_record(run / "record.json", record)
    options = ["--evaluations", str(run), "--bootstrap", "100", "--out", str(tmp_path / "out")]
    assert report.main([str(small), *options]) == 0
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    found = found["source_models"]["standard"]["machine"]["training"]
    assert (found["dataset"], found["train_pictures"], found["epochs"]) == ("photographs", 2400, 12)
    assert "2\u202f400 pictures of photographs (2 classes" in (tmp_path / "out" / "index.html").read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["inputs"]["standard/record.json"] == files.sha256_file(run / "record.json")


@pytest.mark.parametrize("command", [["analysis/report.py"], ["-m", "analysis.report"]])
def test_both_commands_run_without_torch_and_with_progress_on_stderr(small, tmp_path, command):
    (tmp_path / "torch.py").write_text("raise ImportError('torch is blocked')\n")
    done = subprocess.run(
        [sys.executable, *command, str(small), *QUICK, "--out", str(tmp_path / "out")],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'out' / 'index.html'}\n"
    assert "bootstrap" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_runs_from_any_directory_and_the_command_line_is_as_documented(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "analysis" / "report.py"), "--help"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert sorted(set(re.findall(r"--[a-z]+", done.stdout))) == [
        "--annotations", "--bootstrap", "--columns", "--evaluations", "--from", "--help", "--no", "--observers",
        "--out", "--plan", "--progress", "--seed",
    ]  # fmt: skip
