"""The form of a measured claim (docs/contracts.md), and where claims are kept."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from core import files

RESULTS = Path(__file__).resolve().parent / "results"


def hardware() -> str:
    """Returns the processor in words: architecture and the number of cores that this process may use."""
    return f"{platform.machine()} CPU, {len(os.sched_getaffinity(0))} cores"


def today() -> str:
    """Returns the date in UTC, ISO 8601."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def versions(*packages: str) -> dict[str, str]:
    """Returns the versions of Python and of the packages that the numbers rest on."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A number that we measured, with everything needed to judge it and to measure it again.

    Attributes:
        claim: what was measured, in words.
        aim: what was asked, if anything was; ``met`` says whether it was reached.
        compared_with: what the value is a ratio to, if it is one.
        spread: an interval or the smallest and largest value; ``None`` for a single measurement.
        n: how many measurements, trials or pictures the value rests on.
        command: writes this claim.
    """

    claim: str
    value: float
    unit: str
    aim: float | None = None
    met: bool | None = None
    compared_with: str | None = None
    spread: tuple[float, float] | None = None
    n: int
    seed: int | None
    command: str
    hardware: str = field(default_factory=hardware)
    versions: dict[str, str]
    date: str = field(default_factory=today)


def write(path: Path, claims: Sequence[Claim]) -> None:
    """Writes claims as JSON, atomically."""
    files.write_json(path, [dataclasses.asdict(claim) for claim in claims])
