"""``python -m core.datasets.cifar10 FOLDER``: CIFAR-10 (Krizhevsky 2009) as an image folder of PNG files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core import files, pictures, progress
from core.errors import DataError, exit_code
from core.torchvision_cpu import torchvision


def write_split(folder: Path, examples: Iterable[tuple[Any, int]], classes: Sequence[str], total: int) -> None:
    """Writes (picture, label) pairs as ``<folder>/<class>/NNNNN.png``; pictures are anything NumPy reads as RGB."""
    with progress.bar(f"write {folder.name}", total, "pictures") as bar:
        for index, (picture, label) in enumerate(examples):
            path = folder / classes[label] / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pictures.encode_png(np.asarray(picture, dtype=np.uint8)))
            bar.update()


def main(argv: Sequence[str] | None = None) -> int:
    """Downloads CIFAR-10 through torchvision and writes it as an image folder."""
    parser = argparse.ArgumentParser(prog="python -m core.datasets.cifar10", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write train/<class>/ and test/<class>/")
    parser.add_argument("--archive", type=Path, help="folder with torchvision's download, or where to put it")
    arguments = parser.parse_args(argv)
    if arguments.folder.exists():
        raise DataError(f"{arguments.folder}: exists already; remove it to make it again")
    archive = arguments.archive or arguments.folder.parent / "archive"
    with files.atomic_directory(arguments.folder) as folder:
        for name in ("train", "test"):
            split = _download(archive, train=name == "train")
            write_split(folder / name, split, split.classes, len(split))
    print(f"{arguments.folder}: 60,000 pictures of 10 classes")
    return 0


def _download(archive: Path, *, train: bool) -> Any:
    try:
        return torchvision().datasets.CIFAR10(archive, train=train, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"CIFAR-10 could not be downloaded to {archive}: {error}; put cifar-10-python.tar.gz there by hand, or "
            "unpack an image folder with train/<class>/ and test/<class>/ yourself"
        ) from None


if __name__ == "__main__":
    sys.exit(exit_code(main))
