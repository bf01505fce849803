"""Whole files, named random numbers, one PNG encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import files, pictures, rng
from core.errors import DataError, RunError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})

    def fail():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_directory_is_not_there(tmp_path):
    def fail():
        with files.atomic_directory(tmp_path / "set") as directory:
            (directory / "x").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_directory_is_never_overwritten(tmp_path):
    with files.atomic_directory(tmp_path / "set") as directory:
        (directory / "x").write_text("whole")
    with pytest.raises(FileExistsError, match="exists already"), files.atomic_directory(tmp_path / "set"):
        pass
    assert (tmp_path / "set" / "x").read_text() == "whole"


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file; do this"),
        ("{", "not valid JSON: .*; do this"),
        ("[1]", "expected a JSON object, got list"),
    ],
)
def test_reading_json_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RunError, match=message):
        files.read_json(path, RunError, "do this")


def test_streams_depend_on_seed_and_on_every_part_of_the_purpose():
    names = [(1, "a"), (2, "a"), (1, "b"), (1, "a", 1), (1, "a", 2), (1, "a1")]
    assert len({rng.derive(*name) for name in names}) == len(names)
    assert rng.derive(1, "attack", 3) == rng.derive(1, "attack", 3)
    assert all(0 <= rng.derive(*name) < 2**63 for name in names)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_png_round_trip_and_a_length_that_tells_nothing(height, width, seed):
    generator = np.random.default_rng(seed)
    noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    data, flat = pictures.encode_png(noise), pictures.encode_png(np.zeros_like(noise))
    assert np.array_equal(pictures.decode(data, "x"), noise)
    assert len(data) == len(flat)
    assert pictures.png_chunks(data) == pictures.png_chunks(flat)
    assert [name for name, _ in pictures.png_chunks(data)] == ["IHDR", "sRGB", "IDAT", "IEND"]


def test_large_pictures_have_one_length_too():
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    assert len(pictures.encode_png(noise)) == len(pictures.encode_png(np.zeros_like(noise)))


@pytest.mark.parametrize("data", [b"", b"not a picture", pictures.encode_png(np.zeros((8, 8, 3), np.uint8))[:60]])
def test_what_is_not_a_picture_is_named(data):
    with pytest.raises(DataError, match=r"cat\.png: expected a picture \(PNG or JPEG\), could not read it: .*replace"):
        pictures.decode(data, "cat.png")
