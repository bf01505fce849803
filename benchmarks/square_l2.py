"""``python -m benchmarks.square_l2``: is our Square as strong in L2 as torchattacks'?

Writes results/square_l2.json. Both attack the pictures that a classifier gets right, with the same number of queries
and the same share of the picture at first; what they return is judged by us in float32, and a picture that left its
budget counts as standing. The classifiers are those of ``benchmarks.attacks_parity``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks import rivals, victims
from benchmarks.attacks_parity import METHODS
from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.victims import Victim
from core import attacks
from core.attacks.budget import Budget
from core.attacks.square import Square
from core.errors import exit_code
from core.evaluation import TOLERANCE, judge
from core.evaluation_comparisons import tango
from core.tensors import Images, Labels, generator

COMMAND = "python -m benchmarks.square_l2"
AIM = 0.5  # points of robust accuracy that ours may be above theirs, as in attacks_parity
TORCHATTACKS = "torchattacks"


def main(argv: Sequence[str] | None = None) -> int:
    """Attacks both classifiers by both sides at each ε; writes the differences."""
    options = _parser().parse_args(argv)
    claims = []
    with tqdm(total=len(METHODS) * len(options.eps), unit="comparison", file=sys.stderr) as bar:
        for method in METHODS:
            for eps in options.eps:
                claims.append(compared(method, _victim(method, options), eps, options))
                bar.update()
    write(options.out, claims)
    for row in claims:
        print(f"{row.value:+6.1f} {row.unit}  {'met' if row.met else 'NOT MET'}  {row.claim}")
    return 0


def compared(method: str, victim: Victim, eps: float, options: argparse.Namespace) -> Claim:
    """Returns by how many points robust accuracy under our Square is above that under theirs; less is stronger."""
    right = judge(victim.model, victim.x, victim.y).margins > 0
    x, y = victim.x[right], victim.y[right]
    ours, theirs = (_stands(side, victim, x, y, eps, options) for side in ("ours", TORCHATTACKS))
    only_ours, only_theirs, pictures = int((ours & ~theirs).sum()), int((theirs & ~ours).sum()), len(right)
    low, high = tango(only_ours, only_theirs, pictures)
    value = 100 * (only_ours - only_theirs) / pictures
    return Claim(
        claim=f"robust accuracy under our square-{options.queries} less that under {TORCHATTACKS}', L2, "
        f"ε = {eps:g}, on the {method} classifier; of {pictures} pictures {len(x)} are right clean, "
        f"{int(ours.sum())} under ours, {int(theirs.sum())} under theirs; 95 % interval of paired shares (Tango)",
        value=round(value, 4),
        unit="points",
        aim=AIM,
        met=value <= AIM + 1e-9,
        compared_with=f"{TORCHATTACKS} {importlib.metadata.version(TORCHATTACKS)}",
        spread=(round(100 * low, 3), round(100 * high, 3)),
        n=pictures,
        seed=options.seed,
        command=f"{COMMAND} --pictures {options.pictures} --queries {options.queries} --seed {options.seed}",
        versions=versions("torch", TORCHATTACKS),
    )


def _stands(side: str, victim: Victim, x: Images, y: Labels, eps: float, options: argparse.Namespace) -> torch.Tensor:
    budget = Budget("l2", torch.full((1, 1, 1, 1), eps))
    if side == "ours":
        found = attacks.run(
            Square(queries=options.queries), victim.model, x, y, budget, generator("cpu", options.seed, "square")
        )
    else:
        made = rivals.library(TORCHATTACKS).Square(
            victim.model, norm="L2", eps=eps, n_queries=options.queries, p_init=Square.share, seed=options.seed
        )
        found = made(x, y).detach()
    return (judge(victim.model, found, y).margins > 0) | (budget.excess(x, found) > TOLERANCE)


def _victim(method: str, options: argparse.Namespace) -> Victim:
    overrides = [
        f"seed={options.seed}",
        f"data.path={options.data}",
        f"data.train_per_class={options.train_per_class}",
        "data.test_per_class=100",
        f"optimiser.epochs={options.epochs}",
        f"network.width={options.width}",
    ]
    run = victims.trained(options.work / method / "run", f"cifar10-{method}", overrides)
    return victims.victim(run, options.pictures, options.seed, torch.device("cpu"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--eps", nargs="+", type=float, default=[0.25, 0.5], help="in [0, 1] units")
    parser.add_argument("--pictures", type=int, default=500, help="of the test split, at most 1000")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--train-per-class", type=int, default=1000, help="of a classifier that is not trained yet")
    parser.add_argument("--epochs", type=int, default=15, help="likewise")
    parser.add_argument("--width", type=int, default=16, help="likewise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/attacks_parity"), help="keeps the trained classifiers")
    parser.add_argument("--out", type=Path, default=RESULTS / "square_l2.json")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(main))
