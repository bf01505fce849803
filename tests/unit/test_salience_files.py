"""Maps that lie in files: masks, boxes, consensus maps; whose they are, how they are resized, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from core import datasets, salience
from core.datasets import Data
from core.datasets.split import Split
from core.errors import DataError
from core.salience.annotations import Annotations, read_annotations, seal
from core.salience.boxes import Box, Boxes, filled
from core.salience.masks import Masks

IDS = ("train/cat/0", "train/cat/1", "train/dog/2")


def pictures_at_hand(height=4, width=4, ids=IDS):
    pixels = torch.zeros(len(ids), 3, height, width, dtype=torch.uint8)
    return Split(pixels=pixels, labels=torch.zeros(len(ids), dtype=torch.int64), ids=tuple(ids))


def draw(folder, name, levels):
    path = folder / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(levels, np.uint8)).save(path)
    return path


def levels_of(source, split=None, **more):
    return salience.load(source, split or pictures_at_hand(), training=False, **more).levels[:, 0].tolist()


ASYMMETRIC = [[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100, 110], [120, 130, 140, 255]]
BLANK = [[0] * 4] * 4


def test_masks_are_found_by_source_id_and_a_picture_without_one_is_blank(tmp_path):
    draw(tmp_path, "train/cat/1", ASYMMETRIC)
    draw(tmp_path, "test/cat/9", ASYMMETRIC)
    maps = salience.load(Masks(path=tmp_path), pictures_at_hand(), training=False)
    assert maps.levels[:, 0].tolist() == [BLANK, ASYMMETRIC, BLANK]
    assert maps.annotated.tolist() == [False, True, False]
    assert (maps.record.absent, maps.record.unannotated, maps.record.blank) == (2, 0, 0)
    bare = salience.load(Masks(path=tmp_path, unannotated=1.0), pictures_at_hand(), training=True)
    assert (bare.record.absent, bare.record.unannotated, int(bare.levels.sum())) == (2, 1, 0)


def test_masks_are_found_by_the_stem_of_the_file(tmp_path):
    draw(tmp_path, "001.Albatross/2", ASYMMETRIC)
    draw(tmp_path, "elsewhere/7", ASYMMETRIC)
    assert levels_of(Masks(path=tmp_path, match="stem")) == [BLANK, BLANK, ASYMMETRIC]
    draw(tmp_path, "002.Auk/2", ASYMMETRIC)
    with pytest.raises(DataError, match=r"expected names that are unique, got .*002.Auk/2.png'; name masks by source"):
        levels_of(Masks(path=tmp_path, match="stem"))
    with pytest.raises(DataError, match="expected names that are unique, got 'train/cat/0' and 'train/dog/0'"):
        levels_of(Masks(path=tmp_path, match="stem"), pictures_at_hand(ids=("train/cat/0", "train/dog/0")))


def test_a_mask_of_the_original_is_cut_and_resized_as_its_picture_was(tmp_path):
    wide = np.zeros((4, 8), np.uint8)
    wide[:, 2:4], wide[0, 4] = 255, 100  # the middle square is columns 2 to 5: left half white
    draw(tmp_path, "train/cat/0", wide)
    split = pictures_at_hand(2, 2)
    assert levels_of(Masks(path=tmp_path, resize="nearest"), split)[0] == [[255, 0], [255, 0]]
    softened = levels_of(Masks(path=tmp_path), split)[0]
    assert softened[0][1] > softened[1][1] > 0  # antialiased: the neighbours' weight is in every pixel
    assert levels_of(Masks(path=tmp_path), split, originals={"train/cat/0": (8, 4)})[0] == softened
    with pytest.raises(DataError, match=r"cat/0\.png: expected 2×2 pixels like .*or \(9, 4\) like its file, got 8×4"):
        levels_of(Masks(path=tmp_path), split, originals={"train/cat/0": (9, 4)})
    with pytest.raises(DataError, match=r"cat/0\.png: expected 5×4 pixels like its picture, got 8×4; make"):
        levels_of(Masks(path=tmp_path), pictures_at_hand(4, 5))


def test_a_mask_and_its_picture_stay_aligned_through_the_data_set(tmp_path):
    """A picture whose red channel is its own mask, read by the data set and by the source: the same pixels."""
    picture = np.zeros((12, 20, 3), np.uint8)
    picture[:, 4:10, 0] = 255
    for split in ("train", "test"):
        (tmp_path / "data" / split / "cat").mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / "data" / split / "cat" / "0.png")
    draw(tmp_path / "masks", "train/cat/0", picture[..., 0])
    train = datasets.load(Data(source="folder", path=tmp_path / "data", size=6)).train
    (level,) = levels_of(Masks(path=tmp_path / "masks"), train)
    assert (np.asarray(level) > 127).tolist() == (train.pixels[0, 0] > 127).tolist()
    assert level[3] == [255, 255, 223, 32, 0, 0]  # the edge is antialiased, what was cut off is not mixed in


def test_names_that_fit_no_picture_are_refused_unless_ignored(tmp_path):
    draw(tmp_path, "train/cat/0", ASYMMETRIC)
    draw(tmp_path, "train/cat/77", ASYMMETRIC)
    with pytest.raises(DataError, match=r"expected source_ids of the data set, got 'train/cat/77' \(1 such\); correct"):
        levels_of(Masks(path=tmp_path))
    assert levels_of(Masks(path=tmp_path, extra="ignore"))[0] == ASYMMETRIC
    with pytest.raises(DataError, match=r"such as 'test/a/0', found none among 2; name maps by source_id"):
        levels_of(Masks(path=tmp_path), pictures_at_hand(ids=("test/a/0",)))
    with pytest.raises(DataError, match="expected a folder of masks, found none; set salience.path"):
        levels_of(Masks(path=tmp_path / "absent"))


def test_what_is_no_grey_map_is_refused(tmp_path):
    file = draw(tmp_path, "train/cat/0", ASYMMETRIC)
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(file)
    with pytest.raises(DataError, match=r"cat/0\.png: expected a map of 8-bit grey levels, got Pillow mode 'I;16'"):
        levels_of(Masks(path=tmp_path))
    file.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"cat/0\.png: expected a map \(grey PNG\), could not read it"):
        levels_of(Masks(path=tmp_path))


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((1, 2, 3, 4), range(2, 6), range(1, 4)),  # whole pixels are themselves
        ((1.5, 1.51, 2, 2), range(2, 4), range(1, 3)),  # a centre on the left edge is in, on the right edge out
        ((2.6, 2.6, 0.2, 0.2), range(2, 3), range(2, 3)),  # holds no centre: the pixel it lies in
        ((-3, -3, 4, 4), range(1), range(1)),
        ((6, 6, 100, 100), range(6, 8), range(6, 8)),
    ],
)
def test_a_pixel_is_in_a_box_if_its_centre_is(box, rows, columns):
    levels = filled([Box(**dict(zip(("x", "y", "width", "height"), box, strict=True)))], (8, 8), None, "it")
    expected = np.zeros((8, 8), np.uint8)
    expected[np.ix_(list(rows), list(columns))] = 255
    assert levels.tolist() == expected.tolist()


def test_boxes_of_the_original_move_and_shrink_with_the_picture():
    """A 40×20 original: its middle square starts at column 10; shown at 10×10, two pixels become one."""
    box = Box(x=12, y=4, width=6, height=8)
    levels = filled([box], (10, 10), (40, 20), "it")
    assert np.argwhere(levels).tolist() == [[row, column] for row in range(2, 6) for column in range(1, 4)]
    assert filled([replace(box, picture=(40, 20))], (10, 10), None, "it").tolist() == levels.tolist()
    assert int(filled([Box(x=2, y=4, width=8, height=8)], (10, 10), (40, 20), "it").sum()) == 0  # cut off
    with pytest.raises(DataError, match="it: expected a box within 40×20 pixels, got x 50, y 4.*picture_width"):
        filled([Box(x=50, y=4, width=8, height=8)], (10, 10), (40, 20), "it")
    with pytest.raises(DataError, match="it: expected 10×5 pixels like its picture, got 40×20"):
        filled([box], (10, 5), (40, 20), "it")


def test_boxes_of_a_file_are_joined_by_picture(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("source_id,x,y,width,height\ntrain/cat/1,0,0,2,1\ntrain/cat/1,3,3,1,1\ntest/cat/5,0,0,1,1\n")
    union = [[255, 255, 0, 0], [0] * 4, [0] * 4, [0, 0, 0, 255]]
    assert levels_of(Boxes(path=path)) == [BLANK, union, BLANK]
    path.write_text("source_id,x,y,width,height,picture_width,picture_height\ntrain/cat/1,0,0,4,4,8,8\n")
    assert levels_of(Boxes(path=path))[1] == [[255, 255, 0, 0], [255, 255, 0, 0], [0] * 4, [0] * 4]


@pytest.mark.parametrize("row", ["0,0,0,4", "0,0,4,-1", "a,0,4,4", "nan,0,4,4", "0,0,4", "0,0,4,4,8", "0,0,4,4,8,x"])
def test_a_row_that_is_no_box_is_named_by_its_line(tmp_path, row):
    path = tmp_path / "boxes.csv"
    path.write_text(
        f"source_id,x,y,width,height,picture_width,picture_height\ntrain/cat/0,0,0,1,1,,\ntrain/cat/1,{row}\n"
    )
    with pytest.raises(DataError, match=r"boxes\.csv: line 3: expected numbers with width and height above 0, got"):
        levels_of(Boxes(path=path))


def test_a_file_that_holds_no_boxes_is_refused(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("source_id,x,y,w,h\n")
    with pytest.raises(DataError, match="expected the columns source_id.*, got none called 'width'; add it"):
        levels_of(Boxes(path=path))
    with pytest.raises(DataError, match="expected a CSV file of boxes, could not read it"):
        levels_of(Boxes(path=tmp_path / "absent.csv"))


def test_consensus_maps_come_back_as_they_were_sealed(tmp_path):
    draw(tmp_path / "maps", "train/dog/2", ASYMMETRIC)
    draw(tmp_path / "maps", "test/dog/8", ASYMMETRIC)
    digest = seal(tmp_path)
    assert json.loads((tmp_path / "annotations.json").read_text())["sha256"] == digest
    assert list(read_annotations(tmp_path)) == ["test/dog/8", "train/dog/2"]
    maps = salience.load(Annotations(path=tmp_path), pictures_at_hand(), training=True)
    assert maps.levels[:, 0].tolist() == [BLANK, BLANK, ASYMMETRIC]
    assert maps.record.absent == 2


def forge(folder, **values):
    table = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations.json").write_text(json.dumps(table | values))


def test_consensus_maps_that_changed_after_sealing_are_refused(tmp_path):
    file = draw(tmp_path / "maps", "train/dog/2", ASYMMETRIC)
    seal(tmp_path)
    draw(tmp_path / "maps", "train/dog/2", BLANK)
    with pytest.raises(DataError, match=r"dog/2\.png: expected the map that annotations.json lists, it is absent"):
        read_annotations(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match="it is absent or changed; export the annotation study again"):
        read_annotations(tmp_path)
    forge(tmp_path, maps={})
    with pytest.raises(DataError, match="expected the maps listed to have the set's sha256, they do not"):
        read_annotations(tmp_path)
    forge(tmp_path, schema_version=9)
    with pytest.raises(DataError, match=r"expected annotations\.json of schema version 1 with maps"):
        read_annotations(tmp_path)
    (tmp_path / "annotations.json").unlink()
    with pytest.raises(DataError, match=r"annotations\.json: no such file; export the annotation study again"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_a_cache_of_other_files_is_not_used(tmp_path, kind):
    def put(levels, row):
        draw(tmp_path / "masks", "train/cat/0", levels)
        (tmp_path / "boxes.csv").write_text(f"source_id,x,y,width,height\ntrain/cat/0,{row}\n")

    source = Masks(path=tmp_path / "masks") if kind == "mask" else Boxes(path=tmp_path / "boxes.csv")
    put(ASYMMETRIC, "0,0,1,1")
    first = levels_of(source, cache=tmp_path / "cache")
    put(BLANK, "0,0,2,2")
    second = levels_of(source, cache=tmp_path / "cache")
    assert first != second
    put(ASYMMETRIC, "0,0,1,1")
    assert levels_of(source, cache=tmp_path / "cache") == first
    assert len(list((tmp_path / "cache").iterdir())) == 2
