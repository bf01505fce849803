"""``python -m benchmarks.attacks_speed``: how much faster than torchattacks' are our attacks, at equal strength?

Writes results/attacks_speed.json. Both sides attack the same pictures of the same adversarially trained ResNet-18 with
the same steps and batches, in turn; every repeat has its own seed and begins with another side. Ours compute in
bfloat16 on a copy with folded batch norms, channels last, as an evaluation may; torchattacks computes as it comes, in
float32. What both return is judged by us in float32 on the classifier itself. Only pictures that it gets right are
attacked, since ours would skip the others. Measure while nothing else computes.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from tqdm import tqdm

from benchmarks import cards, rivals, victims
from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.rivals import Compared
from benchmarks.victims import Victim
from core import attacks
from core.attacks.autoattack import Ensemble
from core.attacks.budget import uniform
from core.devices import autocast, pick
from core.errors import DataError, exit_code
from core.evaluation import TOLERANCE, check, judge
from core.networks.folded import folded
from core.tensors import Images, Labels, generator

Side = Literal["bfloat16", "float32", "torchattacks"]  # ours in two precisions, and theirs
SIDES: tuple[Side, ...] = ("bfloat16", "float32", "torchattacks")
EPS = 8 / 255
COMMAND = "python -m benchmarks.attacks_speed"
PARTS = ("apgd-ce-20", "apgd-t-20x9", "fab-t-20x9", "square-500")
POINTS = {
    "pgd": 0.5,
    "apgd": 0.5,
    "ensemble": 0.2,
}  # of robust accuracy that ours may be above theirs to count as equal
AIMS = {("pgd", "cpu"): 2.0, ("ensemble", "cpu"): 2.5, ("pgd", "cuda"): 5.0, ("ensemble", "cuda"): 5.0}


@dataclass(frozen=True, kw_only=True)
class Contest:
    """An attack, the width of the ResNet-18 that it is run on, and how many pictures it gets."""

    kind: Literal["pgd", "apgd", "ensemble"]
    attack: Compared
    width: int
    pictures: int


@dataclass(frozen=True, kw_only=True)
class Leg:
    """What one side took and left standing in one repeat."""

    seconds: float
    stands: int


def main(argv: Sequence[str] | None = None) -> int:
    """Measures PGD, APGD and an ensemble on the CPU, and on a GPU if there is one; writes ratios and raw times."""
    options = _parser().parse_args(argv)
    rivals.library("torchattacks")
    claims = []
    for device in _devices(options.device):
        for contest in contests(device, options):
            victim = _right(_victim(contest, options, device), contest.pictures)
            claims += claims_of(contest, held(contest, victim, options.repeats), len(victim.y), device, options)
    write(options.out, claims)
    for row in claims:
        print(f"{row.value:8.2f} {row.unit:6} {row.claim}")
    return 0


def contests(device: torch.device, options: argparse.Namespace) -> list[Contest]:
    """Returns what is measured on ``device``; on a CPU with a narrower network, the ensemble with fewer pictures."""
    on_card = device.type == "cuda"
    parts = [rivals.compared(attacks.named(name)) for name in options.parts]
    ensemble = Ensemble(name="ensemble", parts=tuple(part for part in parts if not isinstance(part, Ensemble)))
    width = options.card_width if on_card else options.width
    many = options.card_pictures if on_card else options.pictures
    few = options.card_pictures if on_card else options.ensemble_pictures
    pgd, apgd = (rivals.compared(attacks.named(name)) for name in (options.pgd, options.apgd))
    return [
        Contest(kind="pgd", attack=pgd, width=width, pictures=many),
        Contest(kind="apgd", attack=apgd, width=width, pictures=many),
        Contest(kind="ensemble", attack=ensemble, width=width, pictures=few),
    ]


def held(contest: Contest, victim: Victim, repeats: int) -> dict[Side, list[Leg]]:
    """Returns the legs of each side, in the order of the repeats; a short round before them warms up."""
    legs: dict[Side, list[Leg]] = {side: [] for side in SIDES}
    for side in SIDES:
        _leg(contest, side, victim, seed=0, rows=slice(0, 4))
    for repeat in tqdm(range(repeats), desc=f"{contest.kind}, width {contest.width}", unit="repeat", file=sys.stderr):
        turn = repeat % len(SIDES)
        for side in SIDES[turn:] + SIDES[:turn]:
            legs[side].append(_leg(contest, side, victim, seed=repeat + 1))
    return legs


def claims_of(
    contest: Contest, legs: dict[Side, list[Leg]], pictures: int, device: torch.device, options: argparse.Namespace
) -> list[Claim]:
    """Returns the ratio of their time to ours for both precisions, and the seconds of each side."""
    found = [_ratio(contest, side, legs, pictures, device, options) for side in SIDES[:2]]
    for side in SIDES:
        seconds = [leg.seconds for leg in legs[side]]
        words = (
            f"seconds of {_named(side)} for {_words(contest, pictures, device)}; raw {json.dumps(_rounded(seconds))}"
        )
        found.append(_claim(words, seconds, "s", device, options))
    return found


def _ratio(
    contest: Contest, side: Side, legs: dict[Side, list[Leg]], pictures: int, device: torch.device,
    options: argparse.Namespace,
) -> Claim:  # fmt: skip
    """Returns how many times faster ours is; an aim is met only if ours is as strong too."""
    ratios = [theirs.seconds / ours.seconds for ours, theirs in zip(legs[side], legs["torchattacks"], strict=True)]
    ours, theirs = (
        100 * statistics.fmean(leg.stands for leg in legs[one]) / pictures for one in (side, "torchattacks")
    )
    equal = ours <= theirs + POINTS[contest.kind] + 1e-9
    aim = AIMS.get((contest.kind, device.type)) if side == "bfloat16" else None
    words = (
        f"times faster than torchattacks is {_named(side)} at {_words(contest, pictures, device)}; of the pictures "
        f"stand, judged in float32, {ours:.2f} % against ours, {theirs:.2f} % against theirs (mean over repeats): "
        f"{'as strong' if equal else 'NOT as strong'}"
    )
    against = f"torchattacks {importlib.metadata.version('torchattacks')}, float32, in the same repeat; median"
    met = None if aim is None else equal and statistics.median(ratios) >= aim
    return _claim(words, ratios, "ratio", device, options, aim=aim, met=met, compared_with=against)


def _leg(contest: Contest, side: Side, victim: Victim, *, seed: int, rows: slice = slice(None)) -> Leg:
    """Has one side attack; the clock stands while we judge, and runs while ours copies the classifier."""
    x, y = victim.x[rows], victim.y[rows]
    cards.wait(x.device)
    started = time.perf_counter()
    found = _attacked(contest.attack, side, victim, x, y, seed)
    cards.wait(x.device)
    seconds = time.perf_counter() - started
    budget = uniform(EPS, x)
    beyond = budget.excess(x, found) > TOLERANCE
    if side != "torchattacks":
        check(x, found, budget)
    stands = (judge(victim.model, found, y).margins > 0) | beyond
    return Leg(seconds=seconds, stands=int(stands.sum()))


def _attacked(attack: Compared, side: Side, victim: Victim, x: Images, y: Labels, seed: int) -> Images:
    if side == "torchattacks":
        return rivals.by_torchattacks(attack, victim.model, x, y, EPS, seed)
    with autocast(x.device, side):
        return attacks.run(attack, folded(victim.model), x, y, uniform(EPS, x), generator(x.device, seed, "speed"))


def _right(victim: Victim, pictures: int) -> Victim:
    """Returns the victim with the first ``pictures`` of its pictures that it gets right.

    Raises:
        DataError: there are fewer.
    """
    rows = torch.nonzero(judge(victim.model, victim.x, victim.y).margins > 0).flatten()[:pictures]
    if len(rows) < pictures:
        raise DataError(
            f"victim: expected {pictures} test pictures that it gets right, got {len(rows)}; train it for longer, with "
            "--epochs or --train-per-class, or ask for fewer --pictures"
        )
    return Victim(model=victim.model, x=victim.x[rows], y=victim.y[rows], fingerprint=victim.fingerprint)


def _victim(contest: Contest, options: argparse.Namespace, device: torch.device) -> Victim:
    return _loaded(_trained(contest.width, options), options.seed, device)


@functools.cache
def _loaded(run: Path, seed: int, device: torch.device) -> Victim:
    return victims.victim(run, 10_000, seed, device)


def _trained(width: int, options: argparse.Namespace) -> Path:
    """Returns a ResNet-18 after a short PGD-AT of two steps: on random weights all would be fooled at once."""
    overrides = [
        f"seed={options.seed}",
        f"data.path={options.data}",
        f"data.train_per_class={options.train_per_class}",
        f"data.test_per_class={options.test_per_class}",
        "channels_last=true",
        "network.name=resnet-18",
        f"network.width={width}",
        "objective.attack.steps=2",
        "objective.attack.step_size=5/255",
        f"optimiser.epochs={options.epochs}",
        "optimiser.lr=0.1",
    ]
    name = f"width{width}-{options.train_per_class}x{options.epochs}-seed{options.seed}"
    return victims.trained(options.work / name, "cifar10-pgd-at", overrides)


def _devices(name: Literal["all", "cpu", "cuda"]) -> list[torch.device]:
    if name == "all":
        return [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    return [pick(name)]


def _claim(
    words: str, values: Sequence[float], unit: str, device: torch.device, options: argparse.Namespace, *,
    aim: float | None = None, met: bool | None = None, compared_with: str | None = None,
) -> Claim:  # fmt: skip
    """Returns the median of ``values`` with their range."""
    return Claim(
        claim=words,
        value=round(statistics.median(values), 4),
        unit=unit,
        aim=aim,
        met=met,
        compared_with=compared_with,
        spread=(round(min(values), 4), round(max(values), 4)),
        n=len(values),
        seed=options.seed,
        command=COMMAND,
        hardware=cards.hardware(device),
        versions=versions("torch", "torchattacks"),
    )


def _words(contest: Contest, pictures: int, device: torch.device) -> str:
    attack = contest.attack
    name = attack.name
    if isinstance(attack, Ensemble):
        name = f"an ensemble ({', '.join(part.name for part in attack.parts)})"
    where = f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
    return (
        f"{name}, L∞ ε = 8/255, {pictures} CIFAR-10 pictures that a ResNet-18 of width {contest.width}, trained by "
        f"PGD-AT for a moment, gets right, in one batch, on {where}"
    )


def _named(side: Side) -> str:
    return "torchattacks" if side == "torchattacks" else f"ours in {side}"


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument(
        "--device", choices=("all", "cpu", "cuda"), default="all", help="all: the CPU, and a GPU if any"
    )
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--pgd", default="pgd-20")
    parser.add_argument("--apgd", default="apgd-ce-20")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), help="of the ensemble")
    parser.add_argument("--pictures", type=int, default=256, help="on the CPU; that the classifier gets right")
    parser.add_argument("--ensemble-pictures", type=int, default=64, help="the same, for the ensemble")
    parser.add_argument("--card-pictures", type=int, default=512, help="on a GPU")
    parser.add_argument("--width", type=int, default=16, help="of the ResNet-18 on the CPU")
    parser.add_argument("--card-width", type=int, default=64, help="on a GPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--train-per-class", type=int, default=300)
    parser.add_argument("--test-per-class", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/attacks_speed"), help="keeps the trained classifiers")
    parser.add_argument("--out", type=Path, default=RESULTS / "attacks_speed.json")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(main))
