"""What a report is made of. A section computes its numbers once; page, PDF, LaTeX and CSV are made from its blocks.

A section's module has one function ``section(study) -> Section``, a pure function of ``analysis.study.Study``. What the
data cannot answer is a ``Paragraph`` of kind ``refusal`` that says why, never a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Plain text. ``result`` says what was found, ``note`` what to keep in mind, ``refusal`` what cannot be said.

    ``see`` names the figures, tables and sections that the text rests on; page and PDF link to those that are there.
    """

    text: str
    kind: Literal["text", "result", "note", "refusal"] = "text"
    see: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table: ``show`` puts a whole row into words; ``row_head`` marks what names the row."""

    head: str
    show: Callable[[Row], str]
    row_head: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows at full precision (JSON types), which go to ``tables/<name>.csv``, and how to show them."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, ``figures/<name>.svg``, whose ``description`` (alternative text) is made from its numbers.

    ``table`` holds what is plotted and stands right below it.
    """

    name: str
    title: str
    description: str
    caption: str
    svg: str
    table: Table


Block = Paragraph | Table | Figure


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one analysis that a plan can name (``contrast:sip-at/standard``), in one whole sentence.

    The report puts findings that the plan names under its confirmatory heading; the others stay in their section. So
    ``text`` says estimate, interval, statistic with degrees of freedom, p and effect size, or what cannot be said.
    """

    analysis: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section: ``results`` (JSON types) goes into ``results.json`` under ``name``.

    ``methods`` is what was really done, in whole sentences, for the methods paragraph; empty where nothing was.
    ``findings`` are the outcomes that a plan can name.
    """

    name: str
    title: str
    results: dict[str, Any]
    blocks: tuple[Block, ...]
    methods: str = ""
    findings: tuple[Finding, ...] = ()
