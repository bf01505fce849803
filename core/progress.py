"""Progress on stderr: a bar on a terminal, a line now and then in a log. Torch-free."""

from __future__ import annotations

import sys
from typing import NoReturn

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0


def bar(description: str, total: int, unit: str, *, done: int = 0, shown: bool = True) -> tqdm[NoReturn]:
    """Returns a bar over ``total`` units of work of which ``done`` are behind us; use as a context manager."""
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=f" {unit}",
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        mininterval=0.2 if terminal else _SECONDS_BETWEEN_LINES,
        maxinterval=_SECONDS_BETWEEN_LINES,
        miniters=None if terminal else 1,
        file=sys.stderr,
        disable=not shown,
    )
