"""Pictures and classes by source: 8-bit RGB, named, in memory, with a fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

from core.datasets.assembly import Wanted
from core.datasets.cifar_binary import read_cifar
from core.datasets.cub import read_cub
from core.datasets.folder import read_folder, read_imagenette
from core.datasets.photographs import cut_photographs
from core.datasets.split import Dataset
from core.datasets.svhn import read_svhn
from core.datasets.tiny_imagenet import read_tiny_imagenet
from core.errors import ConfigError

OnDisk = Literal["folder", "cifar10", "cifar100", "svhn", "tiny-imagenet", "imagenette", "cub-200-2011"]
Source = Literal["photographs", OnDisk]
_OF_MANY_SIZES = ("imagenette", "cub-200-2011")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which pictures to use.

    Attributes:
        source: ``"photographs"`` (patches of photographs that ship in scikit-image and scikit-learn; no download),
            ``"folder"`` (``path/train/<class>/*``, ``path/test/<class>/*``; PNG or JPEG), or a data set in its usual
            layout, unpacked in ``path``; docs/data.md says which archive.
        path: the folder; every source but ``"photographs"`` has one.
        size: side in pixels: of the patches, or to which the middle squares of all pictures are resized; without it
            they stay as they are, which Imagenette and CUB-200-2011 cannot, since their sizes differ.
        train_per_class: at most so many training pictures of each class; without it all (photographs: 100).
        test_per_class: at most so many test pictures of each class; without it all (photographs: 24).
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
        if (self.source == "photographs") != (self.path is None):
            raise ConfigError("data: path goes with every source but 'photographs', and is needed there")
        if self.source in _OF_MANY_SIZES and self.size is None:
            raise ConfigError(f"data: size: {self.source} has pictures of many sizes; set size, such as 224")


def load(data: Data) -> Dataset:
    """Returns the training and test pictures of a data source.

    Raises:
        DataError: a file or folder is absent, empty or damaged, a label is out of range, or sizes differ.
    """
    wanted = Wanted(size=data.size, train_per_class=data.train_per_class, test_per_class=data.test_per_class)
    if data.source == "photographs":
        return cut_photographs(data.size or 48, data.train_per_class or 100, data.test_per_class or 24)
    assert data.path is not None
    return _read(data.source, data.path, wanted)


def _read(source: OnDisk, path: Path, wanted: Wanted) -> Dataset:
    match source:
        case "folder":
            return read_folder(path, wanted)
        case "cifar10" | "cifar100":
            return read_cifar(source, path, wanted)
        case "svhn":
            return read_svhn(path, wanted)
        case "tiny-imagenet":
            return read_tiny_imagenet(path, wanted)
        case "imagenette":
            return read_imagenette(path, wanted)
        case "cub-200-2011":
            return read_cub(path, wanted)
        case unknown:
            assert_never(unknown)
