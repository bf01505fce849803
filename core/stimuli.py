"""``python -m core.stimuli REQUEST`` makes a stimulus set; ``python -m core.stimuli verify DIR`` proves one."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from core import config, progress, runs
from core.devices import deterministic, pick
from core.distributed import Group, joined, leave
from core.errors import DONE, StimulusError, exit_code
from core.manifest import SetRecord, read_record
from core.stimulus_assembly import assemble
from core.stimulus_job import load_source, prepare
from core.stimulus_partial import partial
from core.stimulus_request import Request
from core.stimulus_verification import verify_pictures, verify_predictions

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Makes stimuli of graded ε from trained classifiers, or verifies a set that was made."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["verify"]:
        return _verify(words[1:])
    arguments = _parser().parse_args(words)
    request = config.load(Request, arguments.request, arguments.set).of_runs(tuple(arguments.runs))
    out: Path = arguments.out or Path("stimuli") / request.name
    with joined(pick(arguments.device)) as (group, device):
        new = make_set(request, out, device, group)
    if group.leads:
        record = read_record(out)
        _tell(out, record)
        made = f"{record.stimuli} stimuli of {record.sources} pictures, verified from disk; look at {out}/sheet.html"
        print(f"{out}: {made}" if new else f"{out}: made already, {record.stimuli} stimuli")
    if group.size > 1:
        leave(DONE)
    return DONE


def make_set(request: Request, out: Path, device: torch.device, group: Group | None = None) -> bool:
    """Makes a stimulus set, verifies it from disk, and only then gives it its name; returns whether it was new.

    What an interrupted call had finished, its batches, is taken over. Several processes each make their share of the
    batches; the set is the same.

    Raises:
        StimulusError: another set stands in its place, finished or not.
    """
    group = group or Group()
    job = prepare(request, device)
    if out.exists():
        _check_same(out, job.record)
        return False
    total = len(job.data.classes) * request.sources_per_class
    with partial(out, job.record.asked_sha256, leads=group.leads) as here, deterministic():
        with progress.bar("make stimuli", -(-total // group.size), "sources", shown=group.leads) as bar:
            record = job.fill(here, group, bar.update)
        if group.leads:
            assemble(here, record, out, request.sheet_sources)
    return True


def _verify(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m core.stimuli verify", description="Proves a stimulus set from disk."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", nargs="+", type=Path, default=[], help="prove the predictions of these runs too")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args(words)
    record = read_record(arguments.directory)
    with progress.bar("verify stimuli", record.stimuli, "stimuli") as bar:
        verify_pictures(arguments.directory, record, bar.update)
    device = pick(arguments.device)
    with deterministic():
        for run in arguments.runs:
            verify_predictions(arguments.directory, load_source(run, device), runs.read_run(run).classes, device)
    proved = "pictures and predictions" if arguments.runs else "pictures"
    print(f"{arguments.directory}: {record.stimuli} stimuli are what the manifest says ({proved})")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m core.stimuli", description=main.__doc__, epilog="python -m core.stimuli verify --help"
    )
    parser.add_argument("request", type=Path, help="TOML file; example core/configs/demo-stimuli.toml")
    parser.add_argument(
        "--runs", nargs="+", type=Path, default=[], help="run directories of the source models; default: the request's"
    )
    parser.add_argument("--out", type=Path, help="directory of the set; default: stimuli/<name>")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the request")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: a GPU if there is one"
    )
    return parser


def _tell(out: Path, record: SetRecord) -> None:
    if record.left_out:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in record.left_out.items())
        _log.warning("%s: %d sources were tried and left out: %s", out, sum(record.left_out.values()), reasons)


def _check_same(out: Path, wanted: SetRecord) -> None:
    """Leaves a set that was made earlier as it is; refuses if it is another one than was asked for."""
    if read_record(out).asked_sha256 != wanted.asked_sha256:
        raise StimulusError(
            f"{out}: holds another stimulus set than was asked for, or one of other runs or pictures; choose another "
            "--out or remove it"
        )


if __name__ == "__main__":
    sys.exit(exit_code(main))
