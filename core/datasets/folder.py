"""Image folders: ``<path>/train/<class>/*`` and ``<path>/test/<class>/*``, PNG or JPEG."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from core.datasets.assembly import Wanted, folders_in, from_files, pictures_in, unpacked
from core.datasets.split import Dataset, Split
from core.errors import DataError

_JPEG = {".jpg", ".jpeg"}


def read_folder(path: Path, wanted: Wanted) -> Dataset:
    """Returns the pictures of an image folder; the first of each class by file name, if a number is given.

    Where files are JPEG the data set's name says so, since numbers from lossy copies differ from published ones.
    """
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a folder with train/<class>/ and test/<class>/, found none; for CIFAR-10 run "
            f"python -m core.datasets.cifar10 {path}, for pictures of your own set data.path"
        )
    dataset = _dataset(path, "test", wanted)
    lossy = any(file.suffix.lower() in _JPEG for file in (path / "test").rglob("*"))
    return dataclasses.replace(dataset, name=f"{path.name} (JPEG files)") if lossy else dataset


def read_imagenette(path: Path, wanted: Wanted) -> Dataset:
    """Returns Imagenette (Howard 2019): ``train/<wnid>/*`` and ``val/<wnid>/*``, the latter as test pictures."""
    remedy = "download imagenette2-160.tgz from https://github.com/fastai/imagenette and unpack it there"
    return _dataset(unpacked(path, "imagenette2-160", "val", remedy), "val", wanted)


def _dataset(path: Path, test: str, wanted: Wanted) -> Dataset:
    classes = tuple(folder.name for folder in folders_in(path / "train"))
    if classes != tuple(folder.name for folder in folders_in(path / test)):
        raise DataError(f"{path}: expected the same classes in train/ and {test}/; make their folders agree")
    return Dataset(
        name=path.name,
        classes=classes,
        train=_split("train", path / "train", classes, wanted),
        test=_split("test", path / test, classes, wanted),
    )


def _split(name: str, path: Path, classes: Sequence[str], wanted: Wanted) -> Split:
    files = [(label, file) for label, class_name in enumerate(classes) for file in pictures_in(path / class_name)]
    return from_files(name, classes, [label for label, _ in files], [file for _, file in files], wanted, path)
