"""``python -m core.annotations consensus|import|verify``: annotation sets, from the command line."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import progress
from core.annotations import consensus, importing, sets
from core.annotations.consensus import Settings
from core.errors import exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Brings annotations together, reads masks made elsewhere, or proves an annotation set."""
    arguments = _parser().parse_args(argv)
    commands = {"consensus": _consensus, "import": _import, "verify": _verify}
    commands[arguments.command](arguments)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core.annotations", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("consensus", help="write maps and agreement into an annotation set")
    made.add_argument("set", type=Path, help="folder of an annotation set")
    default = Settings()
    made.add_argument("--method", choices=("mean", "staple"), default=default.method)
    made.add_argument(
        "--threshold", type=float, default=default.threshold, help="of the binary map; default: %(default)s"
    )
    made.add_argument("--bootstrap", type=int, default=default.bootstrap, help="replicates; 0: no intervals")
    made.add_argument("--seed", type=int, default=default.seed, help="of the intervals; default: %(default)s")
    made.add_argument("--shown", type=int, default=default.shown, help="pictures on the page of least agreement")
    made.add_argument("--pictures", type=Path, help="picture set, to draw overlays on; default: those in the set")
    read = commands.add_parser("import", help="make an annotation set of masks made elsewhere")
    read.add_argument("form", choices=("masks", "boxes", "coco", "label-studio"))
    read.add_argument("path", type=Path, help="the file or folder")
    read.add_argument("--pictures", type=Path, required=True, help="picture set that the masks belong to")
    read.add_argument("--out", type=Path, required=True, help="folder of the new set")
    proved = commands.add_parser("verify", help="prove an annotation set from its files")
    proved.add_argument("set", type=Path, help="folder of an annotation set")
    return parser


def _consensus(arguments: argparse.Namespace) -> None:
    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: getattr(arguments, name) for name in names})
    total = sets.read_record(arguments.set).counts.get("annotated", 0)
    with progress.bar("consensus", total, "pictures") as bar:
        record = consensus.make(arguments.set, settings, arguments.pictures, bar.update)
    print(
        f"{arguments.set}: consensus of {len(record.maps)} pictures by {settings.method}, set {record.sha256[:16]}; "
        f"look at {arguments.set}/overlays.html"
    )


def _import(arguments: argparse.Namespace) -> None:
    record = importing.read_in(arguments.form, arguments.path, arguments.pictures, arguments.out)
    print(f"{arguments.out}: {_said(record.counts)}; next: python -m core.annotations consensus {arguments.out}")


def _verify(arguments: argparse.Namespace) -> None:
    total = sets.read_record(arguments.set).counts.get("annotations", 0)
    with progress.bar("verify annotations", total, "annotations") as bar:
        record = consensus.verify(arguments.set, bar.update)
    print(f"{arguments.set}: {_said(record.counts)} are what the record says, {len(record.maps)} maps")


def _said(counts: dict[str, Any]) -> str:
    return f"{counts['annotations']} annotations of {counts['annotated']} pictures by {counts['annotators']} annotators"


if __name__ == "__main__":
    sys.exit(exit_code(main))
