"""Which map belongs to which picture, and which part of the original picture the data set shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from core.errors import DataError
from core.salience.scale import Common

Levels = NDArray[np.uint8]  # a map, [height, width], 255 = matters most
Size = tuple[int, int]  # width, height in pixels
Resize = Literal["bilinear", "nearest"]
_GREY = ("1", "L", "LA", "RGB", "RGBA")


@dataclass(frozen=True, kw_only=True)
class FromFiles(Common):
    """Settings of maps that lie in files, named by source_id.

    Attributes:
        path: the file or folder.
        extra: what to do with maps of pictures that the data set lacks: ``"refuse"`` them, since the name may be
            misspelt, or ``"ignore"`` them. Maps of another split (``test/…`` beside ``train/…``) are always ignored.
    """

    path: Path
    extra: Literal["refuse", "ignore"] = "refuse"


def check_names(settings: FromFiles, names: Collection[str], ids: Sequence[str]) -> None:
    """Refuses maps that belong to no picture.

    Raises:
        DataError: none of ``names`` is among ``ids``, or, unless extra maps are to be ignored, some are not.
    """
    pictures = set(ids)
    if pictures.isdisjoint(names):
        raise DataError(
            f"{settings.path}: expected maps of the pictures at hand, such as {ids[0]!r}, found none among "
            f"{len(names)}; name maps by source_id (<split>/<class>/<name>)"
        )
    splits = {name.partition("/")[0] for name in ids}
    strangers = sorted(name for name in names if name not in pictures and name.partition("/")[0] in splits)
    if strangers and settings.extra == "refuse":
        raise DataError(
            f"{settings.path}: expected source_ids of the data set, got {strangers[0]!r} ({len(strangers)} such); "
            "correct them, or set salience.extra = 'ignore' if these pictures are left out on purpose"
        )


def window(original: Size, shown: Size, where: str) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) of the part of an original that is shown at another size.

    All of it where the two sizes are equal; else its middle square, as data sets with a ``size`` cut it.

    Raises:
        DataError: the sizes differ and what is shown is no square.
    """
    if original == shown:
        return (0, 0, *original)
    if shown[0] != shown[1]:
        raise DataError(
            f"{where}: expected {shown[0]}×{shown[1]} pixels like its picture, got {original[0]}×{original[1]}; "
            "make the map anew, or set data.size"
        )
    side = min(original)
    left, top = (original[0] - side) // 2, (original[1] - side) // 2
    return left, top, left + side, top + side


def read_grey(file: Path, shown: Size, original: Size | None, resize: Resize) -> Levels:
    """Returns a grey picture as the map of a picture that is shown at size ``shown``; white = matters most.

    A map has the size of the picture as it is shown, or that of the original, whose middle square is then cut out and
    resized: ``"bilinear"`` (triangle filter, widened when shrinking, so antialiased) or ``"nearest"``.

    Args:
        file: PNG, 8 bits a channel or 1 bit; colours become their luma, transparency is not looked at.
        shown: (width, height) of the picture in the data set.
        original: (width, height) of the picture's file, if known; without it any size is taken for the original's.
        resize: how to resize.

    Raises:
        DataError: the file is absent, is no such picture, or has neither size.
    """
    image = _open_grey(file)
    if image.size not in (shown, original or image.size):
        raise DataError(
            f"{file}: expected {shown[0]}×{shown[1]} pixels like the picture in the data set, or "
            f"{original} like its file, got {image.width}×{image.height}; make the map anew"
        )
    box = window(image.size, shown, str(file))
    if image.size == shown:
        return np.asarray(image)
    filters = {"bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
    return np.asarray(image.crop(box).resize(shown, filters[resize]))


def _open_grey(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            if image.mode not in _GREY:
                raise DataError(
                    f"{file}: expected a map of 8-bit grey levels, got Pillow mode {image.mode!r}; save it as grey PNG"
                )
            return image.convert("L")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{file}: expected a map (grey PNG), could not read it: {error}; replace the file") from None
