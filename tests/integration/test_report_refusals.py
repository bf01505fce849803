"""Exports and options that the report refuses, or about which it says what cannot be said."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis import report
from analysis.estimates import estimate
from analysis.trials import PARTICIPANTS_FILE, TRIAL_COLUMNS, TRIALS_FILE, read_export
from core.errors import ConfigError, ExportError, RunError, StimulusError
from tests.simulated_export import OBSERVERS_TOML, write_evaluation, write_export

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return write_export(tmp_path_factory.mktemp("study") / "export", participants=12)


@pytest.fixture
def export(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "export"))


def rewrite(export: Path, change, name: str = TRIALS_FILE) -> None:
    path = export / name
    with path.open() as file:
        rows = list(csv.DictReader(file))
    rows = change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["none"])
        writer.writeheader()
        writer.writerows(rows)


def without(column: str):
    return lambda rows: [{key: value for key, value in row.items() if key != column} for row in rows]


def changed(**values):
    """The first answered main trial with a signal, changed."""

    def change(rows):
        row = next(row for row in rows if row["phase"] == "main" and row["run"])
        row.update(values)
        return rows

    return change


@pytest.mark.parametrize("column", TRIAL_COLUMNS)
def test_a_missing_column_is_named_with_its_file(export, column):
    rewrite(export, without(column))
    with pytest.raises(
        ExportError, match=rf"table-trials_data.csv: missing column '{column}'.*flask --app study_app export"
    ):
        read_export(export)


def test_the_command_refuses_with_one_message_and_writes_nothing(export, tmp_path):
    rewrite(export, without("response"))
    done = subprocess.run(
        [sys.executable, str(ROOT / "analysis/report.py"), str(export), "--out", str(tmp_path / "out")],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: data/table-trials_data.csv: missing column 'response'")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_missing_participant_column_is_named(export):
    rewrite(export, without("status"), PARTICIPANTS_FILE)
    with pytest.raises(ExportError, match=r"table-participants_data.csv: missing column 'status'"):
        read_export(export)


@pytest.mark.parametrize("name", [TRIALS_FILE, PARTICIPANTS_FILE])
def test_a_missing_file_is_named(export, name):
    (export / name).unlink()
    with pytest.raises(ExportError, match=f"expected the file {name}, found none"):
        read_export(export)


def test_a_missing_export_is_named(tmp_path):
    with pytest.raises(ExportError, match="no such export directory; make it with flask"):
        read_export(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(response="maybe"), "column 'response': expected one of yes, no, got 'maybe'"),
        (changed(task="2afc"), "row 4, column 'task': expected one task in an export, got '2afc'"),
        (changed(phase="pause"), "column 'phase': expected one of practice, warm-up, main, got 'pause'"),
        (
            changed(catch="instructed"),
            "column 'instructed': expected an answer where catch is instructed, and only there",
        ),
        (changed(rt_ms="-5"), "column 'rt_ms': expected a number, 0 or more, got '-5'"),
        (changed(eps_asked="much"), "column 'eps_asked': expected a number, 0 or more, got 'much'"),
        (changed(signal="perhaps"), "column 'signal': expected true or false, got 'perhaps'"),
        (changed(signal="false"), "expected signal to be true where eps_asked > 0"),
        (changed(run=""), "expected a run where eps_asked > 0 and none at 0"),
        (changed(protocol_hash="other"), "expected one protocol in an export"),
        (changed(session_id="ghost"), "session 'ghost' is not in data/table-participants_data.csv"),
        (changed(eps_asked="5"), "at ε = 5 is not in the exported manifest"),
        (changed(run="unknown"), "of run 'unknown' .* is not in the exported manifest"),
        (lambda rows: [*rows, rows[5]], "expected one row for each session_id and trial_index"),
    ],
)
def test_values_that_contradict_the_contract_are_refused(export, change, message):
    rewrite(export, change)
    with pytest.raises(ExportError, match=message):
        read_export(export)


def test_a_correct_column_that_lies_is_refused(export):
    rewrite(export, lambda rows: [row | {"correct": "true"} for row in rows])
    with pytest.raises(ExportError, match="expected correct to follow from response and signal"):
        read_export(export)


def test_a_manifest_that_was_changed_is_refused(export):
    path = export / "stimuli/demo/manifest.jsonl"
    path.write_text(path.read_text().replace('"eps_asked": 8', '"eps_asked": 9', 1))
    with pytest.raises(StimulusError, match="expected SHA-256"):
        read_export(export)


def test_an_export_without_its_stimulus_set_is_refused(export):
    shutil.rmtree(export / "stimuli")
    with pytest.raises(ExportError, match=r"expected stimuli/<set>/set\.json"):
        read_export(export)


def test_an_export_of_nobody_is_refused(export):
    (export / TRIALS_FILE).write_text(",".join(TRIAL_COLUMNS) + "\n")
    with pytest.raises(ExportError, match="found only the header; nobody has answered yet"):
        read_export(export)


def test_an_empty_file_is_refused(export):
    (export / TRIALS_FILE).write_text("")
    with pytest.raises(ExportError, match="expected a CSV table"):
        read_export(export)


def test_an_export_of_unfinished_sessions_is_refused(export):
    rewrite(export, lambda rows: [row | {"status": "started"} for row in rows], PARTICIPANTS_FILE)
    with pytest.raises(ExportError, match=r"no trial is left .* let participants finish first"):
        read_export(export)


def test_an_export_without_a_perturbed_picture_is_refused(export):
    rewrite(export, lambda rows: [row for row in rows if not row["run"]])
    with pytest.raises(ExportError, match="no trial with a perturbed picture is left"):
        read_export(export)


def test_observers_without_the_law_of_a_source_model_are_refused(export, tmp_path):
    law = tmp_path / "observers.toml"
    law.write_text(OBSERVERS_TOML.replace("[models.sip-at]", "[models.other]"))
    with pytest.raises(ConfigError, match=r"found none for sip-at; add \[models.sip-at\]"):
        report.main([str(export), "--observers", str(law), "--bootstrap", "100", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_law_out_of_range_is_refused(export, tmp_path):
    law = tmp_path / "observers.toml"
    law.write_text(OBSERVERS_TOML.replace("eps_dprime1 = 9.0", "eps_dprime1 = -9.0"))
    with pytest.raises(ConfigError, match=r"models.standard: expected eps_dprime1 > 0"):
        report.main([str(export), "--observers", str(law), "--out", str(tmp_path / "out")])


def test_two_evaluations_of_one_run_are_refused(export, tmp_path):
    paths = [str(write_evaluation(tmp_path / name, "standard", half=2.0)) for name in ("one", "two")]
    with pytest.raises(RunError, match="expected one evaluation a run, got a second of 'standard'"):
        report.main([str(export), "--evaluations", *paths, "--out", str(tmp_path / "out")])


def test_an_evaluation_that_rests_on_nothing_is_refused(export, tmp_path):
    run = write_evaluation(tmp_path / "run", "standard", half=2.0)
    table = json.loads((run / "evaluation.json").read_text())
    table["curve"][0]["pictures"] = 0
    (run / "evaluation.json").write_text(json.dumps(table))
    with pytest.raises(RunError, match="expected counts with 0 <= correct <= pictures"):
        report.main([str(export), "--evaluations", str(run), "--bootstrap", "100", "--out", str(tmp_path / "out")])


def test_too_few_bootstrap_draws_are_refused(export, tmp_path):
    with pytest.raises(ConfigError, match="expected 100 draws or more, got 5"):
        report.main([str(export), "--bootstrap", "5", "--out", str(tmp_path / "out")])


def reasons(export: Path) -> set[str | None]:
    study = estimate(read_export(export).cells, replicates=100, seed=1, progress=False)
    return {threshold.reason for threshold in (*study.eps_dprime1, *study.eps50)}


def test_two_participants_are_too_few_for_a_threshold(tmp_path):
    assert reasons(write_export(tmp_path / "export", participants=2, noise=40, signal=90)) == {"too_few_participants"}


def test_without_noise_trials_nothing_is_said_of_thresholds(tmp_path):
    assert reasons(write_export(tmp_path / "export", noise=0)) == {"no_noise_trials"}


def test_one_level_is_not_enough_for_a_threshold(tmp_path):
    assert reasons(write_export(tmp_path / "export", eps=(8,))) == {"no_signal_trials"}


def test_perturbations_that_nobody_sees_are_above_the_tested_range(tmp_path):
    laws = {"hidden": (1000.0, 1.3, 0.1)}
    assert reasons(write_export(tmp_path / "export", laws=laws)) == {"above_range"}


def test_perturbations_that_everybody_sees_are_below_the_tested_range(tmp_path):
    laws = {"glaring": (0.1, 1.3, 0.1)}
    assert reasons(write_export(tmp_path / "export", laws=laws)) == {"below_range"}


def test_a_detection_rate_that_falls_has_no_threshold(export):
    def turn(rows):
        for row in rows:
            yes = bool(row["run"]) and float(row["eps_asked"]) < 8
            row |= {"response": "yes" if yes else "no", "correct": str(yes == bool(row["run"])).lower()}
        return rows

    rewrite(export, turn)
    assert reasons(export) == {"not_monotone"}


def test_one_and_the_same_answer_says_nothing(export):
    rewrite(export, lambda rows: [row | {"response": "yes", "correct": row["signal"]} for row in rows])
    assert reasons(export) == {"one_answer"}


@pytest.mark.parametrize("case", ["two participants", "no noise", "one level", "unseen"])
def test_a_report_says_in_words_what_cannot_be_said(tmp_path, case):
    options = {
        "two participants": {"participants": 2}, "no noise": {"noise": 0}, "one level": {"eps": (8,)},
        "unseen": {"laws": {"hidden": (1000.0, 1.3, 0.1)}},
    }[case]  # fmt: skip
    write_export(tmp_path / "export", **options)
    assert report.main([str(tmp_path / "export"), "--bootstrap", "100", "--out", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    page = (tmp_path / "out" / "index.html").read_text()
    for model in results["source_models"].values():
        refused = model["threshold"]["eps_dprime1"]["not_estimable"]
        assert model["threshold"]["eps_dprime1"]["estimate"] is None
        assert refused["message"] in page
