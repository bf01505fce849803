"""Tiny-ImageNet: 200 classes of 64×64 pictures; its validation pictures serve as test pictures, its test has no labels.

Layout: ``train/<wnid>/images/*.JPEG``, ``val/images/*.JPEG`` and ``val/val_annotations.txt``.
"""

from __future__ import annotations

from pathlib import Path

from core.datasets.assembly import Wanted, folders_in, from_files, lines_of, pictures_in, unpacked
from core.datasets.split import Dataset, Split
from core.errors import DataError


def read_tiny_imagenet(path: Path, wanted: Wanted) -> Dataset:
    """Returns Tiny-ImageNet; a class is called by its WordNet id.

    Raises:
        DataError: the archive is absent or incomplete, or names a class that it has no training pictures of.
    """
    remedy = "download http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it there"
    root = unpacked(path, "tiny-imagenet-200", "val/val_annotations.txt", remedy)
    classes = tuple(folder.name for folder in folders_in(root / "train"))
    return Dataset(
        name="tiny-imagenet",
        classes=classes,
        train=_train(root / "train", classes, wanted),
        test=_test(root / "val", classes, wanted),
    )


def _train(path: Path, classes: tuple[str, ...], wanted: Wanted) -> Split:
    files = [(label, file) for label, name in enumerate(classes) for file in pictures_in(path / name / "images")]
    return from_files("train", classes, [label for label, _ in files], [file for _, file in files], wanted, path)


def _test(path: Path, classes: tuple[str, ...], wanted: Wanted) -> Split:
    label_of = {name: label for label, name in enumerate(classes)}
    labels, files = [], []
    for number, line in enumerate(lines_of(path / "val_annotations.txt"), start=1):
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if wnid not in label_of:
            raise DataError(
                f"{path}/val_annotations.txt: line {number}: expected a picture and a class of train/, separated by a "
                f"tab, got {line!r}; unpack the archive again"
            )
        labels.append(label_of[wnid])
        files.append(path / "images" / name)
    return from_files("test", classes, labels, files, wanted, path)
