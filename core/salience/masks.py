"""Masks: a folder of grey PNG files, white where the picture matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import DataError
from core.salience.matching import FromFiles, Resize, check_names


@dataclass(frozen=True, kw_only=True)
class Masks(FromFiles):
    """Settings of masks.

    Attributes:
        match: ``"source-id"``: the mask of ``train/cat/7`` is ``<path>/train/cat/7.png``; ``"stem"``: it is any file
            below ``path`` called ``7.png``, for data whose file names are unique, such as CUB-200-2011; extra files
            are then ignored.
        resize: how a mask of another size than the picture's is resized.
    """

    source: Literal["masks"] = "masks"
    match: Literal["source-id", "stem"] = "source-id"
    resize: Resize = "bilinear"


def mask_files(masks: Masks, ids: Sequence[str]) -> dict[str, Path]:
    """Returns the mask of each picture that has one, by source_id.

    Raises:
        DataError: no such folder, no mask fits a picture, a name fits no picture, or a stem fits several.
    """
    if not masks.path.is_dir():
        raise DataError(f"{masks.path}: expected a folder of masks, found none; set salience.path")
    files = sorted(masks.path.rglob("*.png"))
    if masks.match == "stem":
        return _by_stem(masks, files, ids)
    named = {file.relative_to(masks.path).with_suffix("").as_posix(): file for file in files}
    check_names(masks, named, ids)
    return {name: named[name] for name in ids if name in named}


def _by_stem(masks: Masks, files: Sequence[Path], ids: Sequence[str]) -> dict[str, Path]:
    pictures = _unique([(name.rpartition("/")[2], name) for name in ids], masks.path)
    found = _unique([(file.stem, str(file)) for file in files if file.stem in pictures], masks.path)
    check_names(masks, [pictures[stem] for stem in found], ids)
    return {pictures[stem]: Path(file) for stem, file in found.items()}


def _unique(pairs: Sequence[tuple[str, str]], path: Path) -> dict[str, str]:
    unique: dict[str, str] = {}
    for stem, name in pairs:
        if stem in unique:
            raise DataError(
                f"{path}: expected names that are unique, got {unique[stem]!r} and {name!r}; name masks by source_id "
                "and set salience.match = 'source-id'"
            )
        unique[stem] = name
    return unique
