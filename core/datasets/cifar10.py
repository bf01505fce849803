"""``python -m core.datasets.cifar10 FOLDER``: CIFAR-10 (Krizhevsky 2009) as an image folder of PNG files."""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from core import files, pictures, progress
from core.datasets.assembly import Wanted
from core.datasets.cifar_binary import read_cifar
from core.datasets.split import Split
from core.errors import DataError, exit_code
from core.pictures import Pixels
from core.torchvision_cpu import torchvision

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # as its page says


def write_split(folder: Path, examples: Iterable[tuple[Pixels, int]], classes: Sequence[str], total: int) -> None:
    """Writes (picture, label) pairs as ``<folder>/<class>/NNNNN.png``."""
    with progress.bar(f"write {folder.name}", total, "pictures") as bar:
        for index, (picture, label) in enumerate(examples):
            path = folder / classes[label] / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(pictures.encode_png(picture))
            bar.update()


def unpack(archive: Path, md5: str = _MD5, url: str = _URL) -> None:
    """Downloads the binary version into ``archive``, unless its file lies there already, checks it and unpacks it.

    Raises:
        DataError: it cannot be downloaded, its MD5 is another, or it is no archive.
    """
    name = url.rpartition("/")[2]
    try:
        torchvision().datasets.utils.download_url(url, archive, name, md5)
        with tarfile.open(archive / name) as content:
            content.extractall(archive, filter="data")
    except (OSError, RuntimeError, tarfile.TarError) as error:
        raise DataError(
            f"{archive}: CIFAR-10 could not be downloaded or unpacked: {error}; put {name} from "
            "https://www.cs.toronto.edu/~kriz/cifar.html there by hand, and start again"
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Downloads the binary version of CIFAR-10 and writes it as an image folder, in the order of the original."""
    parser = argparse.ArgumentParser(prog="python -m core.datasets.cifar10", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write train/<class>/ and test/<class>/")
    parser.add_argument("--archive", type=Path, help="folder with the binary version, or where to download it")
    arguments = parser.parse_args(argv)
    if arguments.folder.exists():
        raise DataError(f"{arguments.folder}: exists already; remove it to make it again")
    archive = arguments.archive or arguments.folder.parent / "archive"
    if not any(archive.glob("**/data_batch_1.bin")):
        unpack(archive)
    data = read_cifar("cifar10", archive, Wanted())
    with files.atomic_directory(arguments.folder) as folder:
        for name, split in (("train", data.train), ("test", data.test)):
            write_split(folder / name, _in_order(split), data.classes, len(split))
    print(f"{arguments.folder}: {len(data.train) + len(data.test):,} pictures of {len(data.classes)} classes")
    return 0


def _in_order(split: Split) -> Iterator[tuple[Pixels, int]]:
    """Yields the examples in the order of the archive, which their ids hold."""
    for index in sorted(range(len(split)), key=lambda index: split.ids[index].rpartition("/")[2]):
        yield split.pixels[index].permute(1, 2, 0).contiguous().numpy(), int(split.labels[index])


if __name__ == "__main__":
    sys.exit(exit_code(main))
