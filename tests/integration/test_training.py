"""Training and evaluation through their command lines: same seed, same numbers; kill and resume; bad input."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

from core import evaluate, files, runs, train
from core.errors import DataError, RunError

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
seed = 5
[data]
source = "photographs"
size = 32
train_per_class = 12
test_per_class = 4
[network]
width = 4
[objective]
method = "{method}"
{objective}
[optimiser]
epochs = {epochs}
batch_size = 32
lr = 0.1
{rest}
"""
ATTACK = 'attack = { eps = "8/255", steps = 2, step_size = "4/255" }'
SALIENCE = '[salience]\nsource = "spectral-residual"'
METHODS = {"standard": ("", ""), "pgd-at": (ATTACK, ""), "sip-at": (ATTACK, SALIENCE)}


def recipe(folder, method, epochs=3):
    objective, rest = METHODS[method]
    path = folder / f"{method}.toml"
    path.write_text(RECIPE.format(method=method, objective=objective, rest=rest, epochs=epochs))
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    for method in METHODS:
        assert train.main([recipe(folder, method), "--run-dir", str(folder / "runs" / method)]) == 0
    return folder


def paths(trained):
    return [trained / "runs" / method for method in METHODS]


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_weights(trained, tmp_path, method):
    assert train.main([recipe(tmp_path, method), "--run-dir", str(tmp_path / method)]) == 0
    first, second = (path / "weights.safetensors" for path in (trained / "runs" / method, tmp_path / method))
    assert first.read_bytes() == second.read_bytes()


def test_a_run_says_where_it_came_from(trained):
    record = runs.read_run(trained / "runs" / "sip-at")
    assert (record.method, record.seed, record.epochs, record.train_pictures) == ("sip-at", 5, 3, 180)
    assert record.salience["source"] == "spectral-residual"
    assert record.salience["share_spared"] == pytest.approx(0.5, abs=0.01)
    assert len(record.dataset_fingerprint) == 64
    assert record.versions["torch"].startswith("2.")
    lines = [json.loads(line) for line in (trained / "runs" / "sip-at" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_finished_training_is_not_done_again(trained, capsys):
    run = trained / "runs" / "standard"
    before = (run / "weights.safetensors").stat().st_mtime_ns
    assert train.main([recipe(trained, "standard"), "--run-dir", str(run)]) == 0
    assert "finished already" in capsys.readouterr().out
    assert (run / "weights.safetensors").stat().st_mtime_ns == before


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    path = recipe(tmp_path, "pgd-at", epochs=12)
    assert train.main([path, "--run-dir", str(whole)]) == 0
    command = [sys.executable, "-m", "core.train", path, "--run-dir", str(killed)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (killed / "metrics.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not runs.finished(killed)
    with pytest.raises(RunError, match="holds an unfinished run; add --resume to go on with it"):
        train.main([path, "--run-dir", str(killed)])
    assert train.main([path, "--run-dir", str(killed), "--resume"]) == 0
    assert (killed / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert len((killed / "metrics.jsonl").read_text().splitlines()) == 12


def test_another_recipe_does_not_overwrite_a_run(trained):
    with pytest.raises(RunError, match="holds a run of another recipe .*choose another --run-dir"):
        train.main([recipe(trained, "standard"), "--run-dir", str(trained / "runs" / "standard"), "--set", "seed=6"])


def test_evaluation_counts_every_picture_and_never_rises(trained):
    for run in paths(trained):
        assert evaluate.main([str(run), "--eps", "2", "8", "32", "--attacks", "pgd-3"]) == 0
        card = runs.read_evaluation(run)
        assert [point.eps for point in card.curve] == [0, 2, 8, 32]
        correct = [point.correct for point in card.curve]
        assert correct == sorted(correct, reverse=True)
        assert correct[-1] < correct[0]
        assert all(point.low <= point.accuracy <= point.high and point.pictures == 60 for point in card.curve)
        table = pyarrow.parquet.read_table(run / "outcomes.parquet").to_pandas()
        assert tuple(table.columns) == runs.OUTCOME_COLUMNS
        assert (~table.fooled).groupby(table.eps).sum().tolist() == correct
        assert len(table) == 240
        assert ((table.prediction != table.source_class) == table.fooled).all()
        assert card.weights_sha256 == files.sha256_file(run / "weights.safetensors")


def copy_run(trained, tmp_path, *without):
    run = tmp_path / "runs" / "standard"
    shutil.copytree(trained / "runs" / "standard", run)
    for name in without:
        (run / name).unlink()
    return run


def test_a_run_without_weights_is_named(trained, tmp_path):
    with pytest.raises(RunError, match="expected weights.safetensors, found none; the training was not finished"):
        evaluate.main([str(copy_run(trained, tmp_path, "weights.safetensors"))])
    with pytest.raises(RunError, match="no such run directory; train it with"):
        evaluate.main([str(tmp_path / "none")])


def test_a_run_of_another_schema_or_data_is_refused(trained, tmp_path):
    run = copy_run(trained, tmp_path)
    record = json.loads((run / "record.json").read_text())
    files.write_json(run / "record.json", record | {"schema_version": 99})
    with pytest.raises(RunError, match="expected schema version 1, got 99"):
        evaluate.main([str(run)])
    files.write_json(run / "record.json", record | {"dataset_fingerprint": "0" * 64})
    with pytest.raises(RunError, match="expected the data it was trained with .fingerprint 000000000000."):
        evaluate.main([str(run)])
    files.write_json(run / "record.json", record | {"colour": "red"})
    with pytest.raises(RunError, match="unknown key 'colour'"):
        evaluate.main([str(run)])


def test_damaged_weights_are_named(trained, tmp_path):
    run = copy_run(trained, tmp_path)
    data = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="expected a safetensors file, could not read it"):
        evaluate.main([str(run)])
    (run / "weights.safetensors").write_bytes(data)
    text = (run / "config.toml").read_text().replace("width = 4", "width = 8")
    (run / "config.toml").write_text(text)
    with pytest.raises(RunError, match="the weights do not fit"):
        evaluate.main([str(run)])


def command(*words, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


def test_mistakes_end_in_one_message_and_a_code(tmp_path):
    """Through the real command line: exit 1 and one line for a refusal, exit 2 for usage, no traceback, no file."""
    bad, run = tmp_path / "bad.toml", tmp_path / "run"
    bad.write_text((ROOT / "core/configs/demo-standard.toml").read_text().replace("epochs", "epocs"))
    cifar10 = ("core.train", "core/configs/cifar10-standard.toml", "--run-dir", str(run))
    cases = [
        (("core.train", str(bad), "--run-dir", str(run)), 1, "unknown key 'epocs'; did you mean 'epochs'?"),
        ((*cifar10, "--set", f"data.path={tmp_path}/no"), 1, "expected a folder"),
        (("core.evaluate", str(run)), 1, "no such run directory"),
        (("core.stimuli", "verify", str(tmp_path / "set")), 1, "is it the directory of a stimulus set?"),
        (("core.train",), 2, "usage:"),
    ]
    for words, code, message in cases:
        done = command(*words)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert code == 2 or done.stderr.strip().count("\n") == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["bad.toml"]


def test_cuda_without_a_gpu_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(Exception, match="--device cuda: expected a GPU, found none; use --device cpu"):
        train.main([recipe(tmp_path, "standard"), "--run-dir", str(tmp_path / "run"), "--device", "cuda"])


def test_torchvision_imports_on_this_torch():
    from core.torchvision_cpu import torchvision

    model = torchvision().models.resnet18(weights=None, num_classes=3).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    assert torchvision().datasets.CIFAR10.__name__ == "CIFAR10"


def test_cifar10_is_written_as_a_folder_that_reads_back(tmp_path):
    from core import datasets
    from core.datasets.cifar10 import main, write_split

    generator = np.random.default_rng(1)
    examples = [(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8), index % 2) for index in range(6)]
    for name in ("train", "test"):
        write_split(tmp_path / "cifar10" / name, examples, ("airplane", "bird"), len(examples))
    data = datasets.load(datasets.Data(source="folder", path=tmp_path / "cifar10"))
    assert np.array_equal(data.test.pixels[3].permute(1, 2, 0).numpy(), examples[1][0])
    with pytest.raises(DataError, match="exists already; remove it to make it again"):
        main([str(tmp_path / "cifar10")])
