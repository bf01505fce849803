"""CUB-200-2011 (Wah et al. 2011): birds, with bounding boxes and segmentations of them.

``python -m core.datasets.cub FOLDER BOXES`` writes the boxes as the CSV file that ``salience.source = "boxes"`` reads.

Layout: ``images.txt``, ``image_class_labels.txt``, ``train_test_split.txt``, ``bounding_boxes.txt``, ``images/``; the
segmentations are an archive of their own, whose folder ``segmentations/`` lies among these or beside their folder.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from core import files
from core.datasets.assembly import Wanted, from_files, lines_of, unpacked
from core.datasets.split import Dataset, Split
from core.errors import DataError, exit_code

_FOLDER = "CUB_200_2011"
_REMEDY = "download CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011 and unpack it there"


@dataclass(frozen=True, kw_only=True)
class _Picture:
    file: Path  # below images/: <class>/<name>.jpg
    label: int
    split: str

    @property
    def source_id(self) -> str:
        return f"{self.split}/{self.file.parent.name}/{self.file.stem}"


def read_cub(path: Path, wanted: Wanted) -> Dataset:
    """Returns CUB-200-2011, cut at its own split; a class is called by its folder, such as ``"001.Black_footed_…"``.

    Raises:
        DataError: the archive is absent, or its lists contradict each other.
    """
    root = _root(path)
    listed = list(_pictures(root).values())
    classes = tuple(sorted({picture.file.parent.name for picture in listed}))
    train, test = (_split(root, name, classes, listed, wanted) for name in ("train", "test"))
    return Dataset(name="cub-200-2011", classes=classes, train=train, test=test)


def masks(path: Path) -> dict[str, Path]:
    """Returns the segmentation (grey PNG, white = bird, size of the original) of each picture, by source_id.

    Pictures without one are left out.

    Raises:
        DataError: the archives are absent.
    """
    root = _root(path)
    folders = [place / "segmentations" for place in (root, root.parent) if (place / "segmentations").is_dir()]
    if not folders:
        raise DataError(
            f"{root}: expected segmentations/ there or beside it, found none; download segmentations.tgz from where "
            "CUB_200_2011.tgz came from and unpack it there"
        )
    found = {picture.source_id: folders[0] / picture.file.with_suffix(".png") for picture in _pictures(root).values()}
    return {source_id: file for source_id, file in found.items() if file.is_file()}


def boxes(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """Returns the bounding box of each picture, by source_id: (x, y, width, height) in pixels of the original.

    Raises:
        DataError: the archive is absent, or lists a box of no picture or without numbers.
    """
    root = _root(path)
    pictures, found = _pictures(root), {}
    for number, text in _table(root / "bounding_boxes.txt").items():
        try:
            x, y, width, height = map(float, text.split())
            found[pictures[number].source_id] = (x, y, width, height)
        except (KeyError, ValueError):
            raise DataError(
                f"{root}/bounding_boxes.txt: expected a picture of images.txt and four numbers, got {number} {text!r}; "
                "unpack the archive again"
            ) from None
    return found


def write_boxes(path: Path, target: Path) -> None:
    """Writes the bounding boxes and the sizes of their pictures as CSV, in the columns of ``core.salience.boxes``.

    Raises:
        DataError: the archive is absent or damaged.
    """
    root, found, text = _root(path), boxes(path), io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("source_id", "x", "y", "width", "height", "picture_width", "picture_height"))
    for picture in _pictures(root).values():
        if picture.source_id in found:
            writer.writerow((picture.source_id, *found[picture.source_id], *_size(root / "images" / picture.file)))
    files.write_text(target, text.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the bounding boxes of CUB-200-2011 as a CSV file for salience."""
    parser = argparse.ArgumentParser(prog="python -m core.datasets.cub", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where CUB_200_2011.tgz was unpacked")
    parser.add_argument("boxes", type=Path, help="CSV file to write")
    arguments = parser.parse_args(argv)
    write_boxes(arguments.folder, arguments.boxes)
    return 0


def _size(file: Path) -> tuple[int, int]:
    """Returns (width, height) of a picture, of which only the head is read."""
    try:
        with Image.open(file) as image:
            return image.size
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{file}: expected a picture, could not read it: {error}; unpack the archive again") from None


def _root(path: Path) -> Path:
    return unpacked(path, _FOLDER, "images.txt", _REMEDY)


def _split(root: Path, name: str, classes: tuple[str, ...], listed: list[_Picture], wanted: Wanted) -> Split:
    pictures = [picture for picture in listed if picture.split == name]
    paths = [root / "images" / picture.file for picture in pictures]
    return from_files(name, classes, [picture.label for picture in pictures], paths, wanted, root)


def _pictures(root: Path) -> dict[str, _Picture]:
    """Returns what the lists say of each picture, by the number that they call it."""
    names, labels, splits = (
        _table(root / name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    if not names.keys() == labels.keys() == splits.keys():
        raise DataError(f"{root}: expected lists of the same pictures, got lists that differ; unpack the archive again")
    classes = sorted({Path(file).parent.name for file in names.values()})
    found = {}
    for number, file in names.items():
        label = classes.index(Path(file).parent.name)
        if labels[number] != str(label + 1) or splits[number] not in ("0", "1"):
            raise DataError(
                f"{root}: picture {number}: expected class {label + 1} ({classes[label]}) and 0 (test) or 1 (train), "
                f"got class {labels[number]} and {splits[number]}; unpack the archive again"
            )
        found[number] = _Picture(file=Path(file), label=label, split="train" if splits[number] == "1" else "test")
    return found


def _table(file: Path) -> dict[str, str]:
    """Returns the lines of a list, by their first word."""
    rows = (line.split(maxsplit=1) for line in lines_of(file) if line.strip())
    return {row[0]: row[-1].strip() for row in rows}


if __name__ == "__main__":
    sys.exit(exit_code(main))
