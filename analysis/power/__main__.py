"""``python -m analysis.power SETTINGS.toml [--set participants=[12,24]] [--out power.json]``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.power.finding import QUESTIONS, Finding, power
from analysis.power.settings import read_settings
from core import files
from core.errors import DONE, ConfigError, exit_code

EXAMPLE = """SETTINGS.toml, for example:
  observers = "observers.toml"        # docs/contracts.md; what participants are assumed to see
  participants = [12, 24, 48]
  eps = [1, 2, 4, 8, 16, 32]
  trials_per_level = 10
  pairs = [["standard", "sip-at"]]
  margin = 0.5                        # octaves within which thresholds count as equivalent
Every key: docs/power.md."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Returns the command line's arguments."""
    parser = argparse.ArgumentParser(
        prog="power", description="Simulate studies; say how often the report's tests would find what they look for.",
        epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("settings", type=Path, metavar="SETTINGS", help="power.toml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of the file's value")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that share the work (default: 1)")
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction, default=True, help="bars on stderr (default: shown)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the rows and the settings as JSON too")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    arguments = parse(argv)
    if arguments.processes < 1:
        raise ConfigError(f"--processes: expected 1 or more, got {arguments.processes}")
    settings, observers = read_settings(arguments.settings, tuple(arguments.set))
    rows = power(settings, observers, processes=arguments.processes, progress=arguments.progress)
    print(table(rows))
    if arguments.out is not None:
        named = dataclasses.asdict(settings) | {"observers": settings.observers.as_posix()}
        files.write_json(arguments.out, {"settings": named, "rows": [dataclasses.asdict(row) for row in rows]})
    return DONE


def table(rows: Sequence[Finding]) -> str:
    """Returns the rows as text, one line each."""
    width = max(len(row.pair) for row in rows)
    lines = [f"{'participants':>12}  {'pair':<{width}}  power  95 % interval   not estimable  question"]
    lines += [
        f"{row.participants:>12}  {row.pair:<{width}}  {row.power:5.3f}  [{row.low:.3f}, {row.high:.3f}]  "
        f"{row.not_estimable:>13}  {QUESTIONS[row.question]}"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(exit_code(main))
