"""Consensus maps of people's annotations: ``maps/<source_id>.png`` and ``annotations.json``; see docs/salience.md.

Schema version 1 is maps alone, version 2 the annotation set of docs/annotation.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core import files
from core.annotations import sets
from core.annotations.sets import maps_sha256
from core.errors import DataError
from core.salience.matching import FromFiles

SCHEMA_VERSION = 1
_HINT = "export the annotation study again"


@dataclass(frozen=True, kw_only=True)
class Annotations(FromFiles):
    """Settings of consensus maps: ``path`` of the folder with annotations.json."""

    source: Literal["annotations"] = "annotations"


def seal(path: Path) -> str:
    """Writes ``annotations.json`` over the maps in a folder; returns the SHA-256 of the set."""
    found = sorted((path / "maps").rglob("*.png"))
    maps = {file.relative_to(path / "maps").with_suffix("").as_posix(): files.sha256_file(file) for file in found}
    digest = maps_sha256(maps)
    files.write_json(path / "annotations.json", {"schema_version": SCHEMA_VERSION, "sha256": digest, "maps": maps})
    return digest


def read_annotations(path: Path) -> dict[str, Path]:
    """Returns the consensus map of each annotated picture, by source_id, after checking every file's hash.

    Raises:
        DataError: a file is absent or changed, or annotations.json is of another schema or does not fit itself.
    """
    maps = _listed(path)
    return {name: _checked(path / "maps" / f"{name}.png", sha256) for name, sha256 in maps.items()}


def set_sha256(path: Path) -> str:
    """Returns the SHA-256 that names the set in a folder: over its maps as they are listed."""
    return maps_sha256(_listed(path))


def _listed(path: Path) -> dict[str, str]:
    """Returns the SHA-256 of each map by source_id."""
    table = files.read_json(path / "annotations.json", DataError, _HINT)
    if table.get("schema_version") == sets.SCHEMA_VERSION:
        return _of_set(path)
    maps = table.get("maps")
    if table.get("schema_version") != SCHEMA_VERSION or not isinstance(maps, dict):
        raise DataError(f"{path}: expected annotations.json of schema version {SCHEMA_VERSION} with maps; {_HINT}")
    if maps_sha256(maps) != table.get("sha256"):
        raise DataError(f"{path}: expected the maps listed to have the set's sha256, they do not; {_HINT}")
    return maps


def _of_set(path: Path) -> dict[str, str]:
    record = sets.read_record(path)
    if record.consensus is None:
        raise DataError(
            f"{path}: expected consensus maps, found annotations alone; run python -m core.annotations consensus {path}"
        )
    return record.maps


def _checked(file: Path, sha256: str) -> Path:
    if not file.is_file() or files.sha256_file(file) != sha256:
        raise DataError(f"{file}: expected the map that annotations.json lists, it is absent or changed; {_HINT}")
    return file
