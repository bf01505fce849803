"""The salience maps that a run keeps in ``salience/``, read without torch: what training used, picture by picture."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import files
from core.errors import RunError

_HINT = "train the run again"


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptMaps:
    """Maps of one source.

    Attributes:
        name: of their folder, ``<source>-<hash of the inputs>``: equal names, equal maps.
        source: how they were made, such as ``"spectral-residual"``.
        inputs: all that decided them.
        levels: of each picture that has a map, uint8 [height, width], by source_id; 255 = matters most.
    """

    name: str
    source: str
    inputs: dict[str, Any]
    levels: dict[str, NDArray[np.uint8]]


def read(run: Path) -> Iterator[KeptMaps]:
    """Yields the sets of maps in a run directory, by name; none where the run was trained without.

    Raises:
        RunError: a file is absent, changed, or from before maps were kept with the names of their pictures.
    """
    for manifest in sorted((run / "salience").glob("*/manifest.json")):
        table = files.read_json(manifest, RunError, _HINT)
        path = manifest.with_name("maps.npz")
        if not path.is_file() or files.sha256_file(path) != table.get("maps_sha256"):
            raise RunError(f"{path}: expected the maps that manifest.json lists, they are absent or changed; {_HINT}")
        inputs = dict(table["inputs"])
        yield KeptMaps(name=manifest.parent.name, source=str(inputs["source"]), inputs=inputs, levels=_levels(path))


def _levels(path: Path) -> dict[str, NDArray[np.uint8]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            levels, annotated, ids = arrays["levels"], arrays["annotated"], arrays["ids"]
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: expected levels, annotated and ids, could not read them: {error}; {_HINT}") from None
    return {str(name): level[0] for name, level, has in zip(ids, levels, annotated, strict=True) if has}
