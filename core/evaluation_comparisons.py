"""Paired comparisons of runs on the same pictures: interval, exact test, correction for many. Torch-free."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from core import config, files
from core.errors import RunError

_Z = float(norm.ppf(0.975))
_EDGE = 1e-12  # as close as a bound is sought to a difference of ±1


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Accuracy of ``run`` against that of ``reference`` under one condition.

    Attributes:
        both: pictures that both name right; ``only_reference``, ``only_run``: one of them; ``neither``.
        difference: accuracy of ``run`` less that of ``reference``; ``low``, ``high``: Tango's 95 % interval.
        p: exact two-sided McNemar test of no difference.
        p_holm: the same corrected for all comparisons of the list (Holm 1979).
    """

    reference: str
    run: str
    attack: str
    norm: str
    region: str
    eps: float
    both: int
    only_reference: int
    only_run: int
    neither: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float = 1.0


def tango(gained: int, lost: int, pictures: int, quantile: float = _Z) -> tuple[float, float]:
    """Returns the score interval of (gained − lost) / pictures, for paired shares; at 95 % unless told.

    The interval holds the differences that the score test does not refuse. Source: Tango 1998, Statistics in Medicine
    17, 891–908; recommended for pairs by Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33, 2850–2875.

    Args:
        gained: pictures that only the second names right.
        lost: pictures that only the first names right.
        pictures: all of them.
        quantile: standard errors to either side that the score test allows.
    """
    estimate = (gained - lost) / pictures

    def beyond(difference: float) -> float:
        return abs(_score(difference, gained, lost, pictures)) - quantile

    low, high = -1 + _EDGE, 1 - _EDGE
    return (
        -1.0 if estimate <= low or beyond(low) <= 0 else float(brentq(beyond, low, estimate, xtol=1e-10)),
        1.0 if estimate >= high or beyond(high) <= 0 else float(brentq(beyond, estimate, high, xtol=1e-10)),
    )


def _score(difference: float, gained: int, lost: int, pictures: int) -> float:
    """Returns the score statistic of the hypothesis that the difference is ``difference``."""
    distance = gained - lost - pictures * difference
    linear = (2 * pictures - gained + lost) * difference - gained - lost
    square = linear**2 + 8 * pictures * lost * difference * (1 - difference)
    share = (math.sqrt(max(square, 0.0)) - linear) / (4 * pictures)  # only the first right, if the hypothesis holds
    variance = pictures * (2 * share + difference * (1 - difference))
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def mcnemar(gained: int, lost: int) -> float:
    """Returns the exact two-sided p value of no difference between pairs (binomial on the discordant ones)."""
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost, 0.5).pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """Returns p values corrected for their number, step by step (Holm 1979, Scandinavian Journal of Statistics 6)."""
    corrected, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        largest = max(largest, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = largest
    return corrected


Rights = dict[tuple[str, str, str, float], Sequence[bool]]  # (attack, norm, region, ε) → which pictures stand


def compare(reference: str, first: Rights, others: Sequence[tuple[str, Rights]]) -> list[Comparison]:
    """Returns the comparisons of each of ``others`` with ``reference`` under every condition that both have."""
    found = [
        _pair(reference, first[key], name, rights[key], key)
        for name, rights in others
        for key in first
        if key in rights
    ]
    corrected = holm([comparison.p for comparison in found])
    return [dataclasses.replace(one, p_holm=p) for one, p in zip(found, corrected, strict=True)]


def _pair(
    reference: str, first: Sequence[bool], run: str, second: Sequence[bool], key: tuple[str, str, str, float]
) -> Comparison:
    pairs = list(zip(first, second, strict=True))
    lost, gained = pairs.count((True, False)), pairs.count((False, True))
    low, high = tango(gained, lost, len(pairs))
    attack, norm_, region, eps = key
    return Comparison(
        reference=reference,
        run=run,
        attack=attack,
        norm=norm_,
        region=region,
        eps=eps,
        both=pairs.count((True, True)),
        only_reference=lost,
        only_run=gained,
        neither=pairs.count((False, False)),
        difference=(gained - lost) / len(pairs),
        low=low,
        high=high,
        p=mcnemar(gained, lost),
    )


def write(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Writes comparisons as a JSON object, atomically."""
    files.write_json(path, {"comparisons": [dataclasses.asdict(comparison) for comparison in comparisons]})


def read(path: Path) -> list[Comparison]:
    """Returns the comparisons of a file.

    Raises:
        RunError: no such file, or not comparisons.
    """
    table = files.read_json(path, RunError, "make it with python -m core.evaluate RUN RUN … --comparisons FILE")
    if not isinstance(rows := table.get("comparisons"), list):
        raise RunError(f"{path}: expected a list of comparisons, got none; make it with python -m core.evaluate")
    return [config.build(Comparison, row, str(path)) for row in rows]


def lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns a table to print, accuracy differences in points."""
    head = "run  attack  norm  region  ε  difference in points [95 %]  only reference / only run right  p  p (Holm)"
    rows = [
        f"{c.run}  {c.attack}  {c.norm}  {c.region}  {c.eps:g}  {100 * c.difference:+.1f} [{100 * c.low:+.1f}, "
        f"{100 * c.high:+.1f}]  {c.only_reference} / {c.only_run}  {c.p:.2g}  {c.p_holm:.2g}"
        for c in comparisons
    ]
    reference = comparisons[0].reference if comparisons else "none"
    return [f"compared with {reference} on the same pictures", *aligned([head, *rows])]


def aligned(rows: Sequence[str]) -> list[str]:
    """Returns rows, whose cells two spaces part, with their cells below one another."""
    cells = [row.split("  ") for row in rows]
    widths = [max(len(row[column]) for row in cells if column < len(row)) for column in range(max(map(len, cells)))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]
