"""Data sets, augmentation that keeps maps aligned, salience."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core import datasets, pictures, salience
from core.datasets import Data
from core.datasets.augmentation import Augmentation, draw
from core.errors import ConfigError, DataError
from core.salience.spectral import SpectralResidual, spectral_residual
from core.tensors import generator


@given(st.integers(0, 10_000), st.integers(0, 6), st.booleans())
def test_a_map_goes_where_its_picture_goes(seed, border, flip):
    pixels = torch.randint(0, 256, (6, 3, 9, 12), dtype=torch.uint8, generator=generator("cpu", seed))
    asymmetric = pixels[:, :1].float() / 255
    drawn = draw(Augmentation(crop_border=border, flip=flip), 6, generator("cpu", seed, "draw"))
    assert torch.equal(drawn.apply(pixels)[:, :1].float() / 255, drawn.apply(asymmetric))


def test_without_border_and_flip_nothing_moves():
    pixels = torch.randint(0, 256, (4, 3, 5, 7), dtype=torch.uint8)
    drawn = draw(Augmentation(crop_border=0, flip=False), 4, generator("cpu", 1))
    assert torch.equal(drawn.apply(pixels), pixels)


def test_crops_and_mirrors_are_the_ones_drawn():
    pixels = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
    drawn = draw(Augmentation(crop_border=1), 400, generator("cpu", 1))
    moved = drawn.apply(pixels.expand(400, 1, 4, 4))
    shifted = (drawn.top == 2) & (drawn.left == 1) & ~drawn.mirrored
    mirrored = (drawn.top == 1) & (drawn.left == 1) & drawn.mirrored
    assert moved[shifted][0, 0].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15], [8, 9, 10, 11]]
    assert moved[mirrored][0, 0, 0].tolist() == [3, 2, 1, 0]
    assert 150 < int(drawn.mirrored.sum()) < 250


def test_photographs_are_fifteen_classes_with_disjoint_halves():
    data = datasets.load(Data(source="photographs", size=48, train_per_class=20, test_per_class=5))
    assert len(data.classes) == 15
    assert data.train.pixels.shape == (300, 3, 48, 48)
    assert data.test.pixels.dtype == torch.uint8
    assert data.test.ids[0] == "test/astronaut/0000"
    assert data.train.labels.bincount().tolist() == [20] * 15
    seen = {bytes(picture.numpy()) for picture in data.train.pixels}
    assert not any(bytes(picture.numpy()) in seen for picture in data.test.pixels)


def test_the_same_photographs_have_the_same_fingerprint_and_others_another():
    first, again, other = (
        datasets.load(Data(source="photographs", size=32, train_per_class=count, test_per_class=2))
        for count in (3, 3, 4)
    )
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for name, level in (("cat", 40), ("dog", 200)):
            (tmp_path / split / name).mkdir(parents=True)
            for index in range(3):
                picture = np.full((20, 30, 3), level + index, np.uint8)
                (tmp_path / split / name / f"{index}.png").write_bytes(pictures.encode_png(picture))
    return tmp_path


def test_an_image_folder_is_read_in_order(folder):
    data = datasets.load(Data(source="folder", path=folder, train_per_class=2))
    assert data.classes == ("cat", "dog")
    assert data.name == folder.name
    assert data.train.pixels.shape == (4, 3, 20, 30)
    assert data.train.ids == ("train/cat/0", "train/cat/1", "train/dog/0", "train/dog/1")
    assert data.test.pixels[:, 0, 0, 0].tolist() == [40, 41, 42, 200, 201, 202]


def test_pictures_of_other_sizes_are_cut_square_and_resized(folder):
    Image.new("RGB", (64, 40), (9, 9, 9)).save(folder / "test" / "cat" / "9.jpg")
    assert datasets.load(Data(source="folder", path=folder, size=16)).name == folder.name + " (JPEG files)"
    data = datasets.load(Data(source="folder", path=folder, size=16))
    assert data.test.pixels.shape == (7, 3, 16, 16)


def test_a_missing_folder_says_how_to_get_one(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder with train/<class>/.*python -m core\.datasets\.cifar10"):
        datasets.load(Data(source="folder", path=tmp_path / "none"))


def test_a_file_that_is_not_a_picture_is_named(folder):
    (folder / "train" / "dog" / "1.png").write_text("hello")
    with pytest.raises(DataError, match=r"dog/1\.png: expected a picture"):
        datasets.load(Data(source="folder", path=folder))


def test_sizes_must_agree(folder):
    Image.new("RGB", (31, 20)).save(folder / "test" / "cat" / "9.png")
    with pytest.raises(DataError, match=r"cat/9\.png: expected 30×20 pixels like 0\.png, got 31×20; set data\.size"):
        datasets.load(Data(source="folder", path=folder))


def test_classes_must_agree(folder):
    (folder / "test" / "bird").mkdir()
    with pytest.raises(DataError, match="expected the same classes in train/ and test/"):
        datasets.load(Data(source="folder", path=folder))


def test_empty_folders_are_named(folder):
    (folder / "train" / "ant").mkdir()
    (folder / "test" / "ant").mkdir()
    with pytest.raises(DataError, match="ant: expected PNG or JPEG pictures, found none"):
        datasets.load(Data(source="folder", path=folder))
    with pytest.raises(DataError, match="expected a folder for each class, found none"):
        datasets.load(Data(source="folder", path=folder / "train" / "cat"))


@pytest.mark.parametrize(
    "settings", [{"source": "folder"}, {"source": "photographs", "path": "x"}, {"source": "photographs", "size": 0}]
)
def test_contradictory_data_settings_are_refused(settings):
    with pytest.raises(ConfigError, match="data: "):
        Data(**settings)


def test_patches_must_fit_into_half_a_photograph():
    with pytest.raises(DataError, match="expected patches smaller than half a photograph, got 400"):
        datasets.load(Data(source="photographs", size=400))


def test_spectral_residual_points_at_the_odd_one_out():
    """A bright square in 1/f noise, at ten places: the map is larger there than elsewhere."""
    frequency = torch.fft.fftfreq(48)
    radius = (frequency[:, None].square() + frequency.square()).sqrt().clamp(min=1 / 48)
    white = torch.randn(10, 1, 48, 48, generator=generator("cpu", 1))
    noise = torch.fft.ifft2(torch.fft.fft2(white) / radius).real
    odd = torch.zeros(10, 1, 48, 48, dtype=torch.bool)
    for index in range(10):
        odd[index, :, 4 + 3 * index : 12 + 3 * index, 34 - 3 * index : 42 - 3 * index] = True
    scenes = torch.where(odd, torch.tensor(1.0), (0.5 + 0.1 * noise / noise.std()).clamp(0, 1))
    maps = spectral_residual(scenes.expand(10, 3, 48, 48))
    inside, outside = maps[odd].view(10, -1).mean(1), maps[~odd].view(10, -1).mean(1)
    assert bool((inside > 1.8 * outside).all())


def test_rank_scale_spares_the_share_that_the_threshold_says():
    pixels = torch.randint(0, 256, (5, 3, 20, 20), dtype=torch.uint8, generator=generator("cpu", 1))
    maps = salience.maps(SpectralResidual(scale="rank"), pixels)
    assert maps.shape == (5, 1, 20, 20)
    assert (maps > 0.75).float().mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.25] * 5, abs=0.005)
    stretched = salience.maps(SpectralResidual(scale="min-max"), pixels)
    assert float(stretched.amin()) == 0
    assert stretched.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * 5)
