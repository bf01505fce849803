"""SVHN, cropped digits (Netzer et al. 2011): ``train_32x32.mat`` and ``test_32x32.mat``."""

from __future__ import annotations

import importlib
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.datasets.assembly import Wanted, from_arrays
from core.datasets.split import Dataset, Split
from core.errors import DataError

_CLASSES = tuple("0123456789")
_REMEDY = "download train_32x32.mat and test_32x32.mat from http://ufldl.stanford.edu/housenumbers and put them there"


def read_svhn(path: Path, wanted: Wanted) -> Dataset:
    """Returns SVHN; the files call the digit 0 class 10, here it is 0. The 531,131 extra pictures are not read.

    Raises:
        DataError: a file is absent or damaged, or its labels are out of range.
    """
    return Dataset(
        name="svhn", classes=_CLASSES, train=_split("train", path, wanted), test=_split("test", path, wanted)
    )


def _split(split: str, path: Path, wanted: Wanted) -> Split:
    file = path / f"{split}_32x32.mat"
    if not file.is_file():
        raise DataError(f"{file}: expected this file, found none; {_REMEDY}")
    pixels, labels = _read(file)
    return from_arrays(split, _CLASSES, np.where(labels == 10, 0, labels), pixels, wanted, file)


def _read(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns pictures, [N, 3, 32, 32], and the labels of the file, [N]; it holds them as [32, 32, 3, N] and [N, 1]."""
    matlab = importlib.import_module("scipy.io.matlab")  # here, since it takes a third of a second
    try:
        content = matlab.loadmat(file, variable_names=["X", "y"])
        pixels, labels = np.asarray(content["X"]), np.asarray(content["y"]).reshape(-1)
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, matlab.MatReadError, zlib.error) as error:
        raise DataError(f"{file}: expected a MATLAB file with X and y, could not read it: {error}; {_REMEDY}") from None
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3, len(labels)):
        raise DataError(
            f"{file}: expected X as 32×32×3×{len(labels)} bytes, got {'×'.join(map(str, pixels.shape))} of "
            f"{pixels.dtype}; {_REMEDY}"
        )
    return pixels.transpose(3, 2, 0, 1), labels.astype(np.int64)
