"""Data sets in their usual layouts, each built small on disk; what is wrong with one is said in one message."""

from __future__ import annotations

import hashlib
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from core import datasets, salience
from core.datasets import Data, assembly, cub
from core.datasets import cifar10 as cifar10_folder
from core.datasets.split import Split, hold_out
from core.errors import ConfigError, DataError
from core.salience.boxes import Boxes
from core.salience.masks import Masks

RANDOM = np.random.default_rng(1)


def write(path, level=0, size=(10, 8)):
    """A picture of one grey level, (width, height) in pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path, quality=100)


def refusal(**settings):
    with pytest.raises(DataError) as caught:
        datasets.load(Data(**settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# CIFAR

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar_records(labels, label_bytes):
    """Records whose pixels are random; the coarse label, where there is one, is 99."""
    pixels = RANDOM.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
    heads = [[label] if label_bytes == 1 else [99, label] for label in labels]
    return pixels, np.concatenate([np.array(heads, np.uint8), pixels], axis=1).tobytes()


@pytest.fixture
def cifar10(tmp_path):
    (tmp_path / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    files = [f"data_batch_{index}.bin" for index in range(1, 6)] + ["test_batch.bin"]
    written = {}
    for file in files:
        written[file], content = cifar_records([3, *range(10)], 1)
        (tmp_path / file).write_bytes(content)
    return tmp_path, written


def test_cifar10_is_read_from_its_binary_version(cifar10):
    path, written = cifar10
    data = datasets.load(Data(source="cifar10", path=path))
    assert data.classes == CIFAR10
    assert data.train.pixels.shape == (55, 3, 32, 32)
    assert data.train.labels.bincount().tolist() == [5, 5, 5, 10, 5, 5, 5, 5, 5, 5]
    assert data.test.ids[:5] == (
        "test/airplane/00001", "test/automobile/00002", "test/bird/00003", "test/cat/00000", "test/cat/00004"
    )  # fmt: skip
    red, green, blue = written["test_batch.bin"][1].reshape(3, 32, 32)
    assert np.array_equal(data.test.pixels[0].numpy(), np.stack([red, green, blue]))
    place = data.train.ids.index("train/truck/00054")
    assert np.array_equal(data.train.pixels[place].numpy().reshape(-1), written["data_batch_5.bin"][10])
    few = datasets.load(Data(source="cifar10", path=path, train_per_class=2, test_per_class=1, size=16))
    assert few.train.pixels.shape == (20, 3, 16, 16)
    assert few.test.ids[3] == "test/cat/00000"


def test_cifar10_written_as_a_folder_is_the_same_data(cifar10, tmp_path, capsys):
    folder = tmp_path / "folder"
    assert cifar10_folder.main([str(folder), "--archive", str(cifar10[0])]) == 0
    assert capsys.readouterr().out == f"{folder}: 66 pictures of 10 classes\n"
    data = datasets.load(Data(source="cifar10", path=cifar10[0]))
    assert datasets.load(Data(source="folder", path=folder)).fingerprint() == data.fingerprint()


@pytest.fixture
def served(tmp_path_factory):
    """A folder and the address at which a server shows it."""
    folder = tmp_path_factory.mktemp("served")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_archive_is_fetched_checked_and_unpacked(cifar10, served, tmp_path):
    path, (folder, address) = cifar10[0], served
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for file in sorted(path.glob("*.*")):
            archive.add(file, f"cifar-10-batches-bin/{file.name}")
    content = (folder / "cifar-10-binary.tar.gz").read_bytes()
    url, md5 = f"{address}/cifar-10-binary.tar.gz", hashlib.md5(content, usedforsecurity=False).hexdigest()
    cifar10_folder.unpack(tmp_path / "here", md5, url)
    (folder / "cifar-10-binary.tar.gz").unlink()
    cifar10_folder.unpack(tmp_path / "here", md5, url)  # finds the file
    direct, fetched = (datasets.load(Data(source="cifar10", path=place)) for place in (path, tmp_path / "here"))
    assert fetched.fingerprint() == direct.fingerprint()
    with pytest.raises(DataError, match=r"absent: CIFAR-10 could not be downloaded or unpacked: .*404"):
        cifar10_folder.unpack(tmp_path / "absent", md5, url)
    (folder / "cifar-10-binary.tar.gz").write_bytes(content[:-9])
    with pytest.raises(
        DataError, match=r"corrupted\.; put cifar-10-binary\.tar\.gz from https://www\.cs\.toronto\.edu/"
    ):
        cifar10_folder.unpack(tmp_path / "other", md5, url)


def test_cifar100_has_its_fine_classes(tmp_path):
    root = tmp_path / "cifar-100-binary"
    root.mkdir()
    names = [f"class{index:02d}" for index in range(100)]
    (root / "fine_label_names.txt").write_text("\n".join(names) + "\n")
    for name in ("train", "test"):
        pixels, content = cifar_records(range(100), 2)
        (root / f"{name}.bin").write_bytes(content)
    data = datasets.load(Data(source="cifar100", path=tmp_path))
    assert (data.name, len(data.classes)) == ("cifar100", 100)
    assert data.test.labels.tolist() == list(range(100))
    assert np.array_equal(data.test.pixels[42].numpy().reshape(-1), pixels[42])


def test_a_cifar_archive_that_is_absent_or_damaged_is_named(cifar10, tmp_path):
    path, _ = cifar10
    absent = refusal(source="cifar10", path=tmp_path / "none")
    assert "none: expected data_batch_1.bin there or in cifar-10-batches-bin/, found none; download cifar-10-" in absent
    assert "the python version is not read" in absent
    content = (path / "data_batch_2.bin").read_bytes()
    (path / "data_batch_2.bin").write_bytes(content[:-1])
    assert "data_batch_2.bin: expected records of 3073 bytes, got 33802 bytes" in refusal(source="cifar10", path=path)
    (path / "data_batch_2.bin").write_bytes(bytes([10]) + content[1:])
    assert "expected labels from 0 to 9, got 10; the files are" in refusal(source="cifar10", path=path)
    (path / "data_batch_2.bin").unlink()
    assert "data_batch_2.bin: expected this file of the archive, found none" in refusal(source="cifar10", path=path)
    (path / "data_batch_2.bin").write_bytes(content)
    (path / "test_batch.bin").write_bytes(content[: 3073 * 5])
    assert "test_batch.bin: expected pictures of class 'deer', found none" in refusal(source="cifar10", path=path)


# SVHN


def mat(path, pixels, labels):
    savemat(path, {"X": pixels, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)


@pytest.fixture
def svhn(tmp_path):
    pixels = RANDOM.integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
    for split in ("train", "test"):
        mat(tmp_path / f"{split}_32x32.mat", pixels, [10, *range(1, 10)])
    return tmp_path, pixels


def test_svhn_calls_its_tenth_class_zero(svhn):
    path, pixels = svhn
    data = datasets.load(Data(source="svhn", path=path))
    assert data.classes == tuple("0123456789")
    assert data.train.ids[0] == "train/0/00000"
    assert data.train.labels.tolist() == list(range(10))
    assert np.array_equal(data.test.pixels[7].permute(1, 2, 0).numpy(), pixels[..., 7])
    assert data.train.pixels.is_contiguous()


def test_svhn_files_that_are_absent_or_damaged_are_named(svhn, tmp_path):
    path, pixels = svhn
    file = path / "test_32x32.mat"
    content = file.read_bytes()
    for damaged in (b"MATLAB 5.0 nothing", content[: len(content) // 2]):
        file.write_bytes(damaged)
        assert "test_32x32.mat: expected a MATLAB file with X and y, could" in refusal(source="svhn", path=path)
    savemat(file, {"X": pixels})
    assert "expected a MATLAB file with X and y, could not read it: 'y'" in refusal(source="svhn", path=path)
    mat(file, pixels[:, :16], range(1, 11))
    assert "expected X as 32×32×3×10 bytes, got 32×16×3×10 of uint8" in refusal(source="svhn", path=path)
    mat(file, pixels, [11, *range(1, 10)])
    assert "test_32x32.mat: expected labels from 0 to 9, got 11" in refusal(source="svhn", path=path)
    file.unlink()
    assert "test_32x32.mat: expected this file, found none; download train_32x32.mat" in refusal(
        source="svhn", path=path
    )


# Tiny-ImageNet and Imagenette


@pytest.fixture
def tiny_imagenet(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    for place, wnid in enumerate(("n01", "n02")):
        for index in range(2):
            write(root / "train" / wnid / "images" / f"{wnid}_{index}.JPEG", 100 * place + 10 * index, (64, 64))
        write(root / "val" / "images" / f"val_{place}.JPEG", 50 + place, (64, 64))
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t2\t3\t4\n")
    return tmp_path, root


def test_tiny_imagenet_is_tested_on_its_annotated_pictures(tiny_imagenet):
    data = datasets.load(Data(source="tiny-imagenet", path=tiny_imagenet[0]))
    assert data.classes == ("n01", "n02")
    assert data.train.ids == ("train/n01/n01_0", "train/n01/n01_1", "train/n02/n02_0", "train/n02/n02_1")
    assert data.train.pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 10, 100, 110], abs=1)
    assert data.test.ids == ("test/n01/val_1", "test/n02/val_0")
    assert data.test.pixels[:, 0, 0, 0].tolist() == pytest.approx([51, 50], abs=1)


def test_a_tiny_imagenet_that_is_absent_or_incomplete_is_named(tiny_imagenet):
    path, root = tiny_imagenet
    absent = refusal(source="tiny-imagenet", path=path / "none")
    assert (
        "expected val/val_annotations.txt there or in tiny-imagenet-200/, found none; download http://cs231n" in absent
    )
    (root / "val" / "images" / "val_1.JPEG").unlink()
    assert "val_1.JPEG: expected a picture, found none; unpack" in refusal(source="tiny-imagenet", path=root)
    for line in ("val_2.JPEG\tn09\t0", "nonsense"):
        (root / "val" / "val_annotations.txt").write_text(f"val_0.JPEG\tn02\t0\n{line}\n")
        assert "line 2: expected a picture and a class of train/" in refusal(source="tiny-imagenet", path=root)
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\n")
    assert "expected pictures of class 'n01', found none" in refusal(source="tiny-imagenet", path=root)


def test_imagenette_is_tested_on_its_validation_pictures(tmp_path):
    for split in ("train", "val"):
        for wnid, size in (("n01", (20, 12)), ("n02", (12, 24))):
            write(tmp_path / "imagenette2-160" / split / wnid / f"{split}_{wnid}.JPEG", 9, size)
    data = datasets.load(Data(source="imagenette", path=tmp_path, size=8))
    assert data.test.ids == ("test/n01/val_n01", "test/n02/val_n02")
    assert data.train.pixels.shape == (2, 3, 8, 8)
    assert "download imagenette2-160.tgz" in refusal(source="imagenette", path=tmp_path / "none", size=8)
    (tmp_path / "imagenette2-160" / "val" / "n03").mkdir()
    assert "expected the same classes in train/ and val/" in refusal(source="imagenette", path=tmp_path, size=8)


# CUB-200-2011


@pytest.fixture
def birds(tmp_path):
    root = tmp_path / "CUB_200_2011"
    files = ["001.Auk/Auk_1_7.jpg", "001.Auk/Auk_2_8.jpg", "002.Jay/Jay_1_9.jpg", "002.Jay/Jay_2_4.jpg"]
    for index, file in enumerate(files):
        write(root / "images" / file, 60 * index, (20 + index, 16))
        if index != 2:
            mask = root / "segmentations" / file.replace("jpg", "png")
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (20 + index, 16), 255).save(mask)
    lists = {
        "images.txt": files,
        "image_class_labels.txt": [1, 1, 2, 2],
        "train_test_split.txt": [1, 0, 0, 1],
        "bounding_boxes.txt": ["2.0 3.0 10.0 9.0", "1.0 1.0 5.0 5.0", "0.0 0.0 4.0 4.0", "3.5 2.0 8.0 8.0"],
    }
    for name, rows in lists.items():
        (root / name).write_text("".join(f"{index} {row}\n" for index, row in enumerate(rows, start=1)))
    return tmp_path, root


def test_birds_are_cut_at_their_own_split(birds):
    data = datasets.load(Data(source="cub-200-2011", path=birds[0], size=16))
    assert data.classes == ("001.Auk", "002.Jay")
    assert data.train.ids == ("train/001.Auk/Auk_1_7", "train/002.Jay/Jay_2_4")
    assert data.test.ids == ("test/001.Auk/Auk_2_8", "test/002.Jay/Jay_1_9")
    assert data.train.pixels[:, 0, 0, 0].tolist() == pytest.approx([0, 180], abs=1)


def test_masks_and_boxes_of_birds_go_by_source_id(birds):
    path, root = birds
    data = datasets.load(Data(source="cub-200-2011", path=path, size=16))
    found = cub.boxes(path)
    assert set(found) == {*data.train.ids, *data.test.ids}
    assert found["train/002.Jay/Jay_2_4"] == (3.5, 2.0, 8.0, 8.0)
    masks = cub.masks(root)
    assert set(masks) == {*data.train.ids, "test/001.Auk/Auk_2_8"}
    assert masks["train/002.Jay/Jay_2_4"] == root / "segmentations" / "002.Jay" / "Jay_2_4.png"
    (root / "segmentations").rename(path / "segmentations")
    assert cub.masks(path)["train/001.Auk/Auk_1_7"] == path / "segmentations" / "001.Auk" / "Auk_1_7.png"


def test_boxes_and_masks_of_birds_are_read_as_salience(birds, tmp_path):
    path, root = birds
    train = datasets.load(Data(source="cub-200-2011", path=path, size=16)).train
    assert cub.main([str(path), str(tmp_path / "boxes.csv")]) == 0
    found = salience.load(Boxes(path=tmp_path / "boxes.csv"), train, training=True)
    inside = found.values()[0, 0] > 0.5  # of 20×16 pixels columns 2 to 18 are kept; the box is 10×9 at (2, 3)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[3:12, 0:10] = True
    assert torch.equal(inside, expected)
    masks = Masks(path=root / "segmentations", match="stem")
    assert bool((salience.load(masks, train, training=True).values()[0] == 1).all())
    (root / "images" / "001.Auk" / "Auk_1_7.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"Auk_1_7\.jpg: expected a picture, could not read it"):
        cub.write_boxes(path, tmp_path / "boxes.csv")


def bird_lists(birds, name, text):
    path, root = birds
    (root / name).write_text(text)
    return refusal(source="cub-200-2011", path=path, size=16)


def test_bird_lists_that_contradict_each_other_are_refused(birds):
    path, root = birds
    assert "download CUB_200_2011.tgz" in refusal(source="cub-200-2011", path=path / "none", size=16)
    assert "expected lists of the same pictures" in bird_lists(birds, "train_test_split.txt", "1 1\n2 0\n")
    message = bird_lists(birds, "train_test_split.txt", "1 1\n2 0\n3 0\n4 7\n")
    assert "picture 4: expected class 2 (002.Jay) and 0 (test) or 1 (train), got class 2 and 7" in message
    message = bird_lists(birds, "image_class_labels.txt", "1 1\n2 201\n3 2\n4 2\n")
    assert "picture 2: expected class 1 (001.Auk) and 0 (test) or 1 (train), got class 201 and 0" in message
    (root / "image_class_labels.txt").unlink()
    absent = refusal(source="cub-200-2011", path=path, size=16)
    assert "image_class_labels.txt: expected this list of the archive, could not read it: " in absent
    (root / "image_class_labels.txt").write_bytes(b"1 \xff\n")
    assert "could not read it: 'utf-8' codec" in refusal(source="cub-200-2011", path=path, size=16)


def test_masks_and_boxes_that_are_absent_or_damaged_are_named(birds):
    path, root = birds
    for line in ("1 2.0 3.0 wide 9.0", "1 2.0 3.0", "9 1 2 3 4"):
        (root / "bounding_boxes.txt").write_text(line + "\n")
        with pytest.raises(DataError, match=r"bounding_boxes\.txt: expected a picture of images\.txt and four numbers"):
            cub.boxes(path)
    for file in sorted((root / "segmentations").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (root / "segmentations").rmdir()
    with pytest.raises(DataError, match=r"expected segmentations/ there or beside it, found none; download"):
        cub.masks(path)


# All of them


def test_pictures_are_read_by_many_threads_in_order(tmp_path):
    for split in ("train", "test"):
        for index in range(200):
            write(tmp_path / split / "grey" / f"{index:03d}.png", index, (4, 4))
    data = datasets.load(Data(source="folder", path=tmp_path))
    assert data.train.pixels[:, 1, 2, 2].tolist() == list(range(200))


def test_two_pictures_of_one_name_are_refused(tmp_path):
    for file in ("train/cat/1.png", "train/cat/1.jpg", "test/cat/2.png"):
        write(tmp_path / file)
    message = "train: expected file names that differ, got 2 called 'train/cat/1'; rename all but one"
    assert message in refusal(source="folder", path=tmp_path)


def test_the_middle_square_is_what_is_kept():
    wide = np.zeros((4, 10, 3), np.uint8)
    wide[:, 3:7] = 200
    assert np.array_equal(assembly.square(wide, 2), np.full((2, 2, 3), 200, np.uint8))
    exact = np.zeros((4, 4, 3), np.uint8)
    assert assembly.square(exact, 4) is exact


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "svhn"}, "data: path goes with every source but 'photographs', and is needed there"),
        ({"source": "photographs", "path": "x"}, "data: path goes with every source but 'photographs'"),
        ({"source": "imagenette", "path": "x"}, "data: size: imagenette has pictures of many sizes; set size"),
        ({"source": "cub-200-2011", "path": "x"}, "data: size: cub-200-2011 has pictures of many sizes"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Data(**settings)


# Held out


def split_of(counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Split(pixels=pixels, labels=labels, ids=tuple(f"train/c/{index}" for index in range(len(labels))))


def test_what_is_held_out_is_a_share_of_each_class_and_no_more_in_training():
    whole = split_of([20, 40, 10])
    kept, held = hold_out(whole, 0.3, 1)
    assert held.labels.bincount().tolist() == [6, 12, 3]
    assert sorted((*kept.ids, *held.ids)) == sorted(whole.ids)
    for part in (kept, held):
        assert [f"train/c/{picture}" for picture in part.pixels[:, 0, 0, 0].tolist()] == list(part.ids)
        assert part.labels.tolist() == sorted(part.labels.tolist())


def test_what_is_held_out_follows_from_the_seed():
    whole = split_of([30, 30])
    assert hold_out(whole, 0.5, 1)[1].ids == hold_out(whole, 0.5, 1)[1].ids
    assert hold_out(whole, 0.5, 1)[1].ids != hold_out(whole, 0.5, 2)[1].ids
    first, second = hold_out(whole, 0.5, 1)[1].ids[:15], hold_out(whole, 0.5, 1)[1].ids[15:]
    assert [int(name.split("/")[2]) + 30 for name in first] != [int(name.split("/")[2]) for name in second]


@pytest.mark.parametrize("share", [0.04, 0.97])
def test_a_share_that_leaves_a_side_without_a_class_is_refused(share):
    with pytest.raises(ConfigError, match=r"hold_out: expected a share that leaves some of the 10 pictures of class 1"):
        hold_out(split_of([100, 10]), share, 1)
