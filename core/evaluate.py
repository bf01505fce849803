"""``python -m core.evaluate RUN …``: accuracy clean and under attack, the outcome of every picture, and what to doubt.

docs/evaluation.md explains every option, every number and every warning.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from core import evaluation_comparisons, evaluation_maps, runs
from core.devices import pick
from core.errors import ConfigError, RunError, exit_code
from core.evaluation_card import rights
from core.evaluation_conditions import transferred, white_box
from core.evaluation_runs import (
    Datasets,
    Evaluated,
    Opened,
    check_alike,
    evaluate,
    open_run,
    refuse_same_names,
    verify,
    with_sources,
)
from core.evaluation_settings import ACCESS, REGIONS, EvaluationSettings
from core.evaluation_tables import card_lines, transfer_lines

_DEFAULT = EvaluationSettings()
_SHOWN = 4  # differences that are named


def main(argv: Sequence[str] | None = None) -> int:
    """Measures accuracy on test pictures, clean and attacked, and writes it into each run."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    settings, device = _settings(arguments), pick(arguments.device)
    refuse_same_names(arguments.runs)
    for run in arguments.runs:
        runs.weights_path(run, settings.weights)
    if arguments.verify:
        if settings != EvaluationSettings(weights=settings.weights) or arguments.comparisons or arguments.transfer:
            parser.error("--verify takes its settings from the card; leave the other options out")
        return _verify_all(arguments.runs, settings, device)
    for check in (white_box, transferred):
        check(settings, randomised=True)  # refuses unknown attacks before anything is loaded
    _evaluate_all(arguments, settings, device)
    return 0


def _evaluate_all(arguments: argparse.Namespace, settings: EvaluationSettings, device: torch.device) -> None:
    opened, known = [], Datasets()
    for run in arguments.runs:
        others = [other for other in arguments.runs if other != run] if arguments.transfer else []
        resolved = with_sources(_seen_from(run, settings, arguments.salience), run, others)
        opened.append(open_run(run, resolved, device, known))
    _refuse_unused(arguments, settings, opened)
    if arguments.transfer or arguments.comparisons:
        check_alike(opened)
    written = evaluate(opened, transfer=arguments.transfer)
    for one in written:
        print(*card_lines(one.card), sep="\n")
    if arguments.transfer:
        print(*transfer_lines([one.card for one in written]), sep="\n")
    if arguments.comparisons:
        _compare(arguments.comparisons, written)


def _compare(path: Path, written: Sequence[Evaluated]) -> None:
    first, *others = [(one.card.run, rights(one.columns, one.card.run)) for one in written]
    found = evaluation_comparisons.compare(*first, others)
    evaluation_comparisons.write(path, found)
    print(*evaluation_comparisons.lines(found), sep="\n")


def _verify_all(paths: Sequence[Path], settings: EvaluationSettings, device: torch.device) -> int:
    unlike, known = [], Datasets()
    for run in paths:
        stored = runs.read_evaluation(run / f"evaluation{settings.suffix}.json")
        opened = open_run(run, stored.settings, device, known)
        sources = [
            open_run(run / other, _of_source(stored, run, run / other), device, known)
            for other in stored.settings.sources
        ]
        differences = verify(opened, sources, stored)
        unlike += [f"{run}: {difference}" for difference in differences]
        if not differences:
            print(
                f"{run}: computed again on {device}: all {len(stored.curve)} accuracies and every outcome are the same"
            )
    if unlike:
        more = f"; and {len(unlike) - _SHOWN} more" if len(unlike) > _SHOWN else ""
        raise RunError(
            "; ".join(unlike[:_SHOWN]) + more + "; expected the same as in the card: was the run changed, or is this "
            "another machine than the card's? Evaluate it again"
        )
    return 0


def _of_source(stored: runs.Evaluation, run: Path, source: Path) -> EvaluationSettings:
    """Returns the settings by which ``source`` made the pictures that were scored on ``run``."""
    named = None if stored.settings.salience is None else run / stored.settings.salience
    return with_sources(_seen_from(source, stored.settings, named), source, [])


def _seen_from(run: Path, settings: EvaluationSettings, named: Path | None) -> EvaluationSettings:
    return dataclasses.replace(settings, salience=None if named is None else evaluation_maps.relative(named, run))


def _settings(arguments: argparse.Namespace) -> EvaluationSettings:
    return EvaluationSettings(
        eps=tuple(sorted({0.0, *arguments.eps})),
        attacks=tuple(arguments.attacks),
        regions=tuple(arguments.regions),
        l2=tuple(sorted(arguments.l2)),
        stadv=tuple(sorted(arguments.stadv)),
        access=ACCESS if arguments.access is None else tuple(arguments.access),
        votes=_DEFAULT.votes if arguments.votes is None else arguments.votes,
        threshold=arguments.threshold,
        precision=arguments.precision,
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        weights=arguments.weights,
        minimal=arguments.minimal,
    )


def _refuse_unused(arguments: argparse.Namespace, settings: EvaluationSettings, opened: Sequence[Opened]) -> None:
    """Refuses options that would change nothing."""
    chance = [name for name in ("access", "votes") if getattr(arguments, name) is not None]
    if chance and not any(run.subject.randomised for run in opened):
        raise ConfigError(f"--{chance[0]}: none of these runs draws random numbers (AToP); leave it out")
    maps = [name for name in ("salience", "threshold") if getattr(arguments, name) is not None]
    if maps and settings.regions == ("full",):
        raise ConfigError(f"--{maps[0]}: only regions use maps; add --regions full salient background")
    for name in ("transfer", "comparisons"):
        if getattr(arguments, name) and len(opened) < 2:
            raise ConfigError(f"--{name}: expected several runs, got one; name another RUN")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.evaluate",
        description=main.__doc__,
        epilog="Numbers go to RUN/evaluation.json, the outcome of every picture to RUN/outcomes.parquet. A killed "
        "evaluation goes on from where it was when the same command is given again. See docs/evaluation.md.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run directory of core.train")
    _add_attacks(parser.add_argument_group("what the runs are attacked with"))
    _add_several(parser.add_argument_group("several runs"))
    _add_randomised(parser.add_argument_group("runs that draw random numbers (AToP)"))
    _add_computing(parser.add_argument_group("how it is computed"))
    return parser


def _add_attacks(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--attacks", nargs="+", default=list(_DEFAULT.attacks), metavar="NAME",
        help="such as pgd-20, apgd-ce-100, square-5000, aa-fast, aa-standard; default: pgd-20",
    )  # fmt: skip
    group.add_argument(
        "--eps", nargs="+", type=float, default=list(_DEFAULT.eps), metavar="ε",
        help="ladder of L∞ budgets in grey levels; default: 0 1 2 4 8 16 32",
    )  # fmt: skip
    group.add_argument(
        "--regions", nargs="+", choices=REGIONS, default=list(_DEFAULT.regions),
        help="where pictures may change; default: full. The others need salience maps",
    )  # fmt: skip
    group.add_argument(
        "--salience", type=Path, metavar="RUN_OR_TOML",
        help="whose [salience] table gives the maps for all runs; default: each run's own",
    )  # fmt: skip
    group.add_argument("--threshold", type=float, metavar="τ", help="salient is above it; default: of the same recipe")
    group.add_argument(
        "--l2", nargs="+", type=float, default=[], metavar="ε", help="unseen threat: L2 budgets in [0, 1] units, as 0.5"
    )
    group.add_argument(
        "--stadv", nargs="+", type=float, default=[], metavar="PIXELS", help="unseen threat: moves of pixels, by StAdv"
    )
    group.add_argument("--minimal", action="store_true", help="also the least whole grey level that fools each picture")


def _add_several(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--transfer", action="store_true", help="score pictures made against each run on every other")
    group.add_argument(
        "--comparisons",
        type=Path,
        metavar="JSON",
        help="compare the runs with the first, picture by picture, into a file",
    )


def _add_randomised(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--access", nargs="+", choices=ACCESS, help="what attacks see of the run; default: each in turn")
    group.add_argument("--votes", type=int, help=f"draws whose mean decides; default: {_DEFAULT.votes}")


def _add_computing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--precision", choices=("float32", "bfloat16"), default=_DEFAULT.precision,
        help="of attacks; verdicts are float32 always; default: float32",
    )  # fmt: skip
    group.add_argument("--batch-size", type=int, default=_DEFAULT.batch_size, help="default: %(default)s")
    group.add_argument("--seed", type=int, default=_DEFAULT.seed, help="of all random numbers; default: %(default)s")
    group.add_argument("--weights", choices=("last", "best"), default="last", help="of which epoch; default: last")
    group.add_argument(
        "--verify", action="store_true", help="compute the stored card again and compare; writes nothing"
    )
    group.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
