"""``python -m core.stimuli REQUEST --runs RUN … --out DIR`` makes a stimulus set; ``… verify DIR`` proves one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from core import config, datasets, files, models, progress, recipe, runs
from core.datasets.split import Dataset
from core.devices import deterministic, pick
from core.errors import RunError, StimulusError, exit_code
from core.manifest import SCHEMA_VERSION, SetRecord, read_set, seal
from core.stimulus_sets import Request, Source, choose, make
from core.stimulus_verification import verify_pictures, verify_predictions


def main(argv: Sequence[str] | None = None) -> int:
    """Makes stimuli of graded ε from trained classifiers, or verifies a set that was made."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["verify"]:
        return _verify(words[1:])
    arguments = _parser().parse_args(words)
    request = config.load(Request, arguments.request, arguments.set)
    if arguments.out.exists():
        return _keep(arguments.out, request, arguments.runs)
    record = make_set(request, arguments.runs, arguments.out, pick(arguments.device))
    print(f"{arguments.out}: {record.stimuli} stimuli of {record.sources} pictures, verified from disk")
    return 0


def make_set(request: Request, run_paths: Sequence[Path], out: Path, device: torch.device) -> SetRecord:
    """Makes a stimulus set, verifies it from disk, and only then gives it its name."""
    sources_of, data = _sources(run_paths, device)
    sources = choose(data.test.to(device), len(data.classes), request)
    record = SetRecord(
        schema_version=SCHEMA_VERSION,
        name=request.name,
        seed=request.seed,
        eps=(0, *request.eps),
        runs=tuple(source.run for source in sources_of),
        attack=request.attack,
        sources=len(sources),
        stimuli=0,
        manifest_sha256="",
    )
    with files.atomic_directory(out) as directory, deterministic():
        with progress.bar("make stimuli", len(sources_of) * len(request.eps) * len(sources), "stimuli") as bar:
            record = seal(directory, make(directory, sources, data.classes, sources_of, request, bar.update), record)
        with progress.bar("verify stimuli", record.stimuli, "stimuli") as bar:
            verify_pictures(read_set(directory), bar.update)
    return record


def _verify(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m core.stimuli verify", description="Proves a stimulus set from disk."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="prove the predictions of these runs too")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args(words)
    stimuli = read_set(arguments.directory)
    with progress.bar("verify stimuli", len(stimuli.stimuli), "stimuli") as bar:
        verify_pictures(stimuli, bar.update)
    device = pick(arguments.device)
    for run in arguments.runs:
        verify_predictions(stimuli, _source(run, device), runs.read_run(run).classes, device)
    proved = "pictures and predictions" if arguments.runs else "pictures"
    print(f"{arguments.directory}: {len(stimuli.stimuli)} stimuli are what the manifest says ({proved})")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.stimuli", description=main.__doc__, epilog="python -m core.stimuli verify --help"
    )
    parser.add_argument("request", type=Path, help="TOML file; example core/configs/demo-stimuli.toml")
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="run directories of the source models")
    parser.add_argument("--out", type=Path, required=True, help="directory of the set")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the request")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    return parser


def _keep(out: Path, request: Request, run_paths: Sequence[Path]) -> int:
    """Leaves a set that was made earlier as it is; refuses if it is another one than was asked for."""
    found, wanted = read_set(out).record, (0, *request.eps)
    names = tuple(run.name for run in run_paths)
    if (found.name, found.seed, found.eps, found.runs, found.attack) != (
        request.name,
        request.seed,
        wanted,
        names,
        request.attack,
    ):
        raise StimulusError(f"{out}: holds another stimulus set than was asked for; choose another --out or remove it")
    print(f"{out}: made already, {found.stimuli} stimuli")
    return 0


def _sources(run_paths: Sequence[Path], device: torch.device) -> tuple[list[Source], Dataset]:
    """Returns the source models and the data that they all share."""
    sources = [_source(run, device) for run in run_paths]
    records = [runs.read_run(run) for run in run_paths]
    for run, record in zip(run_paths, records, strict=True):
        if record.dataset_fingerprint != records[0].dataset_fingerprint:
            raise RunError(
                f"{run}: expected the same pictures as {run_paths[0]}, got others; train both on the same data"
            )
    return sources, datasets.load(recipe.read(run_paths[0]).data)


def _source(run: Path, device: torch.device) -> Source:
    model = models.load_classifier(run, device)
    return Source(run=run.name, method=runs.read_run(run).method, model=model)


if __name__ == "__main__":
    sys.exit(exit_code(main))
