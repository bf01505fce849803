"""Numbers in words, the same all through the report: a true minus sign, thin spaces, a dash for what is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

NONE = "–"
P_FLOOR = 0.001


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number with ``digits`` decimals and a true minus sign; a dash for none."""
    return NONE if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """Returns a share as a percentage with one decimal."""
    return NONE if share is None else f"{100 * share:.1f} %"


def plain_percent(share: float | None) -> str:
    """Returns a share in percent with one decimal, without the sign, for a column that says so."""
    return NONE if share is None else number(100 * share, 1)


def grey(eps: float | None) -> str:
    """Returns an estimated ε to three significant digits, trailing zeros kept."""
    return NONE if eps is None else f"{eps:#.3g}".rstrip(".")


def level(eps: float | None) -> str:
    """Returns a tested ε as short as it can be said."""
    return NONE if eps is None else f"{eps:g}"


def thousands(count: float) -> str:
    """Returns a count with thin spaces between thousands."""
    return f"{count:,.0f}".replace(",", "\u202f")


def p_value(p: float | None) -> str:
    """Returns ``= 0.032`` or ``< 0.001``, to stand after the letter p."""
    if p is None:
        return NONE
    return f"< {P_FLOOR:g}" if p < P_FLOOR else f"= {p:.3f}"


def bracket(found: Mapping[str, Any] | None, form: Callable[[float | None], str] = number) -> str:
    """Returns ``estimate [low, high]``; an open bound says that it lies beyond the tested range."""
    if found is None or found["estimate"] is None:
        return NONE
    low = "below range" if found["low"] is None else form(found["low"])
    high = "above range" if found["high"] is None else form(found["high"])
    return f"{form(found['estimate'])} [{low}, {high}]"


def plural(count: int, one: str, many: str = "") -> str:
    """Returns the count with its noun: ``1 picture``, ``2 pictures``."""
    return f"{thousands(count)} {one if count == 1 else many or one + 's'}"


def confidence(alpha: float) -> str:
    """Returns the level of intervals that go with tests at ``alpha``: ``95 %``."""
    return f"{100 * (1 - alpha):g} %"
