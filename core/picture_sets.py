"""Picture sets: the pictures that people annotate, named by source_id, as PNG files with a manifest. Torch-free.

``pictures.json`` (the record), ``pictures.jsonl`` (a row a picture) and ``png/<sha256[:2]>/<sha256>.png``; see
docs/annotation.md. Writer: ``python -m core.picture_set``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import config, files, pictures
from core.errors import ConfigError, DataError
from core.pictures import Pixels

SCHEMA_VERSION = 1
_HINT = "make the set again with python -m core.picture_set"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture of a set; ``sha256`` is that of its PNG file, sizes are in pixels."""

    source_id: str
    source_class: str
    sha256: str
    width: int
    height: int

    def __post_init__(self) -> None:
        check_id(self.source_id)
        if min(self.width, self.height) < 1:
            raise ConfigError(f"{self.source_id}: expected at least 1×1 pixel, got {self.width}×{self.height}; {_HINT}")


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """``pictures.json`` and the rows that it counts; ``sha256``, of ``pictures.jsonl``, names the set."""

    name: str
    classes: tuple[str, ...]
    sha256: str
    pictures: tuple[Picture, ...]


def check_id(source_id: str) -> None:
    """Refuses a source_id that cannot be a path below a folder.

    Raises:
        ConfigError: it is empty, absolute, or has parts that are empty, dots, or hold other than printable characters.
    """
    parts = source_id.split("/")
    if not source_id.isprintable() or "\\" in source_id or any(part in ("", ".", "..") for part in parts):
        raise ConfigError(f"source_id: expected <split>/<class>/<name>, got {source_id[:80]!r}; rename the picture")


def png_name(sha256: str) -> str:
    """Returns where a PNG lies in the set."""
    return f"png/{sha256[:2]}/{sha256}.png"


def write(directory: Path, classes: tuple[str, ...], named: Iterable[tuple[str, str, Pixels]]) -> PictureSet:
    """Writes a set of (source_id, class, pixels), one picture in memory at a time; the folder appears whole or not.

    Raises:
        DataError: no pictures, two of one name, or the folder is there already.
    """
    if directory.exists():
        raise DataError(f"{directory}: expected no such folder, found one; choose another --out or remove it")
    with files.atomic_directory(directory) as here:
        rows = {}
        for source_id, source_class, pixels in named:
            if source_id in rows:
                raise DataError(f"{directory}: expected names that differ, got {source_id!r} twice; rename one")
            rows[source_id] = _store(here, source_id, source_class, pixels)
        if not rows:
            raise DataError(f"{directory}: expected pictures, got none; see docs/data.md")
        files.write_text(here / "pictures.jsonl", "".join(row_text(row) for row in rows.values()))
        sha256 = files.sha256_file(here / "pictures.jsonl")
        files.write_json(here / "pictures.json", _record(directory.name, classes, tuple(rows.values()), sha256))
    return read(directory)


def read(directory: Path) -> PictureSet:
    """Returns a set, after checking that its manifest is the one that its record names; pictures are not read.

    Raises:
        DataError: it is absent, of another schema, or contradicts itself.
    """
    table = files.read_json(directory / "pictures.json", DataError, _HINT)
    manifest = directory / "pictures.jsonl"
    if table.get("schema_version") != SCHEMA_VERSION or not isinstance(table.get("classes"), list):
        raise DataError(f"{directory}: expected pictures.json of schema version {SCHEMA_VERSION}; {_HINT}")
    if not manifest.is_file() or files.sha256_file(manifest) != table.get("sha256"):
        raise DataError(f"{manifest}: expected the manifest that pictures.json names, it is absent or changed; {_HINT}")
    return PictureSet(
        name=str(table.get("name")),
        classes=tuple(map(str, table["classes"])),
        sha256=str(table["sha256"]),
        pictures=tuple(rows(manifest)),
    )


def rows(manifest: Path) -> Iterator[Picture]:
    """Yields the rows of a ``pictures.jsonl``.

    Raises:
        DataError: a line holds no picture.
    """
    with manifest.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield config.build(Picture, json.loads(line), f"{manifest}: line {number}")
            except (ConfigError, ValueError) as error:
                raise DataError(f"{manifest}: line {number}: expected a picture: {error}; {_HINT}") from None


def row_text(row: Picture) -> str:
    """Returns the line of a picture in a ``pictures.jsonl``."""
    return json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n"


def verify(directory: Path, update: Callable[[int], object] = lambda _: None) -> PictureSet:
    """Returns a set after reading every picture again; ``update`` is told of each.

    Raises:
        DataError: a picture is absent or changed, or has another size than its row says.
    """
    found = read(directory)
    for picture in found.pictures:
        file = directory / png_name(picture.sha256)
        if not file.is_file() or files.sha256_file(file) != picture.sha256:
            raise DataError(f"{file}: expected picture {picture.source_id}, it is absent or changed; {_HINT}")
        height, width = pictures.read(file).shape[:2]
        if (width, height) != (picture.width, picture.height):
            raise DataError(f"{file}: expected {picture.width}×{picture.height} pixels, got {width}×{height}; {_HINT}")
        update(1)
    return found


def _store(here: Path, source_id: str, source_class: str, pixels: Pixels) -> Picture:
    data = pictures.encode_png(pixels)
    sha256, (height, width) = files.sha256_bytes(data), pixels.shape[:2]
    try:
        row = Picture(source_id=source_id, source_class=source_class, sha256=sha256, width=width, height=height)
    except ConfigError as error:
        raise DataError(str(error)) from None
    path = here / png_name(sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return row


def _record(name: str, classes: tuple[str, ...], found: tuple[Picture, ...], sha256: str) -> dict[str, Any]:
    counts = {label: sum(row.source_class == label for row in found) for label in classes}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "classes": list(classes),
        "counts": {"pictures": len(found), "by_class": counts},
        "sha256": sha256,
    }
