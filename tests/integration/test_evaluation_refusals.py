"""Where salience maps of an evaluation come from, and requests that ``python -m core.evaluate`` refuses."""

from __future__ import annotations

import re

import pytest
import safetensors.torch
import torch

from core import evaluate, runs, train
from core.errors import ConfigError, DataError, RunError
from core.evaluation_maps import origin
from tests.evaluated_runs import OBJECTIVES, QUICK, RECIPE, SALIENCE, command, copied, fit, train_all


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_all(tmp_path_factory.mktemp("trained"))


# ---- maps ----


def test_maps_of_a_file_serve_runs_without_any(trained, tmp_path):
    path = tmp_path / "maps.toml"
    path.write_text('seed = 3\n[salience]\nsource = "centre-gaussian"\n')
    run = copied(trained["standard"], tmp_path)
    words = [str(run), *QUICK, "--regions", "salient", "--salience", str(path), "--threshold", "0.6"]
    assert evaluate.main(words) == 0
    card = runs.read_evaluation(run)
    assert (card.maps["source"], card.maps["threshold"], card.settings.salience) == (
        "centre-gaussian",
        0.6,
        "../maps.toml",
    )
    assert evaluate.main([str(run), "--verify"]) == 0
    path.write_text('[salience]\nsource = "centre-gaussian"\nsigma = 0.1\n')
    with pytest.raises(RunError, match="maps: the card is of"):
        evaluate.main([str(run), "--verify"])
    assert origin(trained["sip-at"], None).threshold == 0.75


def test_regions_without_maps_are_refused(trained, tmp_path):
    empty = tmp_path / "empty.toml"
    empty.write_text("seed = 1\n")
    words = [str(trained["standard"]), *QUICK, "--regions", "salient"]
    with pytest.raises(ConfigError, match=r"regions need salience maps, and its recipe has no .salience. table; add"):
        evaluate.main(words)
    for named in (empty, trained["pgd-at"]):
        with pytest.raises(ConfigError, match=r"--salience .*: expected a .salience. table, found none"):
            evaluate.main([*words, "--salience", str(named)])
    with pytest.raises(ConfigError, match="no such file"):
        evaluate.main([*words, "--salience", str(tmp_path / "none.toml")])


def test_runs_with_other_maps_are_not_compared(trained, tmp_path):
    objective, _ = OBJECTIVES["sip-at"]
    other = fit(tmp_path, "other", objective, '[salience]\nsource = "centre-gaussian"')
    low = fit(tmp_path, "low", objective.replace("0.75", "0.5"), SALIENCE)
    words = [*QUICK, "--regions", "salient", "--comparisons", str(tmp_path / "c.json")]
    with pytest.raises(RunError, match="expected the same salience maps as .*; name one source for all runs by"):
        evaluate.main([str(trained["sip-at"]), str(other), *words])
    with pytest.raises(RunError, match="expected the threshold 0.75 of .*, got 0.5; name one for all runs"):
        evaluate.main([str(trained["sip-at"]), str(low), *words])


# ---- bad input ----


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--attacks", "pdg-20"], ConfigError, "attack 'pdg-20': expected one of"),
        (["--eps", "-1"], ConfigError, "eps: expected grey levels within 0..255, got -1"),
        (["--eps", "256"], ConfigError, "eps: expected grey levels within 0..255, got 0, 256"),
        (["--access", "bpda"], ConfigError, "--access: none of these runs draws random numbers"),
        (["--votes", "5"], ConfigError, "--votes: none of these runs draws random numbers"),
        (["--threshold", "0.5"], ConfigError, "--threshold: only regions use maps; add --regions"),
        (["--transfer"], ConfigError, "--transfer: expected several runs, got one; name another RUN"),
        (["--comparisons", "c.json"], ConfigError, "--comparisons: expected several runs, got one"),
        (["--eps", "0.5", "--minimal"], ConfigError, "minimal: expected an ε of at least 1 grey level in the ladder"),
    ],
)
def test_impossible_requests_leave_nothing(trained, tmp_path, words, error, message):
    run = copied(trained["standard"], tmp_path)
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(error, match=message):
        evaluate.main([str(run), *words])
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize("words", [[], ["--transfer"]])
def test_a_run_whose_answers_are_no_numbers_is_refused_and_nothing_of_it_stays(trained, tmp_path, words):
    sound, run = copied(trained["pgd-at"], tmp_path), copied(trained["standard"], tmp_path)
    tensors = safetensors.torch.load_file(run / "weights.safetensors")
    tensors["head.bias"][0] = torch.nan
    safetensors.torch.save_file(tensors, run / "weights.safetensors")
    before = [sorted(path.name for path in one.iterdir()) for one in (sound, run)]
    with pytest.raises(DataError, match="expected finite logits, got NaN or infinity for 45 of 45 pictures"):
        evaluate.main([str(sound), str(run), *QUICK, *words])
    finished = [] if words else ["evaluation.json", "outcomes.parquet"]
    assert sorted(path.name for path in sound.iterdir()) == sorted([*before[0], *finished])
    assert sorted(path.name for path in run.iterdir()) == before[1]


def test_runs_that_files_could_not_tell_apart_are_refused(trained, tmp_path):
    other = copied(trained["standard"], tmp_path)
    with pytest.raises(ConfigError, match="expected different names, got standard twice; rename a directory"):
        evaluate.main([str(trained["standard"]), str(other)])


def test_runs_on_other_pictures_are_not_compared(trained, tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(
        RECIPE.format(objective='method = "standard"', rest="").replace("train_per_class = 20", "train_per_class = 19")
    )
    assert train.main([str(path), "--run-dir", str(tmp_path / "other")]) == 0
    with pytest.raises(RunError, match="expected the same pictures as .*, got others; train both on the same data"):
        evaluate.main([str(trained["standard"]), str(tmp_path / "other"), *QUICK, "--transfer"])


def test_the_command_line_is_what_it_was():
    done = command("--help")
    assert done.returncode == 0
    options = {word for line in done.stdout.splitlines() for word in re.findall(r"^  (?:-h, )?(--[a-z0-9-]+)", line)}
    assert sorted(options) == [
        "--access", "--attacks", "--batch-size", "--comparisons", "--device", "--eps", "--help", "--l2", "--minimal",
        "--precision", "--regions", "--salience", "--seed", "--stadv", "--threshold", "--transfer", "--verify",
        "--votes", "--weights",
    ]  # fmt: skip
