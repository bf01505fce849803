"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary version: records of labels and 3 × 32 × 32 bytes.

The "python version" of the same archives holds pickles, which run code when they are read; it is not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.datasets.assembly import Wanted, from_arrays, lines_of, unpacked
from core.datasets.split import Dataset, Split
from core.errors import DataError

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, kw_only=True)
class _Layout:
    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    labels: int  # bytes before the pixels; the last one is the class


_LAYOUTS = {
    "cifar10": _Layout(
        archive="cifar-10-binary.tar.gz",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{index}.bin" for index in range(1, 6)),
        test=("test_batch.bin",),
        names="batches.meta.txt",
        labels=1,
    ),
    "cifar100": _Layout(
        archive="cifar-100-binary.tar.gz",
        folder="cifar-100-binary",
        train=("train.bin",),
        test=("test.bin",),
        names="fine_label_names.txt",
        labels=2,
    ),
}


def read_cifar(name: Literal["cifar10", "cifar100"], path: Path, wanted: Wanted) -> Dataset:
    """Returns CIFAR-10, or CIFAR-100 with its 100 fine classes.

    Raises:
        DataError: a file of the archive is absent or of another length, or its labels are out of range.
    """
    layout = _LAYOUTS[name]
    remedy = (
        f"download {layout.archive}, the binary version, from https://www.cs.toronto.edu/~kriz/cifar.html and unpack "
        "it there (the python version is not read, since reading a pickle runs code)"
    )
    root = unpacked(path, layout.folder, layout.train[0], remedy)
    classes = tuple(name for name in lines_of(root / layout.names) if name)
    return Dataset(
        name=name,
        classes=classes,
        train=_split("train", root, layout.train, layout, classes, wanted),
        test=_split("test", root, layout.test, layout, classes, wanted),
    )


def _split(
    split: str, root: Path, files: tuple[str, ...], layout: _Layout, classes: tuple[str, ...], wanted: Wanted
) -> Split:
    records = np.concatenate([_records(root / file, layout.labels + _PIXELS) for file in files])
    labels = records[:, layout.labels - 1].astype(np.int64)
    pixels = records[:, layout.labels :].reshape(-1, 3, 32, 32)
    return from_arrays(split, classes, labels, pixels, wanted, root / files[0])


def _records(file: Path, length: int) -> NDArray[np.uint8]:
    if not file.is_file():
        raise DataError(f"{file}: expected this file of the archive, found none; unpack the archive again")
    content = np.fromfile(file, np.uint8)
    if not content.size or content.size % length:
        raise DataError(
            f"{file}: expected records of {length} bytes, got {content.size} bytes; unpack the archive again"
        )
    return content.reshape(-1, length)
