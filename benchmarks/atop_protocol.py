"""``python -m benchmarks.atop_protocol``: one small AToP run, attacked as a run that draws random numbers must be.

Writes results/atop_protocol.json. The verdict is always the vote of many draws that the attack has not seen. Attacks:
the mean over 20 draws (EOT) through the whole pipeline, the same with fixed randomness, with the identity in the place
of the purifier's gradient (BPDA), and transfer from the bare classifier; then all of them, picture by picture. The bare
classifier, attacked itself, is measured beside it. See docs/atop.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import victims
from benchmarks.claims import RESULTS, Claim, versions, write
from core.errors import exit_code
from core.evaluation_conditions import EOT
from core.evaluation_runs import evaluate, open_run
from core.evaluation_settings import EvaluationSettings
from core.runs import WORST_CASE, Accuracy, Evaluation

COMMAND = "python -m benchmarks.atop_protocol"
WAYS = {
    "full": f"gradients through the whole pipeline, mean of {EOT} draws a step",
    "fixed": "gradients with fixed randomness",
    "bpda": f"BPDA: the identity in the place of the purifier's gradient, mean of {EOT} draws a step",
    "bare": "transfer from the bare classifier",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Trains a classifier and AToP in front of it, unless that was done; evaluates both; writes accuracies."""
    options = _parser().parse_args(argv)
    settings = EvaluationSettings(
        eps=(0.0, *options.eps),
        attacks=tuple(f"pgd-{steps}" for steps in options.steps),
        votes=options.votes,
        seed=options.seed,
    )
    opened = [open_run(_trained(method, options), settings, torch.device("cpu")) for method in ("standard", "atop")]
    claims = [_claim(done.card, row, options) for done in evaluate(opened) for row in done.card.curve]
    write(options.out, claims)
    for row in claims:
        print(f"{100 * row.value:5.1f} %  {row.claim}")
    return 0


def _claim(card: Evaluation, row: Accuracy, options: argparse.Namespace) -> Claim:
    verdict = f"vote of {options.votes} draws" if card.randomised else "one answer"
    attack = f"{row.attack} at ε = {row.eps:g}, {_way(card, row)}" if row.eps else "clean"
    return Claim(
        claim=f"accuracy of {card.method}, {attack}; {verdict} in float32; CIFAR-10 (JPEG) subset, small network, "
        "95 % Wilson interval over pictures of one run",
        value=round(row.accuracy, 4),
        unit="share",
        spread=(round(row.low, 4), round(row.high, 4)),
        n=row.pictures,
        seed=options.seed,
        command=_command(options),
        versions=versions("torch"),
    )


def _command(options: argparse.Namespace) -> str:
    names = ("votes", "train_per_class", "test_per_class", "epochs", "width", "purifier_width", "seed")
    words = [f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names]
    steps = " ".join(map(str, options.steps))
    return " ".join([COMMAND, "--eps", *(f"{eps:g}" for eps in options.eps), "--steps", steps, *words])


def _way(card: Evaluation, row: Accuracy) -> str:
    if row.attack == WORST_CASE:
        return "a picture counts if it stands all of these"
    return WAYS[row.access] if card.randomised else "gradients of the classifier"


def _trained(method: str, options: argparse.Namespace) -> Path:
    """Returns the run of a method, trained now if it is not finished; AToP in front of the standard one."""
    run: Path = options.work / method
    overrides = [
        f"seed={options.seed}",
        f"data.path={options.data}",
        f"data.train_per_class={options.train_per_class}",
        f"data.test_per_class={options.test_per_class}",
        f"optimiser.epochs={options.epochs}",
        f"network.width={options.width}",
    ]
    if method == "atop":
        purifier = f"objective.purification.width={options.purifier_width}"
        overrides += [f"objective.classifier={options.work / 'standard'}", purifier]
    return victims.trained(run, f"cifar10-{method}", overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/cifar10"))
    parser.add_argument("--eps", nargs="+", type=float, default=[2.0, 8.0], help="grey levels, rising")
    parser.add_argument("--steps", nargs="+", type=int, default=[10, 20], help="of PGD, an attack for each")
    parser.add_argument("--votes", type=int, default=20, help="draws by which the verdict is reached")
    parser.add_argument("--train-per-class", type=int, default=300)
    parser.add_argument("--test-per-class", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=16, help="of the classifier")
    parser.add_argument("--purifier-width", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/atop_protocol"), help="keeps the trained runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "atop_protocol.json")
    return parser


if __name__ == "__main__":
    sys.exit(exit_code(main))
