"""Image folders: ``<path>/train/<class>/*`` and ``<path>/test/<class>/*``, PNG or JPEG."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from core import pictures
from core.datasets.split import Dataset, Split
from core.errors import DataError
from core.pictures import Pixels

_SUFFIXES = {".png", ".jpg", ".jpeg"}


def read_folder(path: Path, size: int | None, train_per_class: int | None, test_per_class: int | None) -> Dataset:
    """Returns the pictures of an image folder; the first of each class by file name, if a number is given."""
    if not path.is_dir():
        raise DataError(
            f"{path}: expected a folder with train/<class>/ and test/<class>/, found none; for CIFAR-10 run "
            f"python -m core.datasets.cifar10 {path}, for pictures of your own set data.path"
        )
    classes = tuple(folder.name for folder in _folders(path / "train"))
    if classes != tuple(folder.name for folder in _folders(path / "test")):
        raise DataError(f"{path}: expected the same classes in train/ and test/; make their folders agree")
    return Dataset(
        name=path.name,
        classes=classes,
        train=_split(path / "train", classes, size, train_per_class),
        test=_split(path / "test", classes, size, test_per_class),
    )


def _folders(path: Path) -> list[Path]:
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir()) if path.is_dir() else []
    if not folders:
        raise DataError(f"{path}: expected a folder for each class, found none; see docs/data.md for the layout")
    return folders


def _split(path: Path, classes: tuple[str, ...], size: int | None, per_class: int | None) -> Split:
    files = [(label, file) for label, name in enumerate(classes) for file in _pictures(path / name)[:per_class]]
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda item: _read(item[1], size), files))
    return Split(
        pixels=_stack(pixels, [file for _, file in files]),
        labels=torch.tensor([label for label, _ in files]),
        ids=tuple(f"{path.name}/{file.parent.name}/{file.stem}" for _, file in files),
    )


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise DataError(f"{folder}: expected PNG or JPEG pictures, found none; add some or remove the folder")
    return found


def _read(file: Path, size: int | None) -> Pixels:
    pixels = pictures.read(file)
    if size is None or pixels.shape[:2] == (size, size):
        return pixels
    image, side = Image.fromarray(pixels), min(pixels.shape[:2])
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))


def _stack(pixels: list[Pixels], files: list[Path]) -> torch.Tensor:
    for picture, file in zip(pixels, files, strict=True):
        if picture.shape != pixels[0].shape:
            raise DataError(
                f"{file}: expected {pixels[0].shape[1]}×{pixels[0].shape[0]} pixels like {files[0].name}, got "
                f"{picture.shape[1]}×{picture.shape[0]}; set data.size to have all resized"
            )
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous()
