"""``python -m benchmarks.coverage``: how often intervals cover and tests err, cell by cell.

Finished cells are kept in build/coverage/ and not simulated again until the code of ``analysis`` or of this benchmark
changes. Writes benchmarks/results/coverage.json, docs/coverage.md and docs/figures/coverage.svg.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.power.finding import repeat
from benchmarks.claims import RESULTS, Claim, versions, write
from benchmarks.coverage import page
from benchmarks.coverage.acceptance import Share, spread
from benchmarks.coverage.cell import Cell
from benchmarks.coverage.scenarios import cells
from core import files
from core.errors import DONE, ConfigError, exit_code

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m benchmarks.coverage"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(prog="coverage", description="Simulate studies; say what intervals cover.")
    parser.add_argument("--only", nargs="*", default=[], metavar="PREFIX", help="cells whose name begins so")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of studies (default: 1)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="that share the work (default: 2)")
    parser.add_argument("--keep", action="store_true", help="cells of an earlier state of the code too")
    parser.add_argument("--state", type=Path, default=ROOT / "build" / "coverage", help="where finished cells are kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "coverage.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page and the figure go")
    parser.add_argument("--list", action="store_true", help="only say which cells there are and which are finished")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Simulates what is not finished and writes claims and page."""
    arguments = parse(argv)
    if arguments.scale <= 0 or arguments.processes < 1:
        raise ConfigError("expected --scale above 0 and --processes of 1 or more; the defaults are 1 and 2")
    known = cells(arguments.scale)
    wanted = [cell for cell in known if not arguments.only or cell.name.startswith(tuple(arguments.only))]
    if not wanted:
        raise ConfigError(f"--only: no cell begins so; there are {', '.join(cell.name for cell in known)}")
    code = fingerprint()
    for cell in wanted if not arguments.list else ():
        if finished(cell, arguments, code) is None:
            simulate(cell, arguments, code)
    done = [(cell, finished(cell, arguments, code)) for cell in known]
    if arguments.list:
        print("\n".join(f"{'finished' if state else 'open':>8}  {cell.name}: {cell.words}" for cell, state in done))
        return DONE
    rows = [(cell, [Share(**row) for row in state["shares"]]) for cell, state in done if state is not None]
    write(arguments.out, [claim(cell, share, arguments) for cell, shares in rows for share in shares])
    page.write(arguments.docs, [(cell.name, cell.words, shares) for cell, shares in rows])
    for cell, shares in rows:
        print(f"{cell.words}\n" + "\n".join(f"  {line(share)}" for share in shares))
    return DONE


def fingerprint() -> str:
    """Returns a hash of the code that the numbers rest on."""
    sources = sorted([*(ROOT / "analysis").rglob("*.py"), *(ROOT / "benchmarks" / "coverage").rglob("*.py")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def simulate(cell: Cell, arguments: argparse.Namespace, code: str) -> None:
    """Simulates a cell and keeps what it gave."""
    began = time.perf_counter()
    rows = list(repeat(partial(cell.one, arguments.seed), cell.times, arguments.processes, cell.name))
    seconds = time.perf_counter() - began
    shares = [dataclasses.asdict(share) for share in cell.shares(rows)]
    files.write_json(
        state_file(cell, arguments), {"code": code, "times": cell.times, "seconds": seconds, "shares": shares}
    )


def state_file(cell: Cell, arguments: argparse.Namespace) -> Path:
    """Returns where a cell is kept."""
    directory: Path = arguments.state
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{cell.name}-x{cell.times}-seed{arguments.seed}.json"


def finished(cell: Cell, arguments: argparse.Namespace, code: str) -> dict[str, Any] | None:
    """Returns what a cell gave; ``None`` where it is not finished or its code has changed."""
    path = state_file(cell, arguments)
    if not path.is_file():
        return None
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state if arguments.keep or state["code"] == code else None


def claim(cell: Cell, share: Share, arguments: argparse.Namespace) -> Claim:
    """Returns a measured claim; aim is the nominal value, met whether the band of the protocol was kept."""
    kinds = {
        "coverage": "share of 95 % intervals that cover the truth",
        "error": "share of tests at α = 0.05 that reject what is true",
        "uniform": "Kolmogorov-Smirnov p of p-values against uniform",
    }
    return Claim(
        claim=f"{share.quantity}: {kinds[share.kind]}; {cell.words}; {page.words(share)}",
        value=share.value, unit="p" if share.kind == "uniform" else "share", aim=share.nominal, met=share.met,
        spread=spread(share), n=share.n, seed=arguments.seed, command=COMMAND, versions=versions("numpy", "scipy"),
    )  # fmt: skip


def line(share: Share) -> str:
    """Returns a share as one line."""
    low, high = share.band
    verdict = {True: "met", False: "MISSED", None: "reported"}[share.met]
    return f"{share.value:.4f}  band [{low:.4f}, {high:.4f}]  n {share.n:>5}  {verdict:<8}  {share.quantity}"


if __name__ == "__main__":
    sys.exit(exit_code(main))
