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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a file, Python puts analysis/ there

from analysis import methods, pdf
from analysis.document import Document, figures, outline, tables, tables_of
from analysis.estimates import estimates_of
from analysis.page import render
from analysis.results import build_results
from analysis.sections import collect, compose, results_of
from analysis.study import Study, input_hashes, read_study
from analysis.table_files import csv_text, latex_text
from core import files
from core.errors import DONE, ConfigError, ExportError, exit_code

TEMPLATES = Path(__file__).resolve().parents[1] / "templates" / "report"
KIND = "percepsilon report"
LIBRARIES = ("numpy", "scipy", "pandas", "statsmodels", "matplotlib", "jinja2", "typst")

EXAMPLES = """examples:
  python analysis/report.py export --out report
  python analysis/report.py export --evaluations runs/* --plan plan.toml --out report
  python analysis/report.py --from-csv trials.csv --columns map.toml --out report

Open DIR/index.html. What each section says and how to read it: docs/report.md. What the data cannot answer is said to
be not estimable, with the reason. Exit codes: 0 done, 1 refused with one message, 2 usage."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Write the report of a study: a page, a PDF, tables, figures and every number as JSON.",
        epilog=EXAMPLES,
    )
    parser.add_argument("export", type=Path, nargs="?", metavar="EXPORT", help="folder that the study's export wrote")
    parser.add_argument(
        "--from-csv", type=Path, metavar="FILE",
        help="instead of EXPORT: trials of jsPsych, PsychoPy or any table (docs/foreign_tables.md)",
    )  # fmt: skip
    parser.add_argument("--columns", type=Path, metavar="MAP", help="map.toml: what the columns of --from-csv mean")
    parser.add_argument(
        "--evaluations", type=Path, nargs="*", default=[], metavar="RUN",
        help="run directories or evaluation.json files of the source models; without them nothing is said of machines",
    )  # fmt: skip
    parser.add_argument(
        "--plan", type=Path, metavar="FILE",
        help="plan.toml, fixed before the data were seen: what is confirmatory, who is left out, α and the margin of "
        "equivalence (docs/contracts.md); without one everything is exploratory, at α = 0.05",
    )  # fmt: skip
    parser.add_argument(
        "--annotations", type=Path, nargs="*", default=[], metavar="SET",
        help="annotation sets with their consensus: what people call salient",
    )  # fmt: skip
    parser.add_argument(
        "--observers", type=Path, metavar="FILE",
        help="observers.toml, the law of robot participants: was it recovered?",
    )  # fmt: skip
    parser.add_argument(
        "--bootstrap", type=int, default=2000, metavar="B",
        help="draws of participants that intervals rest on, 100 or more (default: %(default)s); fewer are faster",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N",
        help="of the draws (default: %(default)s); the same input and seed give the same bytes",
    )  # fmt: skip
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=True, help="bars on stderr (default: shown)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR",
        help="where the report goes: a new folder, or an earlier report, which is replaced",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    if (arguments.export is None) == (arguments.from_csv is None):
        parser.error("expected either EXPORT or --from-csv FILE")
    if (arguments.columns is None) != (arguments.from_csv is None):
        parser.error("expected --from-csv FILE and --columns MAP together")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the report; returns the exit code. stdout is the path of the page."""
    arguments = parse(argv)
    if arguments.bootstrap < 100:
        raise ConfigError(f"--bootstrap: expected 100 draws or more, got {arguments.bootstrap}; the default is 2000")
    check_replaceable(arguments.out)
    given = {name: getattr(arguments, name) for name in ("evaluations", "observers", "plan", "columns")}
    study = read_study(
        arguments.from_csv or arguments.export, **given, annotations=arguments.annotations,
        replicates=arguments.bootstrap, seed=arguments.seed, progress=arguments.progress,
    )  # fmt: skip
    write_report(arguments.out, study, input_hashes(study, **given))
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


def write_report(out: Path, study: Study, inputs: dict[str, str]) -> None:
    """Writes all files of a report into ``out``, replacing an earlier report as a whole."""
    results = build_results(
        study.export, estimates_of(study), study.evaluations, study.observers, replicates=study.replicates,
        seed=study.seed, training=study.training,
    )  # fmt: skip
    sections = collect(study)
    results |= results_of(sections)
    manifest = describe(study, results, inputs)
    document = compose(results, study.plan, sections, manifest)
    plain = outline(document)
    texts = {
        "results.json": json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
        "methods.txt": methods.text(results, study.plan, sections, manifest),
        "index.html": render(plain, results, TEMPLATES),
        **table_files(document, plain),
    }
    outputs = {name: text.encode() for name, text in texts.items()}
    if (typst := pdf.engine()) is None:
        manifest["missing"] = [pdf.MISSING]
        print(pdf.MISSING, file=sys.stderr)
    else:
        outputs["report.pdf"] = pdf.typeset(typst, plain, TEMPLATES)
    manifest["outputs"] = {name: files.sha256_bytes(data) for name, data in outputs.items()}
    with files.atomic_directory(out, replace=True) as directory:
        for name, data in outputs.items():
            files.write_bytes(directory / name, data)
        files.write_json(directory / "manifest.json", manifest)


def describe(study: Study, results: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any]:
    """Returns the manifest without its outputs: what the report rests on and what it was made with."""
    return {
        "kind": KIND, "schema_version": 2, "inputs": inputs, "plan_sha256": study.plan.sha256,
        "exclusions": results["exclusions"], "seed": study.seed, "bootstrap": study.replicates,
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in LIBRARIES}},
        "missing": [],
    }  # fmt: skip


def installed(name: str) -> str | None:
    """Returns the version of a library, or ``None`` where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def table_files(document: Document, plain: dict[str, Any]) -> dict[str, str]:
    """Returns the tables as CSV and LaTeX and the figures as SVG, by name in the report."""
    return {
        **{f"tables/{table.name}.csv": csv_text(table) for table in tables(document) if table.rows},
        **{f"tables/{table['name']}.tex": latex_text(table) for table in tables_of(plain) if table["rows"]},
        **{f"figures/{figure.name}.svg": figure.svg for figure in figures(document)},
    }


if __name__ == "__main__":
    sys.exit(exit_code(main))
