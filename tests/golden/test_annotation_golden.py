"""Masks and agreement against other programs: pycocotools, SimpleITK, krippendorff, statsmodels, Label Studio.

Their numbers are stored here; where a program is installed (the ``bench`` extra) it is asked again.
"""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from core import rng
from core.annotations import rle
from core.annotations.agreement import indices, intersections, sums_of
from core.annotations.staple import staple

FIVE = (0.02, 0.1, 0.2, 0.05, 0.3)


def people(seed, errors, shape=(20, 31)):
    """Masks of a rectangle in which each person gets a share of the pixels wrong."""
    truth = np.zeros(shape, bool)
    truth[4:12, 6:20] = True
    generator = rng.numpy_generator(seed, "people")
    return np.stack([truth ^ (generator.random(shape) < error) for error in errors])


# SimpleITK 2.5.7, STAPLEImageFilter, foreground 1; seven decimals of row 7, columns 3 to 12.
STAPLE = {
    (1, FIVE): (
        [0.91875849, 0.89205434, 0.807463, 0.94076619, 0.68543617],
        [0.98382952, 0.90573084, 0.77805742, 0.94914889, 0.72329445],
        118.519521,
        [0.0164631, 2.43e-05, 2.43e-05, 0.9999697, 0.9999697, 0.9995546, 0.9999697, 0.9999697, 0.9995546, 0.9999697],
    ),
    (2, (0.05, 0.05, 0.4)): (
        [0.81633236, 0.75843328, 0.60365976],
        [1.0, 0.99999878, 0.57133065],
        172.723786,
        [0.0133506, 0.0133506, 0.0267336, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    ),
    (3, (0.15,) * 7): (
        [0.85433631, 0.82452118, 0.84114971, 0.79982113, 0.82677674, 0.87602761, 0.80818298],
        [0.83632379, 0.85919547, 0.8591212, 0.83944233, 0.85175719, 0.86931459, 0.85336152],
        118.033087,
        [0.0037933, 0.060705, 0.0059369, 0.990758, 0.780973, 0.9929444, 0.9997103, 0.9997103, 0.9996197, 0.9996197],
    ),
}


@pytest.mark.parametrize(("seed", "errors"), STAPLE)
def test_staple_gives_the_numbers_of_simpleitk_to_five_decimals(seed, errors):
    sensitivity, specificity, total, row = STAPLE[seed, errors]
    found = staple(people(seed, errors))
    assert found.sensitivity == pytest.approx(sensitivity, abs=1e-5)
    assert found.specificity == pytest.approx(specificity, abs=1e-5)
    assert found.probability[7, 3:13] == pytest.approx(row, abs=1e-5)
    assert found.probability.sum() == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize(("seed", "errors"), STAPLE)
def test_staple_gives_what_simpleitk_gives_now(seed, errors):
    itk = pytest.importorskip("SimpleITK")
    masks = people(seed, errors)
    judge = itk.STAPLEImageFilter()
    judge.SetForegroundValue(1)
    truth = itk.GetArrayFromImage(judge.Execute([itk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]))
    found = staple(masks)
    assert np.abs(found.probability - truth).max() < 1e-4  # it stops earlier than we do
    assert found.sensitivity == pytest.approx(judge.GetSensitivity(), abs=1e-5)


def corner(height, width):
    """An L with a dot: it differs from itself in rows."""
    mask = np.zeros((height, width), bool)
    mask[height // 3 :, : max(1, width // 4)] = True
    mask[-2:, :] = True
    mask[0, -1] = True
    return mask


MASKS = {
    "an L": corner(7, 5),
    "a wide L": corner(11, 23),
    "all painted": np.ones((3, 4), bool),
    "nothing painted": np.zeros((3, 4), bool),
    "noise": rng.numpy_generator(6, "noise").random((12, 17)) < 0.4,
}
# pycocotools 2.0.11, mask.encode of the mask in Fortran order.
TEXTS = {
    "an L": "255M0001OO",
    "a wide L": "38300000006J00000000000000000000000000000001OO",
    "all painted": "0<",
    "nothing painted": "<",
    "noise": (
        "01110O024NM0O10O1020O0O0O00121OOOO00001020O0O00021MO00000150M03OL011O100ON021N01000O0050J0020O0O0100001OO13ON1O10"
        "N0"
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_coco_strings_are_those_of_pycocotools_and_come_back_as_the_same_mask(name):
    mask = MASKS[name]
    height, width = mask.shape
    assert rle.text_of(rle.counts_of(mask)) == TEXTS[name]
    assert (rle.mask_of(rle.counts_of_text(TEXTS[name]), width, height) == mask).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
def test_pycocotools_reads_our_strings_and_we_read_its_own():
    coco = pytest.importorskip("pycocotools.mask")
    generator = rng.numpy_generator(1, "coco")
    for _ in range(60):
        height, width = generator.integers(1, 60, 2)
        mask = generator.random((height, width)) < generator.random()
        assert (coco.decode(rle.segmentation(mask)) == mask).all()
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
        assert theirs == rle.text_of(rle.counts_of(mask))


def measured(*pictures):
    sums = []
    for masks in pictures:
        votes = np.bincount(masks.sum(axis=0).reshape(-1), minlength=len(masks) + 1)
        sums.append(sums_of(intersections(masks), votes))
    return indices(np.sum(sums, axis=0))


def two_pictures():
    """The second was annotated by three people only."""
    return people(1, FIVE), people(4, (0.3, 0.02, 0.1))


def test_alpha_over_pixels_is_that_of_the_krippendorff_package():  # 0.9.0
    one, two = two_pictures()
    assert measured(one)["alpha_pixels"] == pytest.approx(0.3899877450202238, abs=1e-12)
    assert measured(one, two)["alpha_pixels"] == pytest.approx(0.3611793348033454, abs=1e-12)


def test_the_krippendorff_package_gives_the_same_alphas_now():
    krippendorff = pytest.importorskip("krippendorff")
    one, two = two_pictures()
    table = np.full((5, one[0].size + two[0].size), np.nan)
    table[:, : one[0].size] = one.reshape(5, -1)
    table[:3, one[0].size :] = two.reshape(3, -1)
    expected = krippendorff.alpha(table, level_of_measurement="nominal")
    assert measured(one, two)["alpha_pixels"] == pytest.approx(expected, abs=1e-12)
    areas = np.full((5, 2), np.nan)
    areas[:, 0], areas[:3, 1] = one.mean(axis=(1, 2)), two.mean(axis=(1, 2))
    expected = krippendorff.alpha(areas, level_of_measurement="interval")
    assert measured(one, two)["alpha_areas"] == pytest.approx(expected, abs=1e-9)


def test_alpha_over_areas_is_that_of_the_krippendorff_package():  # 0.9.0
    shares = np.array([[0.1, 0.3, 0.55, 0.2], [0.12, 0.25, 0.5, np.nan], [0.2, 0.33, 0.61, 0.22]])
    pictures = [
        np.stack([np.arange(100).reshape(10, 10) < round(100 * share) for share in column if np.isfinite(share)])
        for column in shares.T
    ]
    assert measured(*pictures)["alpha_areas"] == pytest.approx(0.9309593023255814, abs=1e-9)


def test_kappa_over_pixels_is_that_of_statsmodels():
    one, two = people(1, FIVE), people(9, (0.1, 0.2, 0.05, 0.3, 0.02))
    painted = np.concatenate([masks.sum(axis=0).reshape(-1) for masks in (one, two)])
    expected = fleiss_kappa(np.stack([5 - painted, painted], axis=1))
    assert expected == pytest.approx(0.4070269307372686, abs=1e-9)
    assert measured(one, two)["fleiss_kappa"] == pytest.approx(expected, abs=1e-12)


# Head of a brush region of 3332 × 2527 pixels in an export of Label Studio: 33,679,856 values of 8 bits, run lengths of
# 3, 4, 8 and 16 bits; then runs of 65,536 zeros.
HEAD = [2, 1, 233, 240, 57, 27, 255, 255, 255, 0, 255, 255, 224, 31, 255, 252, 3, 255, 255, 128, 127, 255, 240]


def test_the_head_of_a_label_studio_export_reads_as_its_picture_says():
    bits = np.unpackbits(np.asarray(HEAD, dtype=np.uint8))
    read = rle._read  # the parts of the format that a head shows
    assert read(bits, 0, 32) == 4 * 3332 * 2527
    assert read(bits, 32, 5) + 1 == 8
    assert [read(bits, 37 + 4 * place, 4) + 1 for place in range(4)] == [3, 4, 8, 16]
    run = 3 + 16 + 8
    for place in range(4):
        begin = 53 + place * run
        assert (read(bits, begin, 1), read(bits, begin + 1, 2), read(bits, begin + 3, 16) + 1) == (1, 3, 65536)
        assert read(bits, begin + 19, 8) == 0


# label-studio-brush-rle-rs 0.1.1, encode_rle of the mask's RGBA values, words of 8 bits, run lengths as above.
BRUSHES = {
    "an L": [
        0, 0, 0, 140, 57, 27, 253, 240, 8, 255, 240, 152, 4, 127, 247, 192, 35, 255, 190, 1, 31, 253, 240, 12, 79, 254,
    ],
    "a wide L": [
        0, 0, 3, 244, 57, 27, 254, 87, 0, 143, 255, 91, 128, 97, 63, 252, 142, 1, 132, 255, 242, 56, 6, 19, 255, 200,
        224, 24, 79, 255, 35, 128, 97, 63, 252, 142, 1, 132, 255, 242, 56, 6, 183, 255, 0,
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BRUSHES)
def test_brushes_that_another_program_packed_for_label_studio_are_read(name):
    height, width = MASKS[name].shape
    assert (rle.brush_of(BRUSHES[name], width, height) == MASKS[name]).all()
