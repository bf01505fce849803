"""What robot annotators draw: valid operations, close to what they see, further off the sloppier they are."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from core import rng
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from core.errors import ConfigError
from study_app.robots.drawing import REGION_SHARE, Sloppiness, draw, region_of

EXACT = Sloppiness(shift=0, scale=0, jitter=0, missed=0, stray=0, none=0, skip=0)
PICTURE = skimage.data.astronaut()[::8, ::8]


def blob(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((rows - height * 0.45) / (height * 0.3)) ** 2 + ((columns - width * 0.55) / (width * 0.2)) ** 2 < 1


def painted(region, sloppiness, seed):
    drawn = draw(region, sloppiness, rng.numpy_generator(seed, "robot drawing"))
    height, width = region.shape
    return drawn, rasterise(parse_all(list(drawn.operations), width, height), width, height)


def overlap(one, other) -> float:
    return float((one & other).sum() / (one | other).sum())


@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 10_000))
def test_every_operation_is_one_that_the_server_takes(height, width, seed):
    drawn, mask = painted(blob(height, width), Sloppiness(), seed)
    assert (drawn.outcome == "regions") == bool(drawn.operations)
    assert drawn.outcome == "regions" or not mask.any()


def test_a_careful_hand_paints_what_it_sees():
    for seed in range(12):
        region = blob(64, 64)
        assert overlap(painted(region, EXACT, seed)[1], region) > 0.75


def test_a_sloppier_hand_is_further_off():
    def mean(sloppiness):
        return np.mean([overlap(painted(blob(64, 64), sloppiness, seed)[1], blob(64, 64)) for seed in range(40)])

    careful, usual, wild = (
        mean(each) for each in (EXACT, Sloppiness(none=0, skip=0), Sloppiness(shift=0.15, scale=0.4, none=0, skip=0))
    )
    assert careful > usual + 0.02 > wild + 0.1


def test_robots_say_none_and_skip_as_often_as_stated():
    often = Sloppiness(none=0.3, skip=0.2)
    said = [painted(blob(24, 24), often, seed)[0].outcome for seed in range(600)]
    assert said.count("none") / 600 == pytest.approx(0.3, abs=0.06)
    assert said.count("skipped") / 600 == pytest.approx(0.2, abs=0.06)


def test_the_same_seed_draws_the_same():
    assert painted(blob(40, 30), Sloppiness(), 7)[0] == painted(blob(40, 30), Sloppiness(), 7)[0]
    assert painted(blob(40, 30), Sloppiness(), 7)[0] != painted(blob(40, 30), Sloppiness(), 8)[0]


def test_the_region_of_a_picture_is_a_fixed_share_and_follows_contrast():
    region = region_of(PICTURE)
    assert region.mean() == pytest.approx(REGION_SHARE, abs=0.01)
    spot = np.full((48, 48, 3), 120, np.uint8)
    spot[10:20, 30:40] = 250
    found = np.argwhere(region_of(spot)).mean(axis=0)
    assert np.hypot(*(found - [15, 35])) < 8


def test_an_empty_region_is_called_nothing():
    assert draw(np.zeros((20, 20), bool), EXACT, rng.numpy_generator(1, "robot drawing")).outcome == "none"


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"shift": 2}, "shift: expected from 0 to 1"), ({"none": 1.0}, "none: expected from 0 to below 1, got 1.0")],
)
def test_a_sloppiness_out_of_range_is_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        Sloppiness(**setting)
