"""Bounding boxes: a CSV file, in pixels of the original pictures."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import DataError
from core.salience.matching import FromFiles, Levels, Size, window

_COLUMNS = ("source_id", "x", "y", "width", "height")
_SIZE_COLUMNS = ("picture_width", "picture_height")


@dataclass(frozen=True, kw_only=True)
class Boxes(FromFiles):
    """Settings of boxes: ``path`` of the CSV file."""

    source: Literal["boxes"] = "boxes"


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle in pixels of the original picture; ``x``, ``y`` is the outer corner of its first pixel.

    ``picture`` is the (width, height) of the original, if the file says it.
    """

    x: float
    y: float
    width: float
    height: float
    picture: Size | None = None


def read_boxes(path: Path) -> dict[str, tuple[Box, ...]]:
    """Returns the boxes of each picture that has any, by source_id.

    Columns: source_id, x, y, width, height, and optionally picture_width, picture_height; several rows a picture.

    Raises:
        DataError: no such file, a column is missing, or a row holds no box.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            rows = [(row["source_id"], _box(row, f"{path}: line {reader.line_num}")) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: expected a CSV file of boxes, could not read it: {error}; set salience.path"
        ) from None
    boxes: dict[str, tuple[Box, ...]] = {}
    for name, box in rows:
        boxes[name] = (*boxes.get(name, ()), box)
    return boxes


def filled(boxes: Sequence[Box], shown: Size, original: Size | None, where: str) -> Levels:
    """Returns a map that is 255 inside the boxes and 0 elsewhere, of a picture shown at size ``shown``.

    Boxes are cut at the border, moved and scaled as the picture was. A pixel is inside if its centre is: from the left
    and upper edge on, up to before the right and lower one. A box too small to hold a centre gets the one pixel in
    which its own centre lies; a box beyond what is shown gets none.

    Args:
        boxes: of one picture.
        shown: (width, height) of the picture in the data set.
        original: (width, height) of the picture's file; a box's own ``picture`` goes before it; without either, the
            boxes are taken for pixels of the picture as it is shown.
        where: what to call the picture in messages.

    Raises:
        DataError: a box lies outside its picture.
    """
    levels = np.zeros((shown[1], shown[0]), np.uint8)
    for box in boxes:
        size = box.picture or original or shown
        if box.x >= size[0] or box.y >= size[1] or box.x + box.width <= 0 or box.y + box.height <= 0:
            raise DataError(
                f"{where}: expected a box within {size[0]}×{size[1]} pixels, got x {box.x:g}, y {box.y:g}, width "
                f"{box.width:g}, height {box.height:g}; boxes are in pixels of the original picture, whose size is "
                "given by the columns picture_width and picture_height"
            )
        left, top, right, bottom = window(size, shown, where)
        columns = _inside(box.x - left, box.width, right - left, shown[0])
        rows = _inside(box.y - top, box.height, bottom - top, shown[1])
        levels[rows, columns] = 255
    return levels


def _inside(start: float, length: float, source: int, shown: int) -> slice:
    """Returns the pixels of one axis inside an interval of a window that is ``source`` long and shown as ``shown``."""
    low, high = max(0.0, start), min(float(source), start + length)
    if high <= low:
        return slice(0, 0)
    first, beyond = (math.ceil(edge * shown / source - 0.5) for edge in (low, high))
    if beyond > first:
        return slice(first, beyond)
    middle = math.floor((low + high) / 2 * shown / source)
    return slice(middle, middle + 1)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if missing := [name for name in _COLUMNS if name not in names]:
        raise DataError(f"{path}: expected the columns {', '.join(_COLUMNS)}, got none called {missing[0]!r}; add it")


def _box(row: dict[str, str], where: str) -> Box:
    try:
        x, y, width, height = (float(row[name]) for name in _COLUMNS[1:])
        sizes = [int(row[name]) for name in _SIZE_COLUMNS if row.get(name)]
    except (TypeError, ValueError):
        x, y, width, height, sizes = 0.0, 0.0, 0.0, 0.0, []
    usable = all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0
    if not usable or len(sizes) == 1 or min(sizes, default=1) < 1:
        raise DataError(
            f"{where}: expected numbers with width and height above 0, got {', '.join(map(str, row.values()))}; "
            "leave out pictures that have no box"
        )
    return Box(x=x, y=y, width=width, height=height, picture=(sizes[0], sizes[1]) if sizes else None)
