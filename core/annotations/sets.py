"""Annotation sets: what people painted, as a folder that the server writes and everything else reads. Torch-free.

``annotations.json`` (the record), ``pictures.jsonl``, ``annotations.jsonl``, ``masks/<source_id>/<annotator>.png``, and
once people's masks were brought together ``maps/``, ``binary/`` and the tables of agreement; see docs/annotation.md.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from core import config, files, picture_sets
from core.annotations.operations import parse_all
from core.annotations.raster import RULE, Mask, rasterise
from core.errors import ConfigError, DataError
from core.picture_sets import Picture, PictureSet

SCHEMA_VERSION = 2
KIND = "percepsilon annotations"
HINT = "export the annotation study again"
INPUTS = ("pictures.jsonl", "annotations.jsonl")  # the tables from which all the rest is made
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Outcome = Literal["regions", "none", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A row of ``annotations.jsonl``: one annotator's work on one picture.

    Attributes:
        annotator: a random id; a word of letters, digits, ``_``, ``.`` and ``-``.
        outcome: ``"regions"`` were painted, there is ``"none"``, or the picture was ``"skipped"``.
        gold: whether the picture is one whose regions are known, by which annotators are checked.
        practice: whether it was practice; then it does not count.
        review: what a reviewer said; an annotation that was ``"returned"`` does not count until it comes again.
        round: how many times it was submitted, from 1.
        seconds: active time; ``None`` where it is not known.
        mask_sha256: of the PNG; ``None`` where the picture was skipped.
        mask_pixels: painted pixels.
        operations: the record, as JSON objects; empty where the mask came from elsewhere.
    """

    annotation_id: str
    source_id: str
    source_class: str
    annotator: str
    outcome: Outcome
    skip_reason: str | None = None
    gold: bool = False
    practice: bool = False
    review: Literal["accepted", "pending", "returned"] | None = None
    round: int = 1
    seconds: float | None = None
    started_at: str | None = None
    submitted_at: str | None = None
    robot: bool = False
    mask_sha256: str | None = None
    mask_pixels: int = 0
    operations: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        picture_sets.check_id(self.source_id)
        if not _NAME.fullmatch(self.annotator):
            raise ConfigError(
                f"annotator: expected a word of letters, digits, '_', '.' and '-', got {self.annotator[:80]!r}"
            )

    @property
    def counts(self) -> bool:
        """Whether it enters consensus and agreement: neither practice, nor skipped, nor returned."""
        return not self.practice and self.outcome != "skipped" and self.review != "returned"


@dataclass(frozen=True, kw_only=True)
class SetRecord:
    """``annotations.json``.

    Attributes:
        task_sha256: of the task file that annotators worked by; ``None`` for imported masks.
        maps: SHA-256 of each consensus map's PNG by source_id; empty before consensus.
        sha256: names the set: over the lines ``<source_id> <sha256 of its map>`` (docs/salience.md).
        consensus: settings of the consensus; ``None`` before.
        tables: SHA-256 of each table by file name.
    """

    name: str
    task_sha256: str | None
    classes: tuple[str, ...]
    counts: dict[str, Any]
    raster_rule: str
    maps: dict[str, str]
    sha256: str
    consensus: dict[str, Any] | None
    tables: dict[str, str]


Drawn = tuple[Annotation, Mask | None]


def write(
    directory: Path,
    shown: PictureSet,
    drawn: Iterable[Drawn],
    *,
    task_sha256: str | None = None,
    pictures_from: Path | None = None,
) -> SetRecord:
    """Writes annotations with their masks, one in memory at a time; the folder appears whole or not at all.

    Args:
        directory: of the set; its name is the set's.
        shown: the pictures that could be annotated.
        drawn: annotations, those of one picture one after the other; ``mask_sha256`` and ``mask_pixels`` are filled in.
            Without a mask it is made of the operations.
        task_sha256: of the task file.
        pictures_from: a picture set whose PNG files are copied into the set, so that overlays can be drawn.

    Raises:
        DataError: an annotation names no such picture, comes twice or out of order, its operations are none, or its
            mask has another size than the picture; nothing is written.
    """
    if directory.exists():
        raise DataError(f"{directory}: expected no such folder, found one; choose another name or remove it")
    by_id = {picture.source_id: picture for picture in shown.pictures}
    with files.atomic_directory(directory) as here:
        files.write_text(here / "pictures.jsonl", "".join(map(picture_sets.row_text, shown.pictures)))
        counts = _write_rows(here, by_id, drawn)
        for picture in shown.pictures if pictures_from is not None else ():
            assert pictures_from is not None
            _copy(pictures_from / picture_sets.png_name(picture.sha256), here / picture_sets.png_name(picture.sha256))
        record = SetRecord(
            name=directory.name,
            task_sha256=task_sha256,
            classes=shown.classes,
            counts={"pictures": len(shown.pictures), **counts},
            raster_rule=RULE,
            maps={},
            sha256=maps_sha256({}),
            consensus=None,
            tables={name: files.sha256_file(here / name) for name in INPUTS},
        )
        write_record(here, record)
    return record


def write_record(directory: Path, record: SetRecord) -> None:
    """Writes ``annotations.json``, atomically."""
    head = {"schema_version": SCHEMA_VERSION, "kind": KIND}
    files.write_json(directory / "annotations.json", head | dataclasses.asdict(record))


def read_record(directory: Path) -> SetRecord:
    """Returns ``annotations.json`` of a set, after checking that pictures and annotations are those that it names.

    Raises:
        DataError: it is absent, of another schema, or a table is absent or changed.
    """
    path = directory / "annotations.json"
    table = files.read_json(path, DataError, HINT)
    if table.pop("schema_version", None) != SCHEMA_VERSION or table.pop("kind", None) != KIND:
        raise DataError(f"{path}: expected schema version {SCHEMA_VERSION} of {KIND!r}; {HINT}")
    try:
        record = config.build(SetRecord, {"task_sha256": None, "consensus": None} | table, str(path))
    except ConfigError as error:
        raise DataError(f"{error}; {HINT}") from None
    for name in INPUTS:
        path = directory / name
        if not path.is_file() or files.sha256_file(path) != record.tables.get(name):
            raise DataError(f"{path}: expected the table that annotations.json names, it is absent or changed; {HINT}")
    if maps_sha256(record.maps) != record.sha256:
        raise DataError(f"{path}: expected the maps listed to have the set's sha256, they do not; {HINT}")
    return record


def rows(directory: Path) -> Iterator[Annotation]:
    """Yields the rows of ``annotations.jsonl``, those of one picture one after the other.

    Raises:
        DataError: a line holds no annotation.
    """
    path = directory / "annotations.jsonl"
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield config.build(Annotation, json.loads(line), f"line {number}")
            except (ConfigError, ValueError) as error:
                raise DataError(f"{path}: line {number}: expected an annotation: {error}; {HINT}") from None


def by_picture(directory: Path) -> Iterator[tuple[str, list[Annotation]]]:
    """Yields each picture that has annotations which count, with those annotations by annotator."""
    for source_id, group in itertools.groupby(rows(directory), key=lambda row: row.source_id):
        if counted := sorted((row for row in group if row.counts), key=lambda row: row.annotator):
            yield source_id, counted


def mask_path(directory: Path, annotation: Annotation) -> Path:
    """Returns where the mask of an annotation lies."""
    return directory / "masks" / annotation.source_id / f"{annotation.annotator}.png"


def read_mask(directory: Path, annotation: Annotation, size: tuple[int, int]) -> Mask:
    """Returns the mask of an annotation, bool [height, width], after checking its hash and its size (width, height).

    Raises:
        DataError: it is absent, changed, no grey PNG or of another size.
    """
    path = mask_path(directory, annotation)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: expected the mask of an annotation, found none; {HINT}") from None
    if files.sha256_bytes(data) != annotation.mask_sha256:
        raise DataError(f"{path}: expected the mask that annotations.jsonl names, it was changed; {HINT}")
    return decode_mask(data, str(path), size)


def verify_mask(directory: Path, annotation: Annotation, picture: Picture) -> None:
    """Proves that the mask of an annotation is what its operations paint, and as large as its row says.

    Raises:
        DataError: it is not, or there is a mask of a picture that was skipped.
    """
    if annotation.outcome == "skipped":
        if annotation.mask_sha256 is not None or mask_path(directory, annotation).exists():
            raise DataError(f"{mask_path(directory, annotation)}: expected no mask of a skipped picture; {HINT}")
        return
    mask = read_mask(directory, annotation, (picture.width, picture.height))
    drawn = mask if annotation.outcome == "regions" and not annotation.operations else _mask(annotation, None, picture)
    if not np.array_equal(mask, drawn) or int(mask.sum()) != annotation.mask_pixels:
        raise DataError(f"{mask_path(directory, annotation)}: expected what its operations paint; {HINT}")


def decode_mask(data: bytes, where: str, size: tuple[int, int]) -> Mask:
    """Returns the mask in a grey or two-level PNG file's bytes: what is at least 128 is painted.

    Raises:
        DataError: it is no such file, or not of ``size`` (width, height).
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.size != size:
                raise DataError(
                    f"{where}: expected a mask of {size[0]}×{size[1]} pixels like its picture, got "
                    f"{image.width}×{image.height}; make the mask anew"
                )
            levels = np.asarray(image if image.mode == "L" else image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where}: expected a mask (grey PNG), could not read it: {error}; replace the file") from None
    return np.asarray(levels >= 128, dtype=np.bool_)


def encode_grey(levels: Any) -> bytes:
    """Returns the grey PNG file of levels (uint8, [height, width]); the same levels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def encode_mask(mask: Mask) -> bytes:
    """Returns the grey PNG file of a mask: 255 where it is painted, 0 elsewhere."""
    return encode_grey(mask.astype(np.uint8) * np.uint8(255))


def maps_sha256(maps: Mapping[str, str]) -> str:
    """Returns the SHA-256 over the lines ``<source_id> <sha256 of its PNG>``, sorted, each ended by a line feed."""
    return files.sha256_bytes("".join(f"{name} {sha256}\n" for name, sha256 in sorted(maps.items())).encode())


def _write_rows(here: Path, by_id: Mapping[str, Picture], drawn: Iterable[Drawn]) -> dict[str, Any]:
    """Writes masks and rows; returns their counts."""
    seen: set[str] = set()
    annotators: set[str] = set()
    outcomes = dict.fromkeys(("regions", "none", "skipped"), 0)
    current: str | None = None
    with (here / "annotations.jsonl").open("w", encoding="utf-8") as file:
        for annotation, mask in drawn:
            if annotation.source_id != current:
                current = annotation.source_id
                _check_picture(annotation, by_id, seen)
            row = _with_mask(here, annotation, mask, by_id[current])
            values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
            file.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
            annotators.add(row.annotator)
            outcomes[row.outcome] += 1
    return {"annotated": len(seen), "annotators": len(annotators), "annotations": sum(outcomes.values()), **outcomes}


def _check_picture(annotation: Annotation, by_id: Mapping[str, Picture], seen: set[str]) -> None:
    name = annotation.source_id
    if name not in by_id:
        raise DataError(f"annotation {annotation.annotation_id}: expected a picture of the set, got {name!r}; name one")
    if name in seen:
        raise DataError(f"{name}: expected its annotations one after the other, got them apart; sort them by source_id")
    seen.add(name)


def _with_mask(here: Path, annotation: Annotation, mask: Mask | None, picture: Picture) -> Annotation:
    """Writes the mask of an annotation and returns the row that names it."""
    if annotation.source_class != picture.source_class:
        raise DataError(
            f"annotation {annotation.annotation_id}: expected class {picture.source_class!r} of "
            f"{picture.source_id}, got {annotation.source_class!r}; correct it"
        )
    if annotation.outcome == "skipped":
        return dataclasses.replace(annotation, mask_sha256=None, mask_pixels=0)
    mask = _mask(annotation, mask, picture)
    path, data = mask_path(here, annotation), encode_mask(mask)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise DataError(
            f"{annotation.source_id}: expected one annotation an annotator, got two of {annotation.annotator!r}; "
            "keep one"
        )
    path.write_bytes(data)
    return dataclasses.replace(annotation, mask_sha256=files.sha256_bytes(data), mask_pixels=int(mask.sum()))


def _mask(annotation: Annotation, mask: Mask | None, picture: Picture) -> Mask:
    size = (picture.height, picture.width)
    if annotation.outcome == "none":
        return np.zeros(size, dtype=np.bool_)
    if mask is None:
        try:
            operations = parse_all(annotation.operations, picture.width, picture.height)
        except DataError as error:
            raise DataError(f"annotation {annotation.annotation_id}: {error}") from None
        return rasterise(operations, picture.width, picture.height)
    if mask.shape != size:
        raise DataError(
            f"annotation {annotation.annotation_id}: expected a mask of {size[1]}×{size[0]} pixels like "
            f"{picture.source_id}, got {mask.shape[1]}×{mask.shape[0]}; make it anew"
        )
    return mask


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_file():
        raise DataError(f"{source}: expected a picture of the picture set, found none; make the set again")
    shutil.copyfile(source, target)
