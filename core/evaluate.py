"""``python -m core.evaluate RUN …``: clean and robust accuracy on an ε ladder, and the outcome of every picture."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import torch
from scipy.stats import binomtest

from core import datasets, files, models, progress, recipe, runs
from core.datasets.split import Split
from core.devices import deterministic, pick
from core.errors import RunError, exit_code
from core.evaluation import Ladder, Outcome, climb
from core.runs import Weights


def main(argv: Sequence[str] | None = None) -> int:
    """Measures accuracy on test pictures, clean and attacked, and writes it into each run."""
    arguments = _parser().parse_args(argv)
    ladder = Ladder(eps=tuple(sorted({0.0, *arguments.eps})), steps=arguments.steps, seed=arguments.seed)
    for run in arguments.runs:
        runs.weights_path(run, arguments.weights)
    for run in arguments.runs:
        card = evaluate(run, ladder, pick(arguments.device), arguments.weights)
        curve = ", ".join(f"ε {point.eps:g}: {point.accuracy:.1%}" for point in card.curve)
        print(f"{run}: accuracy on {card.curve[0].pictures} pictures by ε (grey levels), {ladder.attack}: {curve}")
    return 0


def evaluate(run: Path, ladder: Ladder, device: torch.device, weights: Weights = "last") -> runs.Evaluation:
    """Evaluates a finished run on its test pictures and writes its card and outcomes, both whole or not at all."""
    started = time.monotonic()
    record, model = runs.read_run(run), models.load_classifier(run, device, weights)
    data = datasets.load(recipe.read(run).data)
    fingerprint = data.fingerprint()
    if fingerprint != record.dataset_fingerprint:
        raise RunError(
            f"{run}: expected the data it was trained with (fingerprint {record.dataset_fingerprint[:12]}), "
            f"got {fingerprint[:12]}; restore the data or train again"
        )
    test = data.test.to(device)
    with deterministic(), progress.bar(f"evaluate {run.name}", len(test) * len(ladder.eps), "pictures") as bar:
        outcomes = list(climb(model, test, ladder, bar.update))
    card = runs.Evaluation(
        schema_version=runs.SCHEMA_VERSION,
        run=run.name,
        method=record.method,
        weights_sha256=files.sha256_file(runs.weights_path(run, weights)),
        dataset_fingerprint=fingerprint,
        seed=ladder.seed,
        seconds=round(time.monotonic() - started, 3),
        curve=tuple(_accuracy(outcomes, eps, ladder.attack) for eps in ladder.eps),
    )
    suffix = "" if weights == "last" else f"-{weights}"
    _write_outcomes(run / f"outcomes{suffix}.parquet", outcomes, test, data.classes, ladder.attack)
    runs.write_record(run / f"evaluation{suffix}.json", card)
    return card


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.evaluate", description=main.__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory of core.train")
    parser.add_argument(
        "--eps", nargs="+", type=float, default=list(Ladder().eps), help="grey levels; default: %(default)s"
    )
    parser.add_argument("--steps", type=int, default=Ladder().steps, help="steps of PGD; default: %(default)s")
    parser.add_argument("--seed", type=int, default=Ladder().seed, help="of the random starts; default: %(default)s")
    parser.add_argument("--weights", choices=("last", "best"), default="last", help="of which epoch; default: last")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    return parser


def _accuracy(outcomes: Sequence[Outcome], eps: float, attack: str) -> runs.Accuracy:
    margins = torch.cat([outcome.verdict.margins for outcome in outcomes if outcome.eps == eps])
    pictures, correct = len(margins), int((margins > 0).sum())
    interval = binomtest(correct, pictures).proportion_ci(method="wilson")
    return runs.Accuracy(
        attack=attack if eps > 0 else "none",
        region="full",
        eps=eps,
        pictures=pictures,
        correct=correct,
        accuracy=correct / pictures,
        low=float(interval.low),
        high=float(interval.high),
    )


def _write_outcomes(path: Path, outcomes: Sequence[Outcome], test: Split, classes: Sequence[str], attack: str) -> None:
    rows = [row for outcome in outcomes for row in _rows(outcome, test, classes, attack)]
    with files.atomic_path(path) as temporary:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows).select(list(runs.OUTCOME_COLUMNS)), temporary)


def _rows(outcome: Outcome, test: Split, classes: Sequence[str], attack: str) -> list[dict[str, object]]:
    verdict, first = outcome.verdict, outcome.first
    return [
        {
            "source_id": test.ids[first + index],
            "source_class": classes[int(test.labels[first + index])],
            "attack": attack if outcome.eps > 0 else "none",
            "region": "full",
            "eps": outcome.eps,
            "prediction": classes[prediction],
            "margin": margin,
            "fooled": margin <= 0,
        }
        for index, (prediction, margin) in enumerate(
            zip(verdict.predictions.tolist(), verdict.margins.tolist(), strict=True)
        )
    ]


if __name__ == "__main__":
    sys.exit(exit_code(main))
