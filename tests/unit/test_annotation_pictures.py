"""Picture sets: what was written comes back, what was changed is refused."""

from __future__ import annotations

import numpy as np
import pytest

from core import picture_sets
from core.annotations import sets
from core.errors import DataError


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_picture_sets_come_back_and_changed_ones_are_refused(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    made = picture_sets.write(tmp_path / "set", ("cat",), [("train/cat/1", "cat", pixels)])
    assert picture_sets.verify(tmp_path / "set") == made
    file = tmp_path / "set" / picture_sets.png_name(made.pictures[0].sha256)
    file.unlink()
    with pytest.raises(DataError, match="expected picture train/cat/1, it is absent or changed"):
        picture_sets.verify(tmp_path / "set")
    changed(tmp_path / "set" / "pictures.jsonl", '"width": 3', '"width": 4')
    with pytest.raises(DataError, match="expected the manifest that pictures.json names, it is absent or changed"):
        picture_sets.read(tmp_path / "set")
    changed(tmp_path / "set" / "pictures.json", '"schema_version": 1', '"schema_version": 2')
    with pytest.raises(DataError, match="expected pictures.json of schema version 1"):
        picture_sets.read(tmp_path / "set")
    row = '{"source_id": "a", "source_class": "cat", "sha256": "0", "width": 0, "height": 1}'
    (tmp_path / "rows.jsonl").write_text(row)
    with pytest.raises(DataError, match="a: expected at least 1×1 pixel, got 0×1"):
        list(picture_sets.rows(tmp_path / "rows.jsonl"))
    (tmp_path / "rows.jsonl").write_text("{}")
    with pytest.raises(DataError, match="line 1: expected a picture: "):
        list(picture_sets.rows(tmp_path / "rows.jsonl"))


def test_picture_sets_that_cannot_be_written_are_refused(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    for names, message in [
        ((), "expected pictures, got none"),
        (("train/cat/1", "train/cat/1"), "expected names that differ, got 'train/cat/1' twice"),
        (("../cat/1",), "source_id: expected <split>/<class>/<name>, got '../cat/1'"),
        (("/cat",), "source_id: expected <split>/<class>/<name>, got '/cat'"),
    ]:
        with pytest.raises(DataError, match=message):
            picture_sets.write(tmp_path / "set", ("cat",), [(name, "cat", pixels) for name in names])
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match="expected no such folder, found one"):
        picture_sets.write(tmp_path / "set", ("cat",), [])


def test_masks_that_are_no_pictures_are_refused():
    with pytest.raises(DataError, match="m.png: expected a mask .grey PNG., could not read it"):
        sets.decode_mask(b"no picture", "m.png", (3, 2))
    with pytest.raises(DataError, match="m.png: expected a mask of 3×2 pixels like its picture, got 2×3"):
        sets.decode_mask(sets.encode_mask(np.ones((3, 2), bool)), "m.png", (3, 2))
