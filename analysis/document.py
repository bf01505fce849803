"""The whole report as plain data: parts, sections and blocks in order, numbered once for page and PDF alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple

from analysis.blocks import Block, Figure, Paragraph, Section, Table

LONG = 14  # rows from which on a table is folded
WIDE = 106  # signs of a row from which on intervals stand under their estimates
UNMARKED = "method"  # a column whose words may equal the name of a source model and do not mean it
NUMBER = re.compile(r"[<>≥≤~]?\s?[−+-]?\d|–$|$")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Sections under one heading; the first part has none."""

    heading: str
    introduction: tuple[Paragraph, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report: ``lead`` is the line under its title."""

    title: str
    lead: str
    parts: tuple[Part, ...]

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections in order."""
        return tuple(section for part in self.parts for section in part.sections)


class Numbers(NamedTuple):
    """The next number of a figure and of a table; they run through the report."""

    figures: count[int]
    tables: count[int]


def outline(document: Document) -> Row:
    """Returns the document as JSON types, every cell in words: what page and PDF are made from."""
    numbers = Numbers(figures=count(1), tables=count(1))
    plain: Row = {
        "title": document.title,
        "lead": document.lead,
        "parts": [
            {
                "heading": part.heading,
                "introduction": [_paragraph(paragraph) for paragraph in part.introduction],
                "sections": [
                    {
                        "name": section.name,
                        "title": section.title,
                        "blocks": [_block(block, numbers) for block in section.blocks],
                    }
                    for section in part.sections
                ],
            }
            for part in document.parts
        ],
    }
    _link(plain)
    return plain


def _link(plain: Row) -> None:
    """Puts links, to a ``target`` and with the words of a ``label``, in place of the names that paragraphs refer to."""
    targets = _targets(plain)
    for part in plain["parts"]:
        for block in [*part["introduction"], *(each for section in part["sections"] for each in section["blocks"])]:
            if block["type"] == "paragraph":
                block["see"] = [link for name in block["see"] for link in targets.get(name, [])]


def _targets(plain: Row) -> dict[str, list[Row]]:
    """Returns where the figures, tables and sections of each name stand; a figure and its table may share a name."""
    found: dict[str, list[Row]] = {}
    for section in (section for part in plain["parts"] for section in part["sections"]):
        for block in section["blocks"]:
            for each in (block, block.get("table")):
                if each is not None and each["type"] != "paragraph":
                    label = f"{each['type'].capitalize()} {each['number']}"
                    found.setdefault(each["name"], []).append({"target": each["id"], "label": label})
        found[f"section:{section['name']}"] = [{"target": section["name"], "label": f"“{section['title']}”"}]
    return found


def tables(document: Document) -> Iterator[Table]:
    """Yields every table, those of figures with them, in order."""
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Table):
                yield block
            elif isinstance(block, Figure):
                yield block.table


def tables_of(plain: Row) -> Iterator[Row]:
    """Yields every table of an outline in the same order."""
    for part in plain["parts"]:
        for section in part["sections"]:
            for block in section["blocks"]:
                if block["type"] != "paragraph":
                    yield block if block["type"] == "table" else block["table"]


def figures(document: Document) -> Iterator[Figure]:
    """Yields every figure in order."""
    for section in document.sections:
        yield from (block for block in section.blocks if isinstance(block, Figure))


def _block(block: Block, numbers: Numbers) -> Row:
    match block:
        case Paragraph():
            return _paragraph(block)
        case Table():
            return _table(block, numbers)
        case Figure():
            return {
                "type": "figure", "id": f"figure-{block.name}", "number": next(numbers.figures), "name": block.name,
                "title": block.title,
                "description": block.description, "caption": block.caption, "svg": block.svg,
                "table": _table(block.table, numbers),
            }  # fmt: skip


def _paragraph(paragraph: Paragraph) -> Row:
    return {"type": "paragraph", "kind": paragraph.kind, "text": paragraph.text, "see": paragraph.see}


def _table(table: Table, numbers: Numbers) -> Row:
    cells = [[column.show(row).removeprefix("= ") for column in table.columns] for row in table.rows]
    return {
        "type": "table", "id": f"table-{table.name}", "number": next(numbers.tables), "name": table.name,
        "caption": table.caption,
        "head": [column.head for column in table.columns],
        "rows": cells,
        "row_heads": [column.row_head for column in table.columns],
        "marked": [column.head != UNMARKED for column in table.columns],
        "words": [column.row_head or _is_words(cells, index) for index, column in enumerate(table.columns)],
        "first": _group_starts([row[0] for row in cells]),
        "long": len(cells) > LONG,
        "wide": _signs(cells, [column.head for column in table.columns]) > WIDE,
    }  # fmt: skip


def _signs(cells: list[list[str]], heads: list[str]) -> int:
    """Returns how many signs the longest row would have; a head may break between its words."""
    widths = [max(map(len, head.split()), default=0) for head in heads]
    return sum(max([width, *(len(row[column]) for row in cells)]) + 2 for column, width in enumerate(widths))


def _group_starts(heads: list[str]) -> list[bool]:
    """Marks rows that start a group under a head of their own, where each head's rows stand together."""
    starts = [index > 0 and heads[index - 1] != head for index, head in enumerate(heads)]
    grouped = sum(starts) + 1 == len(set(heads)) < len(heads)
    return starts if grouped else [False] * len(heads)


def _is_words(cells: list[list[str]], column: int) -> bool:
    """Whether a column reads better from the left: most of its cells hold words rather than numbers."""
    texts = [row[column] for row in cells]
    written = [bool(re.search(r"[^\W\d_]{3,}", text)) or not NUMBER.match(text) for text in texts]
    return 2 * sum(written) > len(written)
