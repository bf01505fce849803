"""The report's page: the outline of the document put into one HTML file by a template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.drawing import inline, style

Row = dict[str, Any]


def render(outline: Row, results: Row, templates: Path) -> str:
    """Returns ``index.html``: one file without script and without anything to fetch."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = inline
    return environment.get_template("index.html").render(
        report=outline,
        colours={name: style(index).colour for index, name in enumerate(results["source_models"])},
    )
