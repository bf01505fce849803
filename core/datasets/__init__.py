"""Pictures and classes by source: 8-bit RGB, named, in memory, with a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from core.datasets.folder import read_folder
from core.datasets.photographs import cut_photographs
from core.datasets.split import Dataset
from core.errors import ConfigError

Source = Literal["photographs", "folder"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which pictures to use.

    Attributes:
        source: ``"photographs"`` (patches of photographs that ship in scikit-image and scikit-learn; no download) or
            ``"folder"`` (``path/train/<class>/*``, ``path/test/<class>/*``; PNG or JPEG).
        path: the folder.
        size: side in pixels: of the patches, or to which a folder's pictures are resized; without it they stay as is.
        train_per_class: at most so many training pictures of each class; without it all (photographs: 120).
        test_per_class: at most so many test pictures of each class; without it all (photographs: 30).
    """

    source: Source
    path: Path | None = None
    size: int | None = None
    train_per_class: int | None = None
    test_per_class: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "train_per_class", "test_per_class"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"data: {name}: expected at least 1, got {value}")
        if (self.source == "folder") != (self.path is not None):
            raise ConfigError("data: path goes with source = 'folder', and only with it")


def load(data: Data) -> Dataset:
    """Returns the training and test pictures of a data source.

    Raises:
        DataError: a folder is absent or empty, a file is not a picture, or sizes differ.
    """
    match data.source:
        case "photographs":
            return cut_photographs(data.size or 48, data.train_per_class or 120, data.test_per_class or 30)
        case "folder":
            assert data.path is not None
            return read_folder(data.path, data.size, data.train_per_class, data.test_per_class)
        case unknown:
            assert_never(unknown)
