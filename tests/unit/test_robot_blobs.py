"""What robot annotators take for salient and how sloppily they paint it: laws of pure functions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from core import rng
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from core.errors import ConfigError
from study_app.annotation.submissions import iou
from study_app.robots.annotators import Decision, active_ms, joined
from study_app.robots.blobs import Sloppiness, contrast_blob, painted

SHAPE = (40, 56)
NEAT = Sloppiness().times(0)


def truth() -> np.ndarray:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (rows - 18) ** 2 / 100 + (columns - 30) ** 2 / 200 <= 1


def drawn(sloppiness: Sloppiness, seed: int) -> np.ndarray:
    operations = painted(truth(), sloppiness, rng.numpy_generator(seed, "robot"))
    return rasterise(parse_all(operations, SHAPE[1], SHAPE[0]), SHAPE[1], SHAPE[0])


def test_without_sloppiness_a_robot_paints_what_it_takes_for_salient():
    assert min(iou(drawn(NEAT, seed), truth()) for seed in range(20)) > 0.75


def test_the_sloppier_the_further_off():
    means = [
        np.mean([iou(drawn(Sloppiness().times(times), seed), truth()) for seed in range(30)]) for times in (0, 1, 3)
    ]
    assert means[0] > means[1] + 0.05 > means[2] + 0.1


def test_what_is_drawn_follows_from_the_seed_and_is_always_an_operation():
    loose = Sloppiness().times(5)
    for seed in range(20):
        first, again = (painted(truth(), loose, rng.numpy_generator(seed, "robot")) for _ in range(2))
        assert first == again
        parse_all(first, SHAPE[1], SHAPE[0])
    assert painted(truth(), loose, rng.numpy_generator(1, "robot")) != painted(
        truth(), loose, rng.numpy_generator(2, "robot")
    )


def test_all_parts_missed_and_false_regions_only():
    everything = dataclasses.replace(NEAT, missed=1.0)
    assert painted(truth(), everything, rng.numpy_generator(1, "robot")) == []
    false = dataclasses.replace(everything, false=1.0)
    tools = {
        operation["tool"]
        for seed in range(20)
        for operation in painted(truth(), false, rng.numpy_generator(seed, "robot"))
    }
    assert tools == {"brush", "undo", "erase"}


def test_the_blob_is_a_quarter_of_the_picture_where_the_contrast_is():
    pixels = np.full((48, 48, 3), 120, dtype=np.uint8)
    pixels[10:20, 26:36] = rng.numpy_generator(1, "texture").integers(0, 255, (10, 10, 3))
    blob = contrast_blob(pixels)
    assert 0.2 < blob.mean() < 0.3
    assert blob[10:20, 26:36].mean() > 0.8
    assert blob[28:, :18].mean() < 0.2, "the plain corner does not stand out"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"none": 1.2}, "sloppiness: none: expected a chance from 0 to 1, got 1.2"),
        ({"shift": -1.0}, "sloppiness: shift: expected at least 0, got -1.0"),
    ],
)
def test_a_sloppiness_that_is_none_is_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        Sloppiness(**values)


def test_a_new_round_clears_what_was_there_and_the_record_only_grows():
    stroke = {"tool": "brush", "size": 2, "points": [[1, 1, 0, 0.5], [2, 2, 20, 0.5]]}
    record = joined([Decision("regions", [stroke]), Decision("regions", [stroke, stroke])])
    assert [operation["tool"] for operation in record] == ["brush", "clear", "brush", "brush"]
    assert joined([Decision("none", []), Decision("regions", [stroke])]) == [stroke]
    assert active_ms(record) == 20 * 7
