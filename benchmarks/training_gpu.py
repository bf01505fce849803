"""``python -m benchmarks.training_gpu``: ResNet-18 on all of CIFAR-10 on a GPU, and what SIP-AT and PART add to PGD-AT.

Writes results/training_gpu.json. Every measurement is one epoch of the training loop with the recipe
core/configs/resnet18-*.toml; the methods take turns, so that a card that grows warm slows all of them. Operations are
those of convolutions and matrix products, counted by torch over one training step; peaks are in ``benchmarks.cards``.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import cards
from benchmarks.claims import RESULTS, Claim, versions, write
from core import config, datasets, salience
from core.datasets.split import Split
from core.devices import deterministic, pick
from core.errors import ConfigError, exit_code
from core.recipe import Recipe
from core.salience.making import part as part_of
from core.tensors import Salience
from core.training import Training

METHODS = ("pgd-at", "sip-at", "part")
AIMS = {"sip-at": 3.0, "part": 12.0}  # % over PGD-AT
CONFIGS = Path(__file__).resolve().parents[1] / "core" / "configs"
COMMAND = "python -m benchmarks.training_gpu"
CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch took; ``memory`` in bytes, on a card only."""

    seconds: float
    memory: int | None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all measurements have in common; ``maps`` are SIP-AT's, on the CPU."""

    recipes: dict[str, Recipe]
    train: Split
    maps: Salience
    seconds_for_maps: float
    device: torch.device


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of all that runs within, by torch's formulas.

    torch's own ``FlopCounterMode`` holds the same formulas; its hooks on modules refuse ``torch.autograd.grad``.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's stub has no types for it
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operator of torch and adds what it costs."""
        out = func(*args, **(kwargs or {}))
        if (formula := flop_registry.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def main(argv: Sequence[str] | None = None) -> int:
    """Measures seconds, operations and memory of an epoch of PGD-AT, SIP-AT and PART; writes the claims."""
    options = _parser().parse_args(argv)
    device = pick(options.device)
    out = _out(options)
    bench = prepare(options, device)
    with deterministic():
        operations = {method: operations_a_picture(bench, method) for method in METHODS}
        rounds = [_round(bench, number) for number in range(options.repeats + 1)][1:]
    found = [*times(bench, rounds), *work(bench, rounds, operations, options.peak_tflops), *overheads(bench, rounds)]
    write(out, [dataclasses.replace(claim, command=_command(options)) for claim in found])
    for row in found:
        print(f"{row.value:12.4g} {row.unit:12} {row.claim}")
    return 0


def prepare(options: argparse.Namespace, device: torch.device) -> Bench:
    """Returns recipes, pictures on the device, and the maps with the time that they took."""
    recipes = {method: recipe(method, options) for method in METHODS}
    train = datasets.load(recipes["pgd-at"].data).train
    source = recipes["sip-at"].salience
    assert source is not None
    started = time.monotonic()
    maps = salience.load(source, train, training=True, seed=recipes["sip-at"].seed).values()
    seconds = time.monotonic() - started
    return Bench(recipes=recipes, train=train.to(device), maps=maps, seconds_for_maps=seconds, device=device)


def recipe(method: str, options: argparse.Namespace) -> Recipe:
    """Returns the recipe of one epoch of a method: no selection, no drop, PART's maps from the first step."""
    overrides = ["optimiser.epochs=1", "optimiser.drops=[]", f"data.path={options.data}", "data.test_per_class=1"]
    given = {
        "network.width": options.width,
        "optimiser.batch_size": options.batch_size,
        "objective.attack.steps": options.steps,
        "data.train_per_class": options.pictures and options.pictures // CLASSES,
    }
    overrides += [f"{key}={value}" for key, value in given.items() if value is not None]
    overrides += ["objective.warm_up_epochs=0"] if method == "part" else []
    loaded = config.load(Recipe, CONFIGS / f"resnet18-{method}.toml", overrides)
    return dataclasses.replace(loaded, selection=None)


def epoch(bench: Bench, method: str) -> Epoch:
    """Trains new weights for one epoch and returns what that took, without the state that is saved at its end."""
    maps = bench.maps.to(bench.device) if method == "sip-at" else None
    with tempfile.TemporaryDirectory() as folder:
        training = Training(bench.recipes[method], Path(folder) / method, bench.train, CLASSES, maps)
        cards.forget_peak(bench.device)
        training.fit()
    return Epoch(seconds=training.progress.seconds, memory=cards.peak_memory(bench.device))


def operations_a_picture(bench: Bench, method: str) -> float:
    """Returns how many floating-point operations training takes for each picture, a multiply-add being two."""
    size = min(bench.recipes[method].optimiser.batch_size, len(bench.train))
    one_batch = dataclasses.replace(bench, train=part_of(bench.train, slice(0, size)), maps=bench.maps[:size])
    with Operations() as counted:
        epoch(one_batch, method)
    return float(counted.total / size)


def times(bench: Bench, rounds: Sequence[dict[str, Epoch]]) -> list[Claim]:
    """Returns seconds an epoch and pictures a second of each method, and the seconds for SIP-AT's maps."""
    found = []
    for method in METHODS:
        seconds = [one[method].seconds for one in rounds]
        rates = [len(bench.train) / value for value in seconds]
        found.append(_claim(bench, f"seconds an epoch, {method}", seconds, "s"))
        found.append(_claim(bench, f"pictures a second, {method}", rates, "pictures/s"))
    words = "seconds to make SIP-AT's maps of all pictures, once for a training, on the CPU"
    return [*found, _claim(bench, words, [bench.seconds_for_maps], "s")]


def work(
    bench: Bench, rounds: Sequence[dict[str, Epoch]], operations: dict[str, float], peak: float | None
) -> list[Claim]:
    """Returns operations a picture and a second; the share of the card's peak and its memory, where they are known."""
    found = []
    if bench.device.type == "cuda":
        peak = peak or cards.peak_tflops(torch.cuda.get_device_name(bench.device))
    for method in METHODS:
        epochs = [one[method] for one in rounds]
        reached = [operations[method] * len(bench.train) / each.seconds / 1e12 for each in epochs]
        found.append(_claim(bench, f"operations a picture, {method}", [operations[method] / 1e9], "GFLOP"))
        found.append(_claim(bench, f"operations a second, {method}", reached, "TFLOP/s"))
        if peak is not None:
            shares, words = [value / peak for value in reached], f"the card's dense bfloat16 peak, {peak:g} TFLOP/s"
            share = _claim(bench, f"share of the card's peak, {method}", shares, "share")
            found.append(dataclasses.replace(share, compared_with=words))
        if memory := [each.memory / 2**30 for each in epochs if each.memory is not None]:
            found.append(_claim(bench, f"largest memory in tensors on the card, {method}", memory, "GiB"))
    return found


def overheads(bench: Bench, rounds: Sequence[dict[str, Epoch]]) -> list[Claim]:
    """Returns by how many per cent an epoch of SIP-AT and of PART is longer than PGD-AT's of the same round.

    What was aimed at holds for a card.
    """
    found, on_card = [], bench.device.type == "cuda"
    for method, aim in AIMS.items():
        extra = [100 * (one[method].seconds / one["pgd-at"].seconds - 1) for one in rounds]
        claim = _claim(bench, f"what {method} adds to the seconds of an epoch of PGD-AT", extra, "%")
        against = "PGD-AT in the same round; median over rounds"
        if on_card:
            claim = dataclasses.replace(claim, aim=aim, met=claim.value <= aim)
        found.append(dataclasses.replace(claim, compared_with=against))
    return found


def _round(bench: Bench, number: int) -> dict[str, Epoch]:
    """Returns an epoch of every method; each round begins with another method. Round 0 warms up and does not count."""
    turn = number % len(METHODS)
    return {method: epoch(bench, method) for method in METHODS[turn:] + METHODS[:turn]}


def _claim(bench: Bench, words: str, values: Sequence[float], unit: str) -> Claim:
    """Returns the median of ``values`` with their range."""
    used = bench.recipes["pgd-at"]
    attack: Any = used.objective
    shape = (
        f"ResNet-18 (width {used.network.width or 64}), {len(bench.train)} CIFAR-10 pictures, batches of "
        f"{used.optimiser.batch_size}, PGD with {attack.attack.steps} steps, {used.precision}, "
        f"{'channels last' if used.channels_last else 'channels first'}, deterministic algorithms"
    )
    return Claim(
        claim=f"{words}; {shape}",
        value=round(statistics.median(values), 6),
        unit=unit,
        spread=(round(min(values), 6), round(max(values), 6)) if len(values) > 1 else None,
        n=len(values),
        seed=used.seed,
        command=COMMAND,
        hardware=cards.hardware(bench.device),
        versions=versions("torch"),
    )


def _out(options: argparse.Namespace) -> Path:
    """Returns where the claims go; results/ is for measurements on a card.

    Raises:
        ConfigError: a measurement on a CPU has no place of its own.
    """
    if options.out is None and options.device == "cpu":
        raise ConfigError("--device cpu: results/training_gpu.json is for a GPU; say where these go, with --out FILE")
    return options.out or RESULTS / "training_gpu.json"


def _command(options: argparse.Namespace) -> str:
    names = ("device", "pictures", "width", "batch_size", "steps", "repeats", "peak_tflops")
    given = [name for name in names if getattr(options, name) != _parser().get_default(name)]
    return " ".join([COMMAND, *(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in given)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try the benchmark itself")
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"), help="folder as in docs/data.md")
    parser.add_argument("--pictures", type=int, help="the first so many, of ten classes; default: all")
    parser.add_argument("--width", type=int, help="channels of the first stage; default: 64")
    parser.add_argument("--batch-size", type=int, help="default: the recipe's")
    parser.add_argument("--steps", type=int, help="of the attack; default: the recipe's")
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count, after one that warms up")
    parser.add_argument("--peak-tflops", type=float, help="dense bfloat16 peak of a card that we do not know")
    parser.add_argument("--out", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(main))
