"""Writes the report of a study: ``python analysis/report.py EXPORT --evaluations RUN … --out DIR``.

Reads an export folder and, if given, evaluations of the source models and the law of robot observers; needs neither
torch nor a database nor a network. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file, Python puts analysis/ there

from analysis.estimates import estimate
from analysis.figures import draw_all
from analysis.machine import evaluation_file, read_evaluations, read_training, record_file
from analysis.observers import read_observers
from analysis.page import render
from analysis.results import build_results
from analysis.tables import csv_tables
from analysis.trials import Export, read_export
from core import files
from core.errors import DONE, ConfigError, ExportError, exit_code

TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "report"
KIND = "percepsilon report"
LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib", "jinja2")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="report", description="Write the report of a study from its export.")
    parser.add_argument("export", type=Path, metavar="EXPORT", help="export folder (docs/contracts.md)")
    parser.add_argument(
        "--evaluations",
        type=Path,
        nargs="*",
        default=[],
        metavar="RUN",
        help="run directories or evaluation.json files",
    )
    parser.add_argument(
        "--observers", type=Path, metavar="FILE", help="observers.toml: check that the law is recovered"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=2000, metavar="B", help="draws of participants (default: 2000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (default: 1)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the report goes")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; returns the exit code. stdout is the path of the page."""
    arguments = parse(argv)
    if arguments.bootstrap < 100:
        raise ConfigError(f"--bootstrap: expected 100 draws or more, got {arguments.bootstrap}; the default is 2000")
    check_replaceable(arguments.out)
    export = read_export(arguments.export)
    evaluations = read_evaluations(arguments.evaluations)
    observers = None if arguments.observers is None else read_observers(arguments.observers)
    study = estimate(export.cells, replicates=arguments.bootstrap, seed=arguments.seed)
    results = build_results(
        export, study, evaluations, observers, replicates=arguments.bootstrap, seed=arguments.seed,
        training=read_training(arguments.evaluations),
    )  # fmt: skip
    inputs = input_hashes(export, arguments.evaluations, arguments.observers)
    write_report(arguments.out, results, inputs)
    print(arguments.out / "index.html")
    return DONE


def check_replaceable(out: Path) -> None:
    """Refuses to write over anything but a report of ours that nobody added files to.

    Raises:
        ExportError: ``out`` holds something else.
    """
    if not out.exists():
        return
    manifest = out / "manifest.json"
    if out.is_dir() and not any(out.iterdir()):
        return
    if not manifest.is_file() or files.read_json(manifest, ExportError, "give another --out").get("kind") != KIND:
        raise ExportError(f"{out}: expected no such path or an earlier report, got something else; give another --out")
    known = {*files.read_json(manifest, ExportError, "give another --out").get("outputs", {}), "manifest.json"}
    foreign = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and
                     path.relative_to(out).as_posix() not in known)  # fmt: skip
    if foreign:
        raise ExportError(f"{out}: holds {foreign[0]}, which no report wrote; move it away or give another --out")


def input_hashes(export: Export, evaluations: list[Path], observers: Path | None) -> dict[str, str]:
    """Returns the SHA-256 of every file that the report rests on, by a name without machine paths."""
    hashes = {f"export/{name}": files.sha256_file(export.directory / name) for name in export.files}
    for path in map(evaluation_file, evaluations):
        digest = files.sha256_file(path)
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
        hashes[f"{run}/evaluation.json"] = digest
        if (record := record_file(path)) is not None:
            hashes[f"{run}/record.json"] = files.sha256_file(record)
    if observers is not None:
        hashes["observers.toml"] = files.sha256_file(observers)
    return hashes


def write_report(out: Path, results: dict[str, Any], inputs: dict[str, str]) -> None:
    """Writes all files of a report into ``out``, replacing an earlier report as a whole."""
    pictures = draw_all(results)
    manifest: dict[str, Any] = {
        "kind": KIND, "schema_version": 1, "inputs": inputs, "exclusions": results["exclusions"],
        "seed": results["settings"]["seed"], "bootstrap": results["settings"]["bootstrap"],
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }  # fmt: skip
    outputs = {
        "index.html": render(results, pictures, manifest, TEMPLATES),
        "results.json": json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        **{f"tables/{name}": text for name, text in csv_tables(results).items()},
        **{f"figures/{picture.name}.svg": picture.svg for picture in pictures},
    }
    manifest["outputs"] = {name: files.sha256_bytes(text.encode()) for name, text in outputs.items()}
    with files.atomic_directory(out, replace=True) as directory:
        for name, text in outputs.items():
            files.write_text(directory / name, text)
        files.write_json(directory / "manifest.json", manifest)


if __name__ == "__main__":
    sys.exit(exit_code(main))
