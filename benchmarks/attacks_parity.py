"""``python -m benchmarks.attacks_parity``: are our attacks as strong as those of torchattacks and foolbox?

Writes results/attacks_parity.json. Both sides attack the same pictures of the same classifiers with the same steps in
float32; what they return is judged by us: budget checked, class predicted in float32. A picture that left its budget
counts as standing. Budgets of a map, which the others do not know, they attack through a change of variables: z in the
uniform ball ε of x, answered by the model at x + (E / ε) (z − x).
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import itertools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

import torch
from torch import nn

from benchmarks import rivals, victims
from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.rivals import Compared
from benchmarks.victims import Victim
from core import attacks, files
from core.attacks.autoattack import Ensemble
from core.attacks.budget import Budget, uniform
from core.attacks.pgd import RelativePgd
from core.errors import RunError, exit_code
from core.evaluation import TOLERANCE, check, judge
from core.evaluation_comparisons import tango
from core.tensors import Classifier, Images, generator

METHODS = ("standard", "pgd-at")
SINGLES = ("pgd-20", "apgd-ce-100", "apgd-t-40x9", "fab-t-20x9", "square-1000")
ON_MAPS = ("pgd-20", "apgd-ce-100")
ENSEMBLE = "ensemble"  # of all single attacks but PGD, in turn, as AutoAttack
EPS = (2, 8)
AIM, ENSEMBLE_AIM = 0.5, 0.2  # points of robust accuracy that ours may be above theirs
BATCH = 250
COMMAND = "python -m benchmarks.attacks_parity"
_OUR_CODE = files.sha256_bytes(  # of what was imported, whatever the files hold later
    b"".join(path.read_bytes() for path in sorted(Path(attacks.__file__).parent.glob("*.py")))
)
Side = Literal["ours", "torchattacks", "foolbox"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One side's attack on one classifier at one ε (grey levels), within a uniform budget or a map of limits."""

    method: str
    eps: int
    attack: str
    side: Side
    mapped: bool = False

    @property
    def file(self) -> str:
        """The name of the file that keeps what was measured."""
        return f"{self.attack}-eps{self.eps}{'-map' if self.mapped else ''}-{self.side}.json"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Which pictures stand (``"1"``) or were fooled (``"0"``), the largest excess over the budget, and the seconds."""

    stands: str
    excess: float
    seconds: float
    clean: str


def main(argv: Sequence[str] | None = None) -> int:
    """Attacks both classifiers with every attack of both sides; writes the differences."""
    options = _parser().parse_args(argv)
    for name in rivals.PACKAGES:
        rivals.library(name)
    for method in METHODS:
        victims.trained(_run(method, options), f"cifar10-{method}", _overrides(options))
    cells = wanted(options)
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        measured = dict(zip(cells, pool.map(measure, cells, [options] * len(cells)), strict=True))
    claims = [claim(measured, cell, options) for cell in cells if cell.side != "ours"]
    write(options.out, claims)
    for row in claims:
        print(f"{row.value:+6.1f} {row.unit}  aim {row.aim}  {'met' if row.met else 'NOT MET'}  {row.claim}")
    return 0


def wanted(options: argparse.Namespace) -> list[Cell]:
    """Returns all cells, ours before theirs: those that take longest first, so that no process is left waiting."""
    names = [ENSEMBLE, *reversed(options.attacks)]
    cells = []
    for name, eps, method in itertools.product(names, options.eps, METHODS):
        sides: list[Side] = ["ours", "torchattacks"]
        if isinstance(_attack(name, options), RelativePgd):
            sides.append("foolbox")
        cells += [Cell(method=method, eps=eps, attack=name, side=side) for side in sides]
        if name in ON_MAPS:
            cells += [Cell(method=method, eps=eps, attack=name, side=side, mapped=True) for side in sides[:2]]
    return cells


def measure(cell: Cell, options: argparse.Namespace) -> Found:
    """Returns what a cell's attack leaves standing; what was measured before, of the same inputs, is read."""
    torch.set_num_threads(1)
    victim = _victim(_run(cell.method, options), options.pictures, options.seed)
    inputs = [victim.fingerprint, options.seed, repr(_attack(cell.attack, options)), _code(cell.side)]
    path = options.work / cell.method / "cells" / cell.file
    if path.is_file():
        kept = files.read_json(path, RunError, "remove it")
        if kept["inputs"] == inputs:
            return Found(**kept["found"])
    found = _attacked(cell, victim, options)
    files.write_json(path, {"inputs": inputs, "found": found.__dict__})
    return found


def claim(measured: dict[Cell, Found], cell: Cell, options: argparse.Namespace) -> Claim:
    """Returns by how many points robust accuracy under our attack is above that under theirs; less is stronger."""
    theirs = measured[cell]
    ours = measured[Cell(method=cell.method, eps=cell.eps, attack=cell.attack, side="ours", mapped=cell.mapped)]
    pairs = list(zip(ours.stands, theirs.stands, strict=True))
    only_ours, only_theirs, pictures = pairs.count(("1", "0")), pairs.count(("0", "1")), len(pairs)
    low, high = tango(only_ours, only_theirs, pictures)
    value, aim = 100 * (only_ours - only_theirs) / pictures, ENSEMBLE_AIM if cell.attack == ENSEMBLE else AIM
    return Claim(
        claim=f"robust accuracy under our {_words(cell, options)} less that under the one of {cell.side}, on the "
        f"{cell.method} classifier at ε = {cell.eps}/255; clean {_percent(ours.clean)}, ours {_percent(ours.stands)}, "
        f"theirs {_percent(theirs.stands)}; stand against ours alone {only_ours}, against theirs alone {only_theirs}; "
        f"theirs leaves the budget by at most {theirs.excess:.1e}; 95 % interval of paired shares (Tango)",
        value=round(value, 4),
        unit="points",
        aim=aim,
        met=value <= aim + 1e-9,
        compared_with=f"{cell.side} {importlib.metadata.version(cell.side)}",
        spread=(round(100 * low, 3), round(100 * high, 3)),
        n=pictures,
        seed=options.seed,
        command=_command(options),
        versions=versions("torch", *rivals.PACKAGES),
    )


class Within(nn.Module):
    """A classifier seen from the uniform ball ``eps`` around pictures ``x``: its answers inside the limits E.

    Attack libraries that know one ε for all elements honour a map through it. ``shown(z)`` is the picture that z
    stands for; being between x and z it is in [0, 1] too.
    """

    def __init__(self, model: Classifier, x: Images, limits: Images, eps: float) -> None:
        """Takes limits of at most ``eps``, of a shape that fits ``x``."""
        super().__init__()
        self.model, self.x, self.share = model, x, limits / eps

    def shown(self, z: Images) -> Images:
        """Returns x + (E / ε) (z − x)."""
        return self.x + self.share * (z - self.x)

    def forward(self, z: Images) -> torch.Tensor:
        """Returns the logits of the picture that ``z`` stands for."""
        logits: torch.Tensor = self.model(self.shown(z))
        return logits


def drawn_limits(x: Images, eps: float, seed: int) -> Images:
    """Returns a limit for each pixel, [B, 1, H, W]: 0 for about half of them, uniform up to ``eps`` for the others."""
    drawn = torch.rand(2, len(x), 1, *x.shape[2:], generator=generator("cpu", seed, "limits")).to(x.device)
    return eps * drawn[0] * (drawn[1] < 0.5)


def _attacked(cell: Cell, victim: Victim, options: argparse.Namespace) -> Found:
    """Attacks what the classifier gets right, in batches, and judges it."""
    clean = judge(victim.model, victim.x, victim.y).margins > 0
    stands, excess, eps = clean.clone(), 0.0, cell.eps / 255
    limits = drawn_limits(victim.x, eps, options.seed) if cell.mapped else uniform(eps, victim.x).eps
    started = time.monotonic()
    for rows in torch.nonzero(clean).flatten().split(BATCH):
        budget = Budget("linf", limits).of(rows)
        found = _points(cell, victim, rows, budget, options)
        if cell.side == "ours":
            check(victim.x[rows], found, budget)
        beyond = budget.excess(victim.x[rows], found)
        excess = max(excess, float(beyond.max()))
        stands[rows] = (judge(victim.model, found, victim.y[rows]).margins > 0) | (beyond > TOLERANCE)
    seconds = time.monotonic() - started
    return Found(stands=_digits(stands), excess=excess, seconds=round(seconds, 3), clean=_digits(clean))


def _points(cell: Cell, victim: Victim, rows: torch.Tensor, budget: Budget, options: argparse.Namespace) -> Images:
    """Returns the pictures that one side's attack makes of ``rows``."""
    attack, x, y, eps = _attack(cell.attack, options), victim.x[rows], victim.y[rows], cell.eps / 255
    seen = Within(victim.model, x, budget.eps, eps).eval() if cell.mapped else victim.model
    match cell.side:
        case "ours":
            purpose = generator(x.device, options.seed, cell.attack, int(rows[0]))
            return attacks.run(attack, victim.model, x, y, budget, purpose)
        case "torchattacks":
            found = rivals.by_torchattacks(attack, seen, x, y, eps, options.seed)
        case "foolbox":
            assert isinstance(attack, RelativePgd)
            found = rivals.by_foolbox(attack, seen, x, y, eps, options.seed)
        case unknown:
            assert_never(unknown)
    return seen.shown(found) if isinstance(seen, Within) else found


def _attack(name: str, options: argparse.Namespace) -> Compared:
    if name != ENSEMBLE:
        return rivals.compared(attacks.named(name))
    parts = [rivals.compared(attacks.named(part)) for part in options.attacks if not part.startswith("pgd")]
    return Ensemble(name=ENSEMBLE, parts=tuple(part for part in parts if not isinstance(part, Ensemble)))


@functools.cache
def _victim(run: Path, pictures: int, seed: int) -> Victim:
    return victims.victim(run, pictures, seed, torch.device("cpu"))


def _code(side: Side) -> str:
    """Returns what decides a side's attacks: the version of a library, or a hash of our source."""
    if side != "ours":
        return importlib.metadata.version(side)
    return _OUR_CODE


def _words(cell: Cell, options: argparse.Namespace) -> str:
    attack = _attack(cell.attack, options)
    name = (
        f"ensemble of {', '.join(part.name for part in attack.parts)}" if isinstance(attack, Ensemble) else attack.name
    )
    return f"{name}{' within a map of limits' if cell.mapped else ''}"


def _digits(stands: torch.Tensor) -> str:
    return "".join(str(int(one)) for one in stands.tolist())


def _percent(stands: str) -> str:
    return f"{100 * stands.count('1') / len(stands):.1f} %"


def _run(method: str, options: argparse.Namespace) -> Path:
    run: Path = options.work / method / "run"
    return run


def _overrides(options: argparse.Namespace) -> list[str]:
    return [
        f"seed={options.seed}",
        f"data.path={options.data}",
        f"data.train_per_class={options.train_per_class}",
        "data.test_per_class=100",
        f"optimiser.epochs={options.epochs}",
        f"network.width={options.width}",
    ]


def _command(options: argparse.Namespace) -> str:
    defaults: dict[str, Any] = vars(_parser().parse_args([]))
    given = {key: value for key, value in vars(options).items() if value != defaults[key]}
    shown = {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in given.items()}
    words = [f"--{key.replace('_', '-')} {value}" for key, value in shown.items() if key not in {"out", "work", "jobs"}]
    return " ".join([COMMAND, *words])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--attacks", nargs="+", default=list(SINGLES), help="single attacks; those but PGD in turn too")
    parser.add_argument("--eps", nargs="+", type=int, default=list(EPS), help="grey levels")
    parser.add_argument("--pictures", type=int, default=1000, help="of the test split, at most 1000")
    parser.add_argument("--train-per-class", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time, a core each")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/attacks_parity"), help="a second call goes on from there"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "attacks_parity.json")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(main))
