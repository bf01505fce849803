"""Evaluations as tables to read in a terminal. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from core.evaluation_comparisons import aligned
from core.evaluation_settings import UNITS
from core.runs import Accuracy, Evaluation, MinimalEps

_USUAL = 8.0  # grey levels; where the transfer matrix is shown if it was measured


def card_lines(card: Evaluation) -> list[str]:
    """Returns a run's evaluation: clean accuracy, then a table a norm with a row an attack on it and a column an ε."""
    clean = card.curve[0]
    vote = f", judged by the vote of {card.settings.votes} draws" if card.randomised else ""
    share = f"{_percent(clean.accuracy)} % [{_percent(clean.low)}, {_percent(clean.high)}]"
    lines = [f"{card.run}: {card.method}, {clean.pictures} test pictures{vote}; clean accuracy {share}"]
    for norm, unit in UNITS.items():
        rows = [row for row in card.curve if row.norm == norm and row.eps > 0 and row.access != "transfer"]
        lines += _table(rows, unit)
    lines += [_minimal(found) for found in card.minimal]
    return lines + [f"  warning: {finding.code}: {finding.message}" for finding in card.warnings]


def _table(rows: Sequence[Accuracy], unit: str) -> list[str]:
    if not rows:
        return []
    ladder = sorted({row.eps for row in rows})
    cells: dict[str, dict[float, Accuracy]] = {}
    for row in rows:
        cells.setdefault(_label(row), {})[row.eps] = row
    head = "  ".join([f"accuracy in % at ε ({unit})", *(f"{eps:g}" for eps in ladder)])
    body = [
        "  ".join([label, *(_percent(found[eps].accuracy) if eps in found else "–" for eps in ladder)])
        for label, found in cells.items()
    ]
    return [f"  {line}" for line in aligned([head, *body])]


def _label(row: Accuracy) -> str:
    access = "" if row.access == "full" else f", {row.access}"
    return f"{row.attack} ({row.norm}, {row.region}{access})"


def _minimal(found: MinimalEps) -> str:
    reached = sum(found.levels[1:-1])
    half, seen = None, 0
    for level, count in enumerate(found.levels[:-1]):
        seen += count
        if half is None and 2 * seen >= sum(found.levels):
            half = level
    middle = "above" if half is None else f"{half}"
    return (
        f"  least whole ε that fools, {found.attack} ({found.region}): median {middle}; {found.levels[0]} pictures "
        f"wrong unattacked, {reached} fooled by 1..{found.highest}, {found.levels[-1]} by none"
    )


def transfer_lines(cards: Sequence[Evaluation]) -> list[str]:
    """Returns the transfer matrix: a row a run that pictures were made against, a column a run that is judged."""
    lines = []
    names = [card.run for card in cards]
    for attack, norm, region, eps in _shown(cards):
        head = "  ".join([f"made against ↓, judged → {attack} ({norm}, {region}), ε = {eps:g} {UNITS[norm]}", *names])
        body = ["  ".join([name, *(_cell(card, name, attack, norm, region, eps) for card in cards)]) for name in names]
        lines += aligned([head, *body])
    return lines


def _shown(cards: Sequence[Evaluation]) -> list[tuple[str, str, str, float]]:
    """Returns the conditions to show: each once, at the usual ε or else the middle one of its ladder."""
    ladders: dict[tuple[str, str, str], set[float]] = {}
    for row in (row for card in cards for row in card.curve if row.access == "transfer"):
        ladders.setdefault((_plain(row.attack), row.norm, row.region), set()).add(row.eps)
    return [
        (*key, _USUAL if key[1] == "linf" and _USUAL in ladder else sorted(ladder)[len(ladder) // 2])
        for key, ladder in ladders.items()
    ]


def _cell(card: Evaluation, source: str, attack: str, norm: str, region: str, eps: float) -> str:
    found = [
        row.accuracy
        for row in card.curve
        if (row.source, row.norm, row.region, row.eps) == (source, norm, region, eps)
        and _plain(row.attack) == attack
        and row.access in ("full", "transfer")
    ]
    return _percent(found[0]) if found else "–"


def _plain(attack: str) -> str:
    """Returns an attack's name without the number of draws that it averages over."""
    return attack.partition("-eot")[0]


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
