"""Splits out of files or arrays: pictures in the order of their classes, the first so many of each, of one size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from core import pictures, progress
from core.datasets.split import Split
from core.errors import DataError
from core.pictures import Pixels

SUFFIXES = {".png", ".jpg", ".jpeg"}
_SHOWN_FROM = 1000  # pictures: reading fewer takes a second or two


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How much of a data set is wanted, and at which size, as in ``core.datasets.Data``."""

    size: int | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None

    def per_class(self, split: str) -> int | None:
        """Returns how many pictures of a class are wanted at most; ``None``: all."""
        return self.train_per_class if split == "train" else self.test_per_class


def from_files(
    split: str, classes: Sequence[str], labels: Sequence[int], files: Sequence[Path], wanted: Wanted, where: Path
) -> Split:
    """Returns pictures that lie in a file each; the id is ``<split>/<class>/<file name without suffix>``.

    Args:
        split: ``"train"`` or ``"test"``.
        classes: their names.
        labels: of each file.
        files: in the order in which the first so many of a class are taken.
        wanted: how many, at which size.
        where: what to name in messages.

    Raises:
        DataError: a class without pictures, a label out of range, a file that cannot be read, two of one name, or
            sizes that differ.
    """
    order = _order(np.asarray(labels, dtype=np.int64), classes, wanted.per_class(split), where)
    ids = tuple(f"{split}/{classes[labels[index]]}/{files[index].stem}" for index in order)
    name, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise DataError(f"{where}: expected file names that differ, got {count} called {name!r}; rename all but one")
    return Split(
        pixels=torch.from_numpy(_read_all([files[index] for index in order], wanted.size, split)),
        labels=torch.tensor([labels[index] for index in order]),
        ids=ids,
    )


def from_arrays(
    split: str,
    classes: Sequence[str],
    labels: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    wanted: Wanted,
    where: Path,
) -> Split:
    """Returns pictures that lie in memory, [N, 3, H, W]; the id is ``<split>/<class>/<place among the N>``.

    Raises:
        DataError: a class without pictures, or a label out of range.
    """
    order = _order(labels, classes, wanted.per_class(split), where)
    chosen = np.ascontiguousarray(pixels[order])
    if wanted.size is not None and chosen.shape[2:] != (wanted.size, wanted.size):
        chosen = np.stack([square(picture.transpose(1, 2, 0), wanted.size).transpose(2, 0, 1) for picture in chosen])
    return Split(
        pixels=torch.from_numpy(chosen),
        labels=torch.from_numpy(labels[order]),
        ids=tuple(f"{split}/{classes[labels[index]]}/{index:05d}" for index in order),
    )


def pictures_in(folder: Path) -> list[Path]:
    """Returns the pictures in a folder, in order of their names.

    Raises:
        DataError: there are none.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [file for file in found if file.suffix.lower() in SUFFIXES]
    if not found:
        raise DataError(f"{folder}: expected PNG or JPEG pictures, found none; add some or remove the folder")
    return found


def folders_in(path: Path) -> list[Path]:
    """Returns the folders in a folder, one for each class, in order of their names.

    Raises:
        DataError: there are none.
    """
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []
    if not folders:
        raise DataError(f"{path}: expected a folder for each class, found none; see docs/data.md for the layout")
    return folders


def unpacked(path: Path, folder: str, marker: str, remedy: str) -> Path:
    """Returns where an archive was unpacked: ``path`` or ``path/folder``, whichever holds ``marker``.

    Raises:
        DataError: neither does; the message ends in ``remedy``.
    """
    for place in (path, path / folder):
        if (place / marker).exists():
            return place
    raise DataError(f"{path}: expected {marker} there or in {folder}/, found none; {remedy}")


def lines_of(file: Path) -> list[str]:
    """Returns the lines of a list that belongs to an archive.

    Raises:
        DataError: it is absent, or no text.
    """
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file}: expected this list of the archive, could not read it: {error}; unpack the archive again"
        ) from None


def square(pixels: Pixels, size: int) -> Pixels:
    """Returns the middle square of a picture ([height, width, 3]), resized to ``size`` × ``size`` pixels."""
    if pixels.shape[:2] == (size, size):
        return pixels
    image, side = Image.fromarray(pixels), min(pixels.shape[:2])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.crop(box).resize((size, size), Image.Resampling.LANCZOS))


def _order(labels: NDArray[np.int64], classes: Sequence[str], per_class: int | None, where: Path) -> list[int]:
    """Returns which pictures to take, class by class."""
    outside = labels[(labels < 0) | (labels >= len(classes))]
    if outside.size:
        raise DataError(
            f"{where}: expected labels from 0 to {len(classes) - 1}, got {outside[0]}; the files are damaged or of "
            "another data set"
        )
    order: list[int] = []
    for label, name in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if not members.size:
            raise DataError(f"{where}: expected pictures of class {name!r}, found none; unpack the archive again")
        order += members[:per_class].tolist()
    return order


def _read_all(files: Sequence[Path], size: int | None, split: str) -> NDArray[np.uint8]:
    """Returns the pictures as one array, [N, 3, H, W], each put in its place as soon as it is read."""
    height, width, _ = _read(files[0], size).shape
    pixels = np.empty((len(files), 3, height, width), np.uint8)

    def place(index: int) -> None:
        picture = _read(files[index], size)
        if picture.shape[:2] != (height, width):
            raise DataError(
                f"{files[index]}: expected {width}×{height} pixels like {files[0].name}, got "
                f"{picture.shape[1]}×{picture.shape[0]}; set data.size to have all resized"
            )
        pixels[index] = picture.transpose(2, 0, 1)

    shown = len(files) >= _SHOWN_FROM
    with ThreadPoolExecutor() as pool, progress.bar(f"read {split}", len(files), "pictures", shown=shown) as bar:
        for _ in pool.map(place, range(len(files))):
            bar.update()
    return pixels


def _read(file: Path, size: int | None) -> Pixels:
    if not file.is_file():
        raise DataError(f"{file}: expected a picture, found none; unpack the archive again")
    pixels = pictures.read(file)
    return pixels if size is None else square(pixels, size)
