"""The benchmark of training: the whole of it on the CPU, small; what it counts; what it refuses."""

from __future__ import annotations

import argparse
import json
import statistics

import pytest
import torch

from benchmarks import cards, training_gpu
from core.devices import deterministic
from core.errors import ConfigError, MachineError
from tests.noise_pictures import write_noise_pictures

SMALL = ["--device", "cpu", "--pictures", "40", "--width", "8", "--batch-size", "16", "--repeats", "2"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_noise_pictures(tmp_path_factory.mktemp("data") / "noise", train=4, test=1)


@pytest.fixture(scope="module")
def measured(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("claims") / "training.json"
    command = [*SMALL, "--steps", "2", "--peak-tflops", "0.5", "--data", str(data), "--out", str(out)]
    assert training_gpu.main(command) == 0
    return json.loads(out.read_text())


def value(claims, words):
    (claim,) = [claim for claim in claims if claim["claim"].startswith(words)]
    return claim["value"]


def test_it_measures_every_method_and_says_on_what(measured):
    for method in training_gpu.METHODS:
        seconds = value(measured, f"seconds an epoch, {method}")
        assert seconds > 0
        assert value(measured, f"pictures a second, {method}") == pytest.approx(40 / seconds, rel=0.5)
        share, rate = (
            value(measured, f"{words}, {method}") for words in ("share of the card's peak", "operations a second")
        )
        assert share == pytest.approx(rate / 0.5, rel=1e-2, abs=1e-5)
    claim = measured[0]
    assert "width 8), 40 CIFAR-10 pictures, batches of 16, PGD with 2 steps, bfloat16, channels last" in claim["claim"]
    assert claim["hardware"].endswith("cores")
    assert claim["command"].endswith(
        "--device cpu --pictures 40 --width 8 --batch-size 16 --steps 2 --repeats 2 --peak-tflops 0.5"
    )


def test_an_overhead_is_a_share_of_its_own_round_and_has_no_aim_on_a_cpu(measured):
    for method in training_gpu.AIMS:
        (claim,) = [claim for claim in measured if claim["claim"].startswith(f"what {method} adds")]
        assert claim["spread"][0] <= claim["value"] <= claim["spread"][1]
        assert claim["value"] == pytest.approx(statistics.fmean(claim["spread"]), abs=1e-5)  # two rounds
        assert (claim["aim"], claim["met"], claim["n"]) == (None, None, 2)


def test_an_attack_step_costs_two_passes_and_the_update_three(data):
    """A pass forward, one back to the picture, and in the update one to the weights: 2 K + 3 for K steps."""
    found = [_operations(data, "pgd-at", steps) for steps in (1, 2, 3)]
    assert found[2] - found[1] == found[1] - found[0]
    assert found[0] / (found[1] - found[0]) == pytest.approx(5 / 2, rel=0.03)
    assert _operations(data, "sip-at", 2) == found[1]
    assert found[1] < _operations(data, "part", 2) < found[2]


def test_one_convolution_is_counted_as_by_hand():
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    with training_gpu.Operations() as counted:
        layer(torch.zeros(2, 3, 5, 7))
    assert counted.total == 2 * (2 * 4 * 5 * 7) * (3 * 3 * 3)


def test_a_measurement_on_a_cpu_is_not_put_among_the_results():
    with pytest.raises(ConfigError, match=r"results/training_gpu.json is for a GPU; say where .* with --out FILE"):
        training_gpu.main(SMALL)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(MachineError, match="expected a GPU, found none; use --device cpu"):
        training_gpu.main([])


def test_peaks_are_those_of_the_cards_that_we_know():
    peaks = [cards.peak_tflops(f"NVIDIA {name}") for name in ("H100 80GB HBM3", "H100 PCIe", "H200", "A100-SXM4-80GB")]
    assert peaks == [989.4, 756.0, 989.4, 312.0]
    assert [cards.peak_tflops(name) for name in ("NVIDIA H100 NVL", "NVIDIA H200 NVL", "Tesla T4")] == [None] * 3


def _operations(data, method, steps):
    options = argparse.Namespace(data=data, width=8, batch_size=16, steps=steps, pictures=None)
    bench = training_gpu.prepare(options, torch.device("cpu"))
    with deterministic():
        return training_gpu.operations_a_picture(bench, method)
