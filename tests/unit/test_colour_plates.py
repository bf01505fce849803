"""Colour plates: a digit that only the missing cones would show, the same for the same seed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from study_app.participants import colour_plates
from study_app.participants.colour_plates import KINDS, LMS

CONES = {"protan": 0, "deutan": 1}  # the row of LMS that such an eye lacks
SEEDS = (1, 2, 3)


def cone_contrasts(seed: int, index: int) -> np.ndarray:
    """The difference between digit and ground for each kind of cone, in standard deviations of the dots."""
    dots = colour_plates.dots(seed, index)
    responses = dots.colours @ LMS.T
    digit, ground = responses[dots.in_digit], responses[~dots.in_digit]
    return np.abs(digit.mean(axis=0) - ground.mean(axis=0)) / np.sqrt((digit.var(axis=0) + ground.var(axis=0)) / 2)


@pytest.mark.parametrize("index", [index for index, kind in enumerate(KINDS) if kind != "control"])
def test_without_the_cones_in_question_digit_and_ground_do_not_differ(index):
    lacking = CONES[KINDS[index]]
    for seed in SEEDS:
        contrasts = cone_contrasts(seed, index)
        others = np.delete(contrasts, lacking)
        assert (others < 0.5).all(), "jitter hides what little is left"
        assert contrasts[lacking] > 1.2


def test_the_confusion_is_exact_before_the_jitter():
    for kind, lacking in CONES.items():
        digit, ground = (colour @ LMS.T for colour in colour_plates._pair(kind))
        np.testing.assert_allclose(np.delete(digit, lacking), np.delete(ground, lacking), rtol=1e-9)
        assert abs(digit[lacking] - ground[lacking]) / ground[lacking] > 0.1


def test_the_control_is_seen_by_every_eye():
    for seed in SEEDS:
        assert (cone_contrasts(seed, KINDS.index("control")) > 3).all()


def test_colours_can_be_shown_and_dots_do_not_touch():
    for index in range(len(KINDS)):
        dots = colour_plates.dots(1, index)
        assert dots.colours.min() >= 0
        assert dots.colours.max() <= 1
        distances = np.hypot(*(dots.centres[:, None] - dots.centres[None]).transpose(2, 0, 1))
        np.fill_diagonal(distances, np.inf)
        assert (distances > dots.radii[:, None] + dots.radii[None]).all()
        assert 40 < dots.in_digit.sum() < len(dots.radii) / 2
        assert len(dots.radii) > 300


def test_the_png_shows_each_dot_in_its_colour():
    dots = colour_plates.dots(1, 1)
    picture = np.asarray(Image.open(io.BytesIO(colour_plates.png(1, 1))))
    assert picture.shape == (colour_plates.SIDE, colour_plates.SIDE, 3)
    columns, rows = dots.centres.astype(int).T
    np.testing.assert_array_equal(picture[rows, columns], colour_plates._encoded(dots.colours))


def test_the_same_seed_gives_the_same_plate_and_another_one_another():
    assert colour_plates.render(colour_plates.dots(1, 2)) == colour_plates.png(1, 2)
    assert colour_plates.png(1, 2) != colour_plates.png(2, 2)
    assert colour_plates.png(1, 1) != colour_plates.png(1, 3)


@given(st.integers(0, 2**62))
def test_digits_are_of_the_ones_that_are_told_apart(seed):
    assert len(colour_plates.digits(seed)) == len(KINDS)
    assert set(colour_plates.digits(seed)) <= set(colour_plates.DIGITS)


@pytest.mark.parametrize(
    ("given_answers", "passes"),
    [
        ("235689", True), ("23568 ", True), ("2 5689", True), ("2356  ", False), (" 35689", False), ("2     ", False),
    ],
)  # fmt: skip
def test_the_control_and_all_others_but_one_must_be_right(given_answers, passes):
    assert KINDS[0] == "control"
    assert colour_plates.passes(tuple(given_answers), tuple("235689")) is passes


def test_somebody_who_guesses_rarely_passes():
    generator = np.random.default_rng(1)
    shown = tuple("235689")
    guesses = ["2" + "".join(generator.choice(list(colour_plates.DIGITS), 5)) for _ in range(20_000)]
    passed = sum(colour_plates.passes(tuple(guess), shown) for guess in guesses)
    assert passed / len(guesses) < 0.005
