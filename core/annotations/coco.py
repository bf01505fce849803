"""``coco.json``: masks and consensus as COCO annotations, written entry by entry, whatever their number."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from core.annotations import rle
from core.annotations.raster import Mask
from core.picture_sets import Picture


class CocoFile:
    """A file under way, which gives each annotation the next number."""

    def __init__(self, write: Any, images: Mapping[str, int], categories: Mapping[str, int]) -> None:
        self._write, self._images, self._categories, self._count = write, images, categories, 0

    def add(self, picture: Picture, mask: Mask, shared: int, **more: Any) -> None:
        """Adds the mask of a picture, of ``shared`` painted pixels, with more keys of our own."""
        self._count += 1
        entry = {
            "id": self._count,
            "image_id": self._images[picture.source_id],
            "category_id": self._categories[picture.source_class],
            "segmentation": rle.segmentation(mask),
            "area": shared,
            "bbox": _box(mask),
            "iscrowd": 1,
            **more,
        }
        self._write((",\n" if self._count > 1 else "\n") + json.dumps(entry, ensure_ascii=False))


@contextmanager
def opened(path: Path, name: str, classes: Iterable[str], shown: Mapping[str, Picture]) -> Iterator[CocoFile]:
    """Yields a file whose images and categories are written, and that is closed when the block ends."""
    images = {source_id: place for place, source_id in enumerate(shown, start=1)}
    categories = {label: place for place, label in enumerate(classes, start=1)}
    with path.open("w", encoding="utf-8") as file:
        file.write(
            f'{{"info": {json.dumps({"description": name}, ensure_ascii=False)},\n"licenses": [],\n"categories": '
        )
        file.write(
            json.dumps([{"id": place, "name": label} for label, place in categories.items()], ensure_ascii=False)
        )
        file.write(',\n"images": [')
        for source_id, place in images.items():
            file.write((",\n" if place > 1 else "\n") + json.dumps(_image(shown[source_id], place), ensure_ascii=False))
        file.write('\n],\n"annotations": [')
        yield CocoFile(file.write, images, categories)
        file.write("\n]}\n")


def _image(picture: Picture, place: int) -> dict[str, Any]:
    return {
        "id": place,
        "file_name": f"{picture.source_id}.png",
        "width": picture.width,
        "height": picture.height,
        "sha256": picture.sha256,
    }


def _box(mask: Mask) -> list[int]:
    """Returns x, y, width and height of the smallest box around the painted pixels; all zero without any."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0, 0, 0, 0]
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]
