"""Options of the one training loop: averaging, perturbed weights, selection, several processes; and what goes wrong."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from core import checkpoints, config, datasets, evaluate, files, models, runs, selection, train, training_state
from core.averaging import Average, Averaging
from core.distributed import SharedBatchNorm
from core.errors import ConfigError, MachineError, RunError, exit_code
from core.optimisation import Optimiser
from core.recipe import Recipe
from core.selection import Selection
from core.training import Training
from core.weight_perturbation import WeightPerturbation, perturbed

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
seed = 5
[data]
source = "photographs"
size = 24
train_per_class = 12
test_per_class = 4
[network]
width = 4
[objective]
method = "pgd-at"
attack = { eps = "8/255", steps = 2, step_size = "4/255" }
[optimiser]
epochs = 4
batch_size = 32
lr = 0.1
"""
SELECTION = ["selection.hold_out=0.25", "selection.attack.steps=2"]


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def fit(recipe, run, *overrides, resume=False):
    words = [word for override in overrides for word in ("--set", override)]
    assert train.main([str(recipe), "--run-dir", str(run), *words, *["--resume"] * resume]) == 0
    return runs.read_run(run)


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


# ---- schedule and settings ----


def test_one_cycle_rises_and_falls_to_almost_zero():
    settings = Optimiser(epochs=10, lr=1.0, warm_up=0.2)
    rates = [settings.rate(step, 100) for step in range(100)]
    assert max(rates) == rates[19] == 1.0
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)
    assert 0 < rates[-1] <= 1 / 80


def test_steps_divide_at_the_beginning_of_their_epochs():
    settings = Optimiser(epochs=10, lr=0.1, schedule="steps", warm_up=0.0, drops=(5, 8))
    assert [settings.rate(step, 20) for step in (0, 9, 10, 15, 16, 19)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Optimiser(epochs=4, schedule="steps", drops=(4,)), r"drops: expected rising epochs within 1..3"),
        (lambda: Optimiser(epochs=4, drops=(2,)), "only schedule = 'steps' has drops"),
        (lambda: Optimiser(epochs=0), "expected at least 1"),
        (lambda: Optimiser(epochs=1, lr=0.0), "lr, warm_up: expected above 0"),
        (lambda: Averaging(decay=1.0), "averaging: decay: expected between 0 and 1"),
        (lambda: WeightPerturbation(gamma=0.0), "weight_perturbation: expected gamma above 0"),
        (lambda: Selection(hold_out=0.0), "selection: hold_out: expected between 0 and 1"),
        (lambda: Selection(patience=0), "selection: patience: expected at least 1"),
    ],
)
def test_contradictions_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_weights_cannot_be_perturbed_only_after_the_end(recipe):
    with pytest.raises(ConfigError, match="weight_perturbation: from_epoch: expected less than the 4 epochs, got 4"):
        config.load(Recipe, recipe, ["weight_perturbation.from_epoch=4"])


# ---- averaging, perturbed weights ----


def test_the_average_follows_the_weights_and_forgets():
    model = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1))
    average = Average(Averaging(decay=0.9), model)
    with torch.no_grad():
        model[0].weight.fill_(7.0)
    for _ in range(300):
        average.update(model)
    assert average.tensors["0.weight"].flatten().tolist() == pytest.approx([7.0, 7.0], abs=1e-4)
    with torch.no_grad():
        model[0].weight.fill_(8.0)
    average.update(model)
    assert average.tensors["0.weight"].flatten().tolist() == pytest.approx([7.1, 7.1], abs=1e-4)


def test_averaging_changes_the_result_but_not_the_training(recipe, tmp_path):
    fit(recipe, tmp_path / "plain")
    fit(recipe, tmp_path / "averaged", "averaging.decay=0.9")
    plain, averaged = (checkpoints.read(tmp_path / name / "weights.safetensors")[0] for name in ("plain", "averaged"))
    last = checkpoints.read(training_state.path_in(tmp_path / "averaged"))[0]
    assert all(torch.equal(plain[name], last[f"model/{name}"]) for name in plain)
    assert not torch.equal(plain["head.weight"], averaged["head.weight"])
    strip = [[{**line, "images_per_second": 0} for line in lines(tmp_path / name)] for name in ("plain", "averaged")]
    assert strip[0] == strip[1]


def test_weights_move_along_their_gradient_and_back():
    model = torch.nn.Linear(3, 2)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.ones(4, 3)).square().sum().backward()
    loss = float(model(torch.ones(4, 3)).detach().square().sum())
    with perturbed(model, 0.01):
        moved = model.weight.detach() - before[0]
        assert float(moved.norm()) == pytest.approx(0.01 * float(before[0].norm()), rel=1e-4)
        assert torch.equal(model.bias, before[1])
        assert float(model(torch.ones(4, 3)).detach().square().sum()) > loss
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old, atol=1e-7, rtol=0)


def test_perturbed_weights_train_from_their_epoch_on(recipe, tmp_path):
    fit(recipe, tmp_path / "plain")
    fit(recipe, tmp_path / "late", "weight_perturbation.gamma=0.01", "weight_perturbation.from_epoch=2")
    plain, late = ([line["loss"] for line in lines(tmp_path / name)] for name in ("plain", "late"))
    assert late[:2] == plain[:2]
    assert late[2] != plain[2]


# ---- selection ----


def test_selection_holds_out_training_pictures_and_keeps_the_best(recipe, tmp_path):
    run = tmp_path / "run"
    record = fit(recipe, run, *SELECTION)
    robust = [line["held_out_robust"] for line in lines(run)]
    assert record.train_pictures == 135
    assert record.best_robust == max(robust)
    assert record.best_epoch == robust.index(max(robust)) + 1
    assert checkpoints.read(run / "best.safetensors")[1] == {"epoch": str(record.best_epoch)}
    model = models.load_classifier(run, torch.device("cpu"))
    settings = config.load(Recipe, recipe, SELECTION)
    data = datasets.load(settings.data)
    from core.datasets.split import hold_out

    _, held_out = hold_out(data.train, 0.25, 5)
    found = selection.score(model, held_out, settings.selection, 5)
    assert found.robust == pytest.approx(robust[-1])
    assert found.clean == pytest.approx(lines(run)[-1]["held_out_clean"])


def test_best_and_last_are_both_evaluated(recipe, tmp_path):
    run, plain = tmp_path / "run", tmp_path / "plain"
    fit(recipe, run, *SELECTION)
    fit(recipe, plain)
    for weights, name in (("last", "evaluation.json"), ("best", "evaluation-best.json")):
        assert evaluate.main([str(run), "--eps", "8", "--attacks", "pgd-2", "--weights", weights]) == 0
        file = "weights.safetensors" if weights == "last" else "best.safetensors"
        assert runs.read_evaluation(run / name).weights_sha256 == files.sha256_file(run / file)
    with pytest.raises(RunError, match="expected best.safetensors, found none; train with a .selection. table"):
        evaluate.main([str(plain), "--weights", "best"])


def test_tensorboard_gets_the_curves(recipe, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    assert train.main([str(recipe), "--run-dir", str(run), "--tensorboard"]) == 0
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    shown = [event.value for event in events.Scalars("loss")]
    assert shown == pytest.approx([line["loss"] for line in lines(run)], rel=1e-5)


def test_patience_ends_a_training_early(recipe, tmp_path):
    record = fit(
        recipe, tmp_path / "run", *SELECTION, "selection.patience=1", "optimiser.epochs=30", "optimiser.lr=1e-9"
    )
    assert record.epochs < 30
    assert record.epochs == record.best_epoch + 1


# ---- kill and resume ----


def test_killed_at_three_random_moments_the_weights_are_the_same(recipe, tmp_path):
    """Everything that has a state is on: averaging, selection, perturbed weights."""
    options = ["averaging.decay=0.9", *SELECTION, "weight_perturbation.gamma=0.005", "optimiser.epochs=12"]
    fit(recipe, tmp_path / "whole" / "run", *options)
    killed = tmp_path / "killed" / "run"
    words = [word for option in options for word in ("--set", option)]
    command = [sys.executable, "-m", "core.train", str(recipe), "--run-dir", str(killed), "--resume", *words]
    kills, chance = 0, random.Random(1)
    for epochs in (1, 4, 8):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_epochs(killed, epochs, process)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2, "the training was over before it could be killed"
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    for name in ("weights.safetensors", "best.safetensors"):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / "run" / name).read_bytes()
    strip = [[{**line, "images_per_second": 0} for line in lines(run)] for run in (killed, tmp_path / "whole" / "run")]
    assert strip[0] == strip[1]


def test_the_line_of_an_epoch_is_there_before_its_state(recipe, tmp_path, monkeypatch):
    """Else a kill between the two would lose the line: a resume goes on after the state."""
    save, seen = training_state.save, []

    def look_and_save(run, *rest):
        seen.append((len(lines(run)), rest[-1].epoch))
        save(run, *rest)

    monkeypatch.setattr(training_state, "save", look_and_save)
    fit(recipe, tmp_path / "run")
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


def wait_for_epochs(run, epochs, process):
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "metrics.jsonl").exists() and len(lines(run)) >= epochs:
            return
        time.sleep(0.005)


def test_a_state_of_another_program_is_refused(recipe, tmp_path):
    run = tmp_path / "run"
    fit(recipe, run)
    (run / "weights.safetensors").unlink()
    tensors, metadata = checkpoints.read(training_state.path_in(run))
    checkpoints.save(training_state.path_in(run), tensors, metadata | {"progress": '{"epochs": 3}'})
    with pytest.raises(RunError, match="does not fit this program: .*; remove .* and train again"):
        train.main([str(recipe), "--run-dir", str(run), "--resume"])


# ---- what goes wrong ----


def test_a_loss_that_is_no_number_stops_before_anything_is_saved(recipe, tmp_path):
    run = tmp_path / "run"
    words = [str(recipe), "--run-dir", str(run), "--set", "optimiser.lr=1e30", "--set", "optimiser.warm_up=0"]
    with pytest.raises(RunError, match="the loss became (nan|inf) in epoch 1; .*lower optimiser.lr"):
        train.main(words)
    assert not (run / "last").exists()
    assert not (run / "weights.safetensors").exists()


def limited(recipe, run, limit, *words):
    """Trains in a process of its own after ``limit``, a statement that takes something away from it."""
    script = (
        f"import resource, signal, sys; {limit}; from core import errors, train; sys.exit(errors.exit_code(train.main))"
    )
    command = [sys.executable, "-c", script, str(recipe), "--run-dir", str(run), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_out_of_memory_is_one_message(recipe, tmp_path):
    """The allocator itself refuses: the process may address 6 GiB, the network wants more."""
    limit = "resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)"
    done = limited(recipe, tmp_path / "run", limit, "--set", "network.width=4096", "--device", "cpu")
    assert done.returncode == 1, done.stderr
    assert "out of memory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "make room on the disk"), (errno.EROFS, "read-only")])
def test_a_disk_that_cannot_be_written_is_one_message(number, words, capsys):
    def full(_):
        raise OSError(number, os.strerror(number), "runs/x/weights.safetensors")

    assert exit_code(full) == 1
    assert words in capsys.readouterr().err


def test_other_system_errors_are_not_hidden():
    def broken(_):
        raise OSError(errno.EIO, "input/output error")

    with pytest.raises(OSError, match="input/output"):
        exit_code(broken)


def test_a_full_disk_leaves_nothing_half_written(recipe, tmp_path):
    """A real limit on the size of files: the state cannot be written whole, so it is not there at all; later it can."""
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"
    done = limited(recipe, tmp_path / "run", limit)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == ["config.toml", "last", "metrics.jsonl"]
    assert fit(recipe, tmp_path / "run", resume=True).epochs == len(lines(tmp_path / "run")) == 4


# ---- several processes ----


def torchrun(recipe, run, processes, *overrides):
    words = [word for override in overrides for word in ("--set", override)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "core.train", str(recipe), "--run-dir", str(run), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_two_processes_train_as_one(recipe, tmp_path):
    """Standard training: the same pictures, statistics and gradients, so losses agree to rounding (1e-3 relative)."""
    options = ["objective={ method = 'standard' }", "optimiser.epochs=2", *SELECTION]
    fit(recipe, tmp_path / "one", *options)
    done = torchrun(recipe, tmp_path / "two", 2, *options)
    assert done.returncode == 0, done.stderr
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=1e-3)
    assert runs.read_run(tmp_path / "two").processes == 2
    assert done.stdout.count("trained by standard") == 1


def test_two_processes_attack_as_one(recipe, tmp_path):
    """PGD-AT: random starts differ between the two, so losses agree to a few per cent (5 % relative)."""
    fit(recipe, tmp_path / "one", "optimiser.epochs=2")
    done = torchrun(recipe, tmp_path / "two", 2, "optimiser.epochs=2")
    assert done.returncode == 0, done.stderr
    one, two = lines(tmp_path / "one"), lines(tmp_path / "two")
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], rel=0.05)


def test_shared_batch_norm_alone_is_batch_norm(tmp_path):
    """In a group of one process the shared layer gives torch's own outputs, statistics and gradients."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        own, shared = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
        shared.__class__ = SharedBatchNorm
        for _ in range(3):
            x = torch.randn(6, 3, 5, 5) * 2 + 1
            first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
            torch.testing.assert_close(shared(first), own(second))
            own(second).pow(3).sum().backward()
            shared(first).pow(3).sum().backward()
            torch.testing.assert_close(first.grad, second.grad, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(shared.running_mean, own.running_mean)
        torch.testing.assert_close(shared.running_var, own.running_var)
    finally:
        dist.destroy_process_group()


# ---- a purifier in front of a trained classifier ----


def test_a_purifier_trains_resumes_and_is_judged_alike_every_time(recipe, tmp_path):
    """AToP through the whole loop: selection sees the randomised model, a killed run ends in the same weights."""
    fit(recipe, tmp_path / "bare")
    atop = tmp_path / "atop.toml"
    objective = f'method = "atop"\nclassifier = "{(tmp_path / "bare").as_posix()}"\nadversarial_from_epoch = 1\n'
    objective += "attack = { steps = 1 }\npurification = { width = 4, discriminator_width = 4 }\n[optimiser]"
    start, end = RECIPE.index('method = "pgd-at"'), RECIPE.index("[optimiser]")
    atop.write_text(RECIPE[:start] + objective + RECIPE[end + len("[optimiser]") :])
    whole, stopped = tmp_path / "one" / "run", tmp_path / "two" / "run"
    fit(atop, whole, *SELECTION)
    fit(atop, stopped, *SELECTION)
    for name in ("weights.safetensors", "best.safetensors"):
        assert (whole / name).read_bytes() == (stopped / name).read_bytes()
    card = []
    for _ in range(2):
        assert evaluate.main([str(whole), "--eps", "8", "--attacks", "pgd-2"]) == 0
        card.append([point.correct for point in runs.read_evaluation(whole).curve])
    assert card[0] == card[1]
    with pytest.raises(RunError, match="expected a classifier of 10 classes, got 15; train it on the same data"):
        models.new(config.load(Recipe, atop), 10, (24, 24))


def test_without_tensorboard_the_flag_says_what_to_install(recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MachineError, match="expected the package tensorboard; run pip install tensorboard"):
        train.main([str(recipe), "--run-dir", str(tmp_path / "run"), "--tensorboard"])


def test_the_copy_that_gives_part_its_maps_is_resumed_too(recipe, tmp_path):
    """Refreshed every 5 steps, with 6 steps an epoch: at a resume the copy is older than the weights."""
    part = 'objective={ method = "part", warm_up_epochs = 1, recompute_every = 5, attack = { steps = 1 } }'
    settings = config.load(Recipe, recipe, [part])
    data = datasets.load(settings.data)

    def training(run, show=None):
        return Training(settings, run, data.train, len(data.classes), None, show=show)

    def stop(_, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    whole, resumed = training(tmp_path / "whole"), training(tmp_path / "stopped", stop)
    whole.fit()
    with pytest.raises(KeyboardInterrupt):
        resumed.fit()
    resumed = training(tmp_path / "stopped")
    assert resumed.progress.epoch == 2
    resumed.fit()
    assert all(torch.equal(tensor, whole.final()[name]) for name, tensor in resumed.final().items())


def test_a_transformer_takes_its_size_from_the_pictures_and_is_loaded_without_its_first_weights(recipe, tmp_path):
    """A run that began with weights from a file stands alone afterwards: the file may be gone."""
    first, second = tmp_path / "first", tmp_path / "second"
    small = ['network={ name = "vit-b-16", width = 12 }', "optimiser.epochs=1", "objective.attack.steps=1"]
    fit(recipe, first, *small)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((first / "weights.safetensors").read_bytes())
    small[0] = f'network={{ name = "vit-b-16", width = 12, weights = "{weights.as_posix()}" }}'
    record = fit(recipe, second, *small)
    assert record.initial_weights_sha256 == files.sha256_file(weights)
    weights.unlink()
    model = models.load_classifier(second, torch.device("cpu"))
    assert model(torch.rand(2, 3, 24, 24)).shape == (2, 15)
