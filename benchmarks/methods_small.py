"""``python -m benchmarks.methods_small``: every method on a subset of CIFAR-10, small network, several seeds.

Writes results/methods_small.json and docs/methods_small.md. All methods get the same pictures, network, optimiser and
number of epochs; this compares methods at this size and says nothing about any other.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from scipy.stats import t as student

from benchmarks.claims import RESULTS, Claim, hardware, today, versions, write
from core import attacks, config, datasets, files, models, runs, train
from core.attacks.autoattack import aa_fast
from core.attacks.budget import uniform
from core.attacks.pgd import pgd
from core.datasets.split import Split
from core.devices import deterministic
from core.errors import RunError, exit_code
from core.evaluation import check, judge
from core.recipe import Recipe
from core.tensors import Classifier, generator, to_unit

METHODS = ("standard", "pgd-at", "trades", "mart", "sip-at", "part", "part-t", "part-m", "atop")
CONFIGS = Path(__file__).resolve().parents[1] / "core" / "configs"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods_small.md"
EPS = (2, 4, 8)
AA_STEPS, AA_TARGETS = 20, 3
AA = aa_fast(steps=AA_STEPS, targets=AA_TARGETS)
COMMAND = "python -m benchmarks.methods_small"
_ATOP = (
    "AToP is attacked through its whole pipeline, without averaging over its randomness: too weak an attack to praise "
    "it by. "
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A method's accuracy in one condition: a share for each seed, each over ``pictures`` test pictures."""

    method: str
    condition: str
    shares: tuple[float, ...]
    pictures: int

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.shares)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval over seeds; the pictures are the same for all."""
        half = student.ppf(0.975, len(self.shares) - 1) * statistics.stdev(self.shares) / len(self.shares) ** 0.5
        return max(0.0, self.mean - half), min(1.0, self.mean + half)


def main(argv: Sequence[str] | None = None) -> int:
    """Trains and evaluates every method with every seed; writes the claims and the page."""
    options = _parser().parse_args(argv)
    seeds = range(1, options.seeds + 1)
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [row for rows in pool.map(measure_seed, seeds, [options] * options.seeds) for row in rows]
    rows = _rows(found, options)
    write(options.out, [_claim(row, options) for row in rows])
    files.write_text(options.page, page(rows, options))
    print(options.page.read_text(encoding="utf-8"))
    return 0


def measure_seed(seed: int, options: argparse.Namespace) -> list[tuple[str, dict[str, float]]]:
    """Returns each method's accuracies with one seed; what was measured before is read from the work folder."""
    torch.set_num_threads(1)
    found = []
    for method in options.methods:
        kept = options.work / f"{seed}" / f"{method}.json"
        if not kept.is_file():
            files.write_json(kept, measure(method, seed, options, options.work))
        found.append((method, files.read_json(kept, RunError, "remove it")))
    return found


def measure(method: str, seed: int, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    """Trains one run, or goes on with it, and returns its accuracy in each condition."""
    run = folder / f"{seed}" / method
    overrides = [
        f"seed={seed}",
        f"data.path={options.data}",
        f"data.train_per_class={options.train_per_class}",
        f"data.test_per_class={options.test_per_class}",
        f"optimiser.epochs={options.epochs}",
        f"network.width={options.width}",
    ]
    if method == "atop":
        overrides.append(f"objective.classifier={folder / str(seed) / 'standard'}")
    recipe = config.load(Recipe, CONFIGS / f"cifar10-{method}.toml", overrides)
    if not runs.finished(run):
        train.train(recipe, run, torch.device("cpu"))
    model = models.load_classifier(run, torch.device("cpu"))
    return accuracies(model, datasets.load(recipe.data).test, seed)


def accuracies(model: Classifier, test: Split, seed: int) -> dict[str, float]:
    """Returns clean accuracy, and accuracy under PGD-20 and under aa-fast at each ε, judged in float32."""
    x, y = to_unit(test.pixels), test.labels
    found = {"clean": _share(model, x, y)}
    with deterministic():
        for eps in EPS:
            budget, step = uniform(eps / 255, x), 2.5 * eps / 255 / 20
            by_pgd = pgd(model, x, y, budget, steps=20, step_size=step, generator=generator("cpu", seed, "pgd", eps))
            by_aa = attacks.run(AA, model, x, y, budget, generator("cpu", seed, "aa", eps))
            for adversarial in (by_pgd, by_aa):
                check(x, adversarial, budget)
            found[f"pgd-20 ε {eps}"] = _share(model, by_pgd, y)
            found[f"{AA.name} ε {eps}"] = _share(model, by_aa, y)
    return found


def page(rows: Sequence[Row], options: argparse.Namespace) -> str:
    """Returns the page of docs: the table and what it rests on."""
    conditions = list(dict.fromkeys(row.condition for row in rows))
    text = (
        f"Made by `{COMMAND}`; numbers in `benchmarks/results/methods_small.json`. CIFAR-10 from JPEG files (close to "
        f"the published, not equal), {10 * options.train_per_class} training and {10 * options.test_per_class} "
        f"test pictures, the small network (width {options.width}), {options.epochs} epochs, {options.seeds} seeds, "
        f"{hardware()}, {today()}. Mean accuracy in % over seeds with 95 % t interval over seeds. `{AA.name}`: APGD on "
        f"cross-entropy, then targeted APGD on {AA_TARGETS} targets, {AA_STEPS} steps each. "
        f"{_ATOP if 'atop' in options.methods else ''}Nothing follows from this for larger networks or all of CIFAR-10."
    )
    head = "| method | " + " | ".join(conditions) + " |"
    lines = ["# Methods compared, small", "", text, "", head, "|---|" + "---|" * len(conditions)]
    for method in dict.fromkeys(row.method for row in rows):
        cells = [_cell(row) for row in rows if row.method == method]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-per-class", type=int, default=300)
    parser.add_argument("--test-per-class", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2, help="seeds at a time, a core each")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/methods_small"), help="a second call goes on from there"
    )
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS / "methods_small.json")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser


def _rows(found: Sequence[tuple[str, dict[str, float]]], options: argparse.Namespace) -> list[Row]:
    conditions = found[0][1]
    return [
        Row(
            method=method,
            condition=condition,
            shares=tuple(shares[condition] for name, shares in found if name == method),
            pictures=10 * options.test_per_class,
        )
        for method in options.methods
        for condition in conditions
    ]


def _claim(row: Row, options: argparse.Namespace) -> Claim:
    return Claim(
        claim=f"accuracy of {row.method}, {row.condition}; CIFAR-10 (JPEG) subset, small network, mean over seeds, "
        f"shares by seed {json.dumps([round(share, 4) for share in row.shares])}",
        value=round(row.mean, 4),
        unit="share",
        spread=(round(row.interval[0], 4), round(row.interval[1], 4)),
        n=len(row.shares) * row.pictures,
        seed=1,
        command=f"{COMMAND} --methods {' '.join(options.methods)} --seeds {options.seeds} "
        f"--train-per-class {options.train_per_class} "
        f"--test-per-class {options.test_per_class} --epochs {options.epochs} --width {options.width}",
        versions=versions("torch"),
    )


def _cell(row: Row) -> str:
    low, high = row.interval
    return f"{100 * row.mean:.1f} [{100 * low:.0f}, {100 * high:.0f}]"


def _share(model: Classifier, x: torch.Tensor, y: torch.Tensor) -> float:
    return float((judge(model, x, y).margins > 0).float().mean())


if __name__ == "__main__":
    sys.exit(exit_code(main))
