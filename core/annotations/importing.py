"""Masks and boxes made elsewhere, as an annotation set: PNG folders, CSV boxes, COCO and Label Studio's brush.

Everything is read and checked before anything gets its name: a mask of the wrong size, an unknown picture or an unknown
class is refused, and nothing is written. There are no operations then; the masks are the record.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from core import files, picture_sets
from core.annotations import rle, sets
from core.annotations.operations import Box, Polygon
from core.annotations.raster import Mask, rasterise
from core.annotations.sets import Annotation, Drawn, SetRecord
from core.errors import ConfigError, DataError
from core.picture_sets import Picture

Form = Literal["masks", "boxes", "coco", "label-studio"]
_BOX_COLUMNS = ("source_id", "x", "y", "width", "height")
_IMPORTED = "imported"  # the annotator, where the files name none
_HINT = "correct the file, or make the picture set of the same pictures"
Pictures = Mapping[str, Picture]
Regions = dict[tuple[str, str], Mask]  # by source_id and annotator


def read_in(form: Form, path: Path, shown: Path, out: Path) -> SetRecord:
    """Writes the annotation set ``out`` of masks made elsewhere.

    Args:
        form: ``"masks"``: ``<path>/<source_id>.png``, or ``<path>/<annotator>/<source_id>.png`` of several people;
            ``"boxes"``: a CSV file as in docs/salience.md, with an optional column ``annotator``; ``"coco"``: instances
            with RLE or polygons; ``"label-studio"``: a JSON export with brush regions.
        path: of the file or folder.
        shown: directory of the picture set.
        out: of the annotation set.

    Raises:
        DataError: the file is none, names a picture or a class that the set lacks, or a mask has another size.
    """
    found = picture_sets.read(shown)
    by_id = {picture.source_id: picture for picture in found.pictures}
    readers: dict[Form, Callable[[Path, Pictures], Iterator[Drawn]]] = {
        "masks": _masks,
        "boxes": lambda file, known: _drawn(_boxes(file, known), known),
        "coco": lambda file, known: _drawn(_coco(file, known, found.classes), known),
        "label-studio": lambda file, known: _drawn(_label_studio(file, known), known),
    }
    return sets.write(out, found, readers[form](path, by_id), pictures_from=shown)


def _masks(path: Path, shown: Pictures) -> Iterator[Drawn]:
    """Yields the masks of a folder, one in memory at a time."""
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder of PNG masks, found none; name one")
    named: dict[str, list[tuple[str, Path]]] = {}
    for file in sorted(path.rglob("*.png")):
        name = file.relative_to(path).with_suffix("").as_posix()
        annotator, _, rest = name.partition("/")
        source_id, annotator = (name, _IMPORTED) if name in shown else (rest, annotator)
        _known(source_id, shown, str(file))
        named.setdefault(source_id, []).append((annotator, file))
    if not named:
        raise DataError(f"{path}: expected PNG masks named by source_id, found none; see docs/annotation.md")
    for source_id, each in sorted(named.items()):
        picture = shown[source_id]
        for annotator, file in each:
            mask = sets.decode_mask(file.read_bytes(), str(file), (picture.width, picture.height))
            yield _annotation(picture, annotator, mask), mask


def _drawn(regions: Regions, shown: Pictures) -> Iterator[Drawn]:
    for (source_id, annotator), mask in sorted(regions.items(), key=lambda item: item[0]):
        yield _annotation(shown[source_id], annotator, mask), mask


def _annotation(picture: Picture, annotator: str, mask: Mask) -> Annotation:
    try:
        return Annotation(
            annotation_id=f"{picture.source_id}/{annotator}",
            source_id=picture.source_id,
            source_class=picture.source_class,
            annotator=annotator,
            outcome="regions" if mask.any() else "none",
        )
    except ConfigError as error:
        raise DataError(f"{picture.source_id}: {error}; rename it") from None


def _known(source_id: str, shown: Pictures, where: str) -> Picture:
    if source_id not in shown:
        raise DataError(f"{where}: expected a picture of the picture set, got {source_id!r}; {_HINT}")
    return shown[source_id]


def _add(regions: Regions, picture: Picture, annotator: str, mask: Mask) -> None:
    """Joins the regions of one annotator on one picture."""
    key = (picture.source_id, annotator)
    regions[key] = regions[key] | mask if key in regions else mask


def _boxes(path: Path, shown: Pictures) -> Regions:
    regions: Regions = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in _BOX_COLUMNS if name not in (reader.fieldnames or ())]:
                raise DataError(
                    f"{path}: expected the columns {', '.join(_BOX_COLUMNS)}, got none called {missing[0]!r}"
                )
            for row in reader:
                where = f"{path}: line {reader.line_num}"
                picture = _known(row["source_id"], shown, where)
                _add(regions, picture, row.get("annotator") or _IMPORTED, _box(row, picture, where))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: expected a CSV file of boxes, could not read it: {error}; name another") from None
    return regions


def _box(row: Mapping[str, str], picture: Picture, where: str) -> Mask:
    try:
        x, y, width, height = (float(row[name]) for name in _BOX_COLUMNS[1:])
    except (TypeError, ValueError):
        x = y = width = height = math.nan
    stated = (row.get("picture_width") or picture.width, row.get("picture_height") or picture.height)
    if tuple(map(str, stated)) != (str(picture.width), str(picture.height)):
        raise DataError(
            f"{where}: expected boxes in pixels of the picture of {picture.width}×{picture.height} pixels, got ones of "
            f"{stated[0]}×{stated[1]}; {_HINT}"
        )
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise DataError(
            f"{where}: expected numbers with width and height above 0, got {list(row.values())}; correct it"
        )
    if x >= picture.width or y >= picture.height or x + width <= 0 or y + height <= 0:
        raise DataError(f"{where}: expected a box within {picture.width}×{picture.height} pixels, got x {x:g}, y {y:g}")
    corners = np.asarray([[x, y, 0], [x + width, y + height, 0]])
    return rasterise([Box(mode="add", points=corners)], picture.width, picture.height)


def _coco(path: Path, shown: Pictures, classes: tuple[str, ...]) -> Regions:
    table = files.read_json(path, DataError, "give a COCO file of instances")
    if not all(isinstance(table.get(name), list) for name in ("images", "annotations", "categories")):
        raise DataError(f"{path}: expected the lists images, annotations and categories; give a COCO file of instances")
    try:
        images = {image["id"]: _coco_picture(image, shown, str(path)) for image in table["images"]}
        categories = {category["id"]: str(category["name"]) for category in table["categories"]}
        regions: Regions = {}
        for entry in table["annotations"]:
            if entry.get("kind") == "consensus":  # of our own files: made of the others
                continue
            where = f"{path}: annotation {entry['id']}"
            picture, label = images.get(entry["image_id"]), categories.get(entry["category_id"])
            if picture is None:
                raise DataError(f"{where}: expected an image of the file, got {entry['image_id']!r}; correct the file")
            if label != picture.source_class:
                raise DataError(
                    f"{where}: expected the picture's class {picture.source_class!r}, got {label!r}; the set's classes "
                    f"are {', '.join(classes)}"
                )
            annotator = str(entry.get("annotator", _IMPORTED))
            _add(regions, picture, annotator, _segment(entry["segmentation"], picture, where))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected a COCO file of instances, an entry lacks something: {error!r}") from None
    return regions


def _coco_picture(image: Mapping[str, Any], shown: Pictures, where: str) -> Picture:
    picture = _known(re.sub(r"\.(png|jpe?g)$", "", str(image["file_name"]), flags=re.IGNORECASE), shown, where)
    _same_size((image["width"], image["height"]), picture, f"{where}: image {image['id']}")
    return picture


def _same_size(size: tuple[Any, Any], picture: Picture, where: str) -> None:
    if size != (picture.width, picture.height):
        raise DataError(
            f"{where}: expected {picture.width}×{picture.height} pixels like {picture.source_id}, got "
            f"{size[0]}×{size[1]}; {_HINT}"
        )


def _segment(value: Any, picture: Picture, where: str) -> Mask:
    """Returns the mask of a ``segmentation``: RLE, as text or as counts, or polygons, each filled by our own rule."""
    if isinstance(value, Mapping):
        height, width = value["size"]
        _same_size((width, height), picture, where)
        counts = value["counts"]
        try:
            return rle.mask_of(rle.counts_of_text(counts) if isinstance(counts, str) else counts, width, height)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    mask = np.zeros((picture.height, picture.width), dtype=np.bool_)
    for line in value:
        points = np.asarray(line, dtype=np.float64).reshape(-1) if isinstance(line, list) else np.zeros(0)
        if len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise DataError(
                f"{where}: expected RLE or polygons of x, y, x, y, …, got {str(line)[:40]!r}; correct the file"
            )
        corners = np.column_stack([points.reshape(-1, 2), np.zeros(len(points) // 2)])
        mask |= rasterise([Polygon(mode="add", points=corners)], picture.width, picture.height)
    return mask


def _label_studio(path: Path, shown: Pictures) -> Regions:
    """Returns the brush regions of a JSON export; a task's ``data.source_id`` names the picture, or its file does."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        regions: Regions = {}
        for task in tasks:
            picture = _task_picture(task, shown, f"{path}: task {task.get('id')}")
            for annotation in task["annotations"]:
                annotator = re.sub(r"[^A-Za-z0-9_.-]", "-", f"annotator-{annotation.get('completed_by', 1)}")[:64]
                _add(regions, picture, annotator, np.zeros((picture.height, picture.width), dtype=np.bool_))
                for region in annotation["result"]:
                    if "rle" in region.get("value", {}):
                        _add(regions, picture, annotator, _brush(region, picture, f"{path}: region {region.get('id')}"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: expected Label Studio's JSON export, could not read it: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected Label Studio's JSON export, a task lacks something: {error!r}") from None
    return regions


def _brush(region: Mapping[str, Any], picture: Picture, where: str) -> Mask:
    _same_size((region["original_width"], region["original_height"]), picture, where)
    try:
        return rle.brush_of(region["value"]["rle"], picture.width, picture.height)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _task_picture(task: Mapping[str, Any], shown: Pictures, where: str) -> Picture:
    """Returns the picture of a task: by ``source_id``, else by the end of the address of its image."""
    data = task["data"]
    if "source_id" in data:
        return _known(str(data["source_id"]), shown, where)
    address = re.sub(r"\.(png|jpe?g)$", "", str(data.get("image", "")), flags=re.IGNORECASE)
    fitting = [name for name in shown if address == name or address.endswith(f"/{name}")]
    return _known(fitting[0] if len(fitting) == 1 else address, shown, where)
