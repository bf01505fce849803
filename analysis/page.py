"""The report's page: results.json put into words, figures and tables by a template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.figures import STYLES, Picture
from analysis.tables import detection_rows

Row = dict[str, Any]
COMMON_EPS = 8.0  # where machines are compared if it was evaluated: the field's usual budget


def render(results: Row, pictures: list[Picture], manifest: Row, templates: Path) -> str:
    """Returns ``index.html``: one file without script and without anything to fetch."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    return environment.get_template("index.html").render(
        r=results,
        figures={picture.name: picture for picture in pictures},
        manifest=manifest,
        colours=dict(zip(results["source_models"], (style[0] for style in STYLES * 20), strict=False)),
        detection=detection_rows(results),
        compared=compared_eps(results),
        machine_at=machine_at,
        machine_eps=machine_eps(results),
    )


def compared_eps(results: Row) -> float | None:
    """Returns the ε at which the summary compares machines: 8 if all have it, else the middle one they share."""
    shared = [eps for eps in machine_eps(results) if all(machine_at(m, eps) for m in _evaluated(results))]
    positive = [eps for eps in shared if eps > 0]
    if not positive:
        return None
    return COMMON_EPS if COMMON_EPS in positive else positive[len(positive) // 2]


def machine_eps(results: Row) -> list[float]:
    """Returns every ε at which some source model was evaluated, with 0."""
    return sorted({0.0, *(row["eps"] for m in _evaluated(results) for row in m["machine"]["robust_accuracy"])})


def machine_at(model: Row, eps: float) -> Row | None:
    """Returns the machine's lowest accuracy at ε over attacks on the full picture, or ``None`` if not measured."""
    machine = model["machine"]
    if machine is None:
        return None
    if eps == 0:
        return {"attack": "", **machine["clean_accuracy"]}
    rows = [row for row in machine["robust_accuracy"] if row["eps"] == eps]
    rows = [row for row in rows if row["region"] == "full"] or rows
    return min(rows, key=lambda row: row["accuracy"], default=None)


def _evaluated(results: Row) -> list[Row]:
    return [model for model in results["source_models"].values() if model["machine"] is not None]


def number(value: float | None, digits: int = 2) -> str:
    """Returns a number with ``digits`` decimals and a true minus sign; a dash for none."""
    return "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def percent(share: float | None) -> str:
    """Returns a share as a percentage with one decimal."""
    return "–" if share is None else f"{100 * share:.1f} %"


def grey(eps: float | None) -> str:
    """Returns an estimated ε to three significant digits, trailing zeros kept."""
    return "–" if eps is None else f"{eps:#.3g}".rstrip(".")


def level(eps: float) -> str:
    """Returns a tested ε as short as it can be said."""
    return f"{eps:g}"


def plain_percent(share: float | None) -> str:
    """Returns a share in percent with one decimal, without the sign."""
    return "–" if share is None else f"{100 * share:.1f}"


def thousands(count: int) -> str:
    """Returns a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u202f")


def bracket(found: Row | None, form: Callable[[float | None], str] = number) -> str:
    """Returns ``estimate [low, high]``; an open bound says that it lies beyond the tested range."""
    if found is None or found["estimate"] is None:
        return "–"
    low = "below range" if found["low"] is None else form(found["low"])
    high = "above range" if found["high"] is None else form(found["high"])
    return f"{form(found['estimate'])} [{low}, {high}]"


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "percent": percent,
    "grey": grey,
    "level": level,
    "thousands": thousands,
    "ci": bracket,
    "ci_percent": lambda found: bracket(found, plain_percent),
    "ci_grey": lambda found: bracket(found, grey),
}
