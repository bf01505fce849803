"""Header cells of rows in a tagged PDF, which the Python package of typst 0.15 cannot ask for.

Typst marks the head of a table (``TH`` with the scope of columns) and every other cell as data; its
``pdf.header-cell`` stands behind a feature that the package has no switch for. So the structure tree is rewritten here:
a cell that names its row becomes ``TH`` with ``Scope/Row`` (ISO 32000-1, 14.8.5.7). Data cells then find both their
headers by scope, for which their own list, the head of the column alone, has to go. Nothing that is drawn changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

KIND = re.compile(rb"/Type/StructElem/S/(\w+)")
CHILDREN = re.compile(rb"/K ?\[([^\]]*)\]|/K (\d+) 0 R")
REFERENCE = re.compile(rb"(\d+) 0 R")
ROOT = re.compile(rb"/Type/StructTreeRoot\b")
HEADERS = re.compile(rb"<</O/Table/Headers\[[^\]]*\]>>")
Objects = dict[int, bytes]


def mark_row_heads(pdf: bytes, row_heads: Sequence[Sequence[bool]]) -> bytes:
    """Returns the PDF with the cells that name their row tagged as header cells.

    Args:
        pdf: as typst 0.15 writes it: every object in the open, one table of their places.
        row_heads: of each table in order, which of its columns name the row.

    Raises:
        ValueError: the PDF has another number of tables, or is built in another way.
    """
    objects, start = _objects(pdf)
    tables = [number for number in _elements(objects) if _kind(objects[number]) == b"Table"]
    if len(tables) != len(row_heads):
        raise ValueError(f"expected {len(row_heads)} tables in the PDF's structure tree, got {len(tables)}")
    for table, heads in zip(tables, row_heads, strict=True):
        for row in _below(objects, table, b"TBody"):
            for cell, is_head in zip(_children(objects[row]), heads, strict=False):
                objects[cell] = _as_head(objects[cell]) if is_head else HEADERS.sub(b"", objects[cell])
    return _written(pdf, objects, start)


def _objects(pdf: bytes) -> tuple[Objects, int]:
    """The text of each object by its number, and where their table begins."""
    found = re.search(rb"startxref\s+(\d+)\s+%%EOF\s*$", pdf)
    start = int(found[1]) if found else -1
    head = re.match(rb"xref\n0 (\d+)\n", pdf[start:]) if start > 0 else None
    if head is None:
        raise ValueError("expected a PDF with one plain table of objects, got another kind")
    entries = pdf[start + head.end() : start + head.end() + 20 * int(head[1])]
    places = {i: int(entries[20 * i : 20 * i + 10]) for i in range(int(head[1])) if entries[20 * i + 17] == ord("n")}
    order = sorted(places, key=places.__getitem__)
    ends = [places[number] for number in order[1:]] + [start]
    return {number: pdf[places[number] : end] for number, end in zip(order, ends, strict=True)}, start


def _kind(text: bytes) -> bytes:
    found = KIND.search(text[:200])
    return found[1] if found else b""


def _children(text: bytes) -> list[int]:
    found = CHILDREN.search(text)
    return [int(number) for number in REFERENCE.findall(found[0])] if found else []


def _elements(objects: Objects) -> Iterator[int]:
    """Yields the elements of the structure tree in the order in which they are read."""
    waiting = [number for number, text in objects.items() if ROOT.search(text[:400])]
    while waiting:
        number = waiting.pop()
        yield number
        waiting += [child for child in reversed(_children(objects[number])) if _kind(objects[child])]


def _below(objects: Objects, table: int, kind: bytes) -> Iterator[int]:
    for part in _children(objects[table]):
        if _kind(objects[part]) == kind:
            yield from _children(objects[part])


def _as_head(text: bytes) -> bytes:
    scoped = HEADERS.sub(b"<</O/Table/Scope/Row>>", text, count=1)
    if scoped == text:
        raise ValueError("expected a cell that lists its headers, got another kind")
    return scoped.replace(b"/S/TD", b"/S/TH", 1)


def _written(pdf: bytes, objects: Objects, start: int) -> bytes:
    """The file with its objects as they are now and a new table of their places."""
    first = pdf.index(next(iter(objects.values())))
    places, parts, place = {}, [pdf[:first]], first
    for number, text in objects.items():
        places[number] = place
        parts.append(text)
        place += len(text)
    moved = re.sub(rb"(?m)^\d{10}(?= \d{5} n)", _counted(places), pdf[start:])
    return b"".join(parts) + re.sub(rb"(startxref\s+)\d+", lambda found: found[1] + str(place).encode(), moved)


def _counted(places: dict[int, int]) -> Callable[[re.Match[bytes]], bytes]:
    order = iter(sorted(places))
    return lambda _: f"{places[next(order)]:010d}".encode()
