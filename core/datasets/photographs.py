"""The embedded default: square patches of fifteen photographs that ship inside scikit-image and scikit-learn.

A class is a source photograph. Training patches lie wholly in its left half, test patches wholly in its right half.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from core import pictures, rng
from core.datasets.split import Dataset, Split
from core.errors import DataError
from core.pictures import Pixels

_SKIMAGE = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg",
)  # fmt: skip
_SKLEARN = ("china.jpg", "flower.jpg")
_SEED = 1  # of the patches' places; part of the data set's definition
_LEAST_CONTRAST = 6.0  # grey levels (sd): flatter patches, such as empty sky, name no photograph


def cut_photographs(size: int, train_per_class: int, test_per_class: int) -> Dataset:
    """Returns patches of ``size`` × ``size`` pixels, so many of each photograph, always the same ones."""
    paths = sorted(_paths(), key=lambda path: path.stem)
    classes = tuple(path.stem for path in paths)
    photographs = [pictures.read(path) for path in paths]
    return Dataset(
        name=f"photographs-{size}",
        classes=classes,
        train=_split("train", classes, photographs, size, train_per_class),
        test=_split("test", classes, photographs, size, test_per_class),
    )


def _paths() -> list[Path]:
    skimage, sklearn = _package("skimage"), _package("sklearn")
    paths = [skimage / "data" / name for name in _SKIMAGE]
    paths += [sklearn / "datasets" / "images" / name for name in _SKLEARN]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{path}: expected a photograph there, found none; install scikit-image and scikit-learn again"
            )
    return paths


def _package(name: str) -> Path:
    """Returns where a package lies, without the seconds of importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise DataError(f"{name}: expected it to be installed, found none; run make setup")
    return Path(spec.origin).parent


def _split(name: str, classes: tuple[str, ...], photographs: list[Pixels], size: int, count: int) -> Split:
    patches, ids = [], []
    for class_name, photograph in zip(classes, photographs, strict=True):
        middle = photograph.shape[1] // 2
        half = photograph[:, :middle] if name == "train" else photograph[:, middle:]
        patches += _patches(half, size, count, rng.numpy_generator(_SEED, "patches", name, class_name))
        ids += [f"{name}/{class_name}/{index:04d}" for index in range(count)]
    pixels = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2).contiguous()
    return Split(pixels=pixels, labels=torch.arange(len(classes)).repeat_interleave(count), ids=tuple(ids))


def _patches(half: Pixels, size: int, count: int, generator: np.random.Generator) -> list[Pixels]:
    height, width = half.shape[0] - size, half.shape[1] - size
    if min(height, width) < 1:
        raise DataError(f"data: size: expected patches smaller than half a photograph, got {size}; try 48")
    patches: list[Pixels] = []
    while len(patches) < count:
        top, left = int(generator.integers(height + 1)), int(generator.integers(width + 1))
        patch = half[top : top + size, left : left + size]
        if patch.std() >= _LEAST_CONTRAST:
            patches.append(patch)
    return patches
