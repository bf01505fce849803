"""Masks as run lengths, and masks made elsewhere: what fits comes in as it was, what does not is refused whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core import picture_sets
from core.annotations import importing, rle, sets
from core.errors import DataError

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
some_masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@QUICK
@given(some_masks)
def test_coco_counts_and_their_text_give_the_mask_back(mask):
    height, width = mask.shape
    counts = rle.counts_of(mask)
    assert (rle.mask_of(counts, width, height) == mask).all()
    assert rle.counts_of_text(rle.text_of(counts)) == counts


@QUICK
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=12))
def test_every_list_of_counts_survives_the_text(counts):
    assert rle.counts_of_text(rle.text_of(counts)) == counts


def packed(mask, sizes=(3, 4, 8, 16)):
    """Packs a mask as Label Studio does: opaque where painted; runs as such, up to three values one by one."""
    values = np.repeat(mask.reshape(-1).astype(int) * 255, 4)
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    place = 0
    while place < len(values):
        length = 1
        while place + length < len(values) and values[place + length] == values[place] and length < 1 << sizes[-1]:
            length += 1
        size = next(index for index, size in enumerate(sizes) if length <= 1 << size)
        bits += f"1{size:02b}{length - 1:0{sizes[size]}b}{values[place]:08b}"
        place += length
        if len(values) - place >= 2 and place % 3 == 0:  # now and then some values that are no run
            bits += f"0{0:02b}{1:0{sizes[0]}b}{values[place]:08b}{values[place + 1]:08b}"
            place += 2
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


@QUICK
@given(some_masks)
def test_a_brush_packed_as_label_studio_does_is_read_back(mask):
    height, width = mask.shape
    assert (rle.brush_of(packed(mask), width, height) == mask).all()


def test_run_lengths_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="COCO RLE: expected counts of 3×2 = 6 pixels in all, got 7"):
        rle.mask_of([3, 4], 3, 2)
    with pytest.raises(DataError, match="COCO RLE: expected counts of 3×2 = 6 pixels"):
        rle.mask_of([-1, 7], 3, 2)
    with pytest.raises(DataError, match="COCO RLE: expected characters from '0' to 'o', got 'é'"):
        rle.counts_of_text("0é")
    with pytest.raises(DataError, match="COCO RLE: expected a whole string, got one that ends within a number"):
        rle.counts_of_text("o")
    with pytest.raises(DataError, match="Label Studio RLE: .* it holds 24 values, not four of each pixel, 12"):
        rle.brush_of(packed(np.ones((2, 3), bool)), 3, 1)
    with pytest.raises(DataError, match="Label Studio RLE: expected a packed brush, could not read it: it ends after"):
        rle.brush_of(packed(np.ones((2, 3), bool))[:6], 3, 2)
    with pytest.raises(DataError, match="Label Studio RLE: expected a packed brush"):
        rle.brush_of([300, 1], 3, 2)


WIDTH, HEIGHT = 9, 6
L_SHAPE = np.zeros((HEIGHT, WIDTH), bool)
L_SHAPE[1:5, 2] = L_SHAPE[4, 2:8] = True


@pytest.fixture
def shown(tmp_path):
    pixels = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
    named = [(f"train/{label}/{place}", label, pixels + place) for label in ("cat", "dog") for place in range(2)]
    picture_sets.write(tmp_path / "pictures", ("cat", "dog"), named)
    return tmp_path / "pictures"


def read_in(form, path, shown):
    out = shown.parent / "out"
    importing.read_in(form, path, shown, out)
    sizes = (WIDTH, HEIGHT)
    return {(row.source_id, row.annotator): (row, sets.read_mask(out, row, sizes)) for row in sets.rows(out)}


def refused(form, path, shown, message):
    with pytest.raises(DataError, match=message):
        importing.read_in(form, path, shown, shown.parent / "out")
    assert not (shown.parent / "out").exists()
    assert not list(shown.parent.glob(".out*"))


def put(folder, name, mask):
    file = folder / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(sets.encode_mask(mask))


def test_a_folder_of_masks_is_read_of_one_person_or_of_several(tmp_path, shown):
    put(tmp_path / "masks", "train/cat/0", L_SHAPE)
    put(tmp_path / "masks", "ann/train/dog/1", ~L_SHAPE)
    put(tmp_path / "masks", "bea/train/dog/1", np.zeros_like(L_SHAPE))
    found = read_in("masks", tmp_path / "masks", shown)
    assert set(found) == {("train/cat/0", "imported"), ("train/dog/1", "ann"), ("train/dog/1", "bea")}
    assert (found["train/cat/0", "imported"][1] == L_SHAPE).all()
    assert (found["train/dog/1", "ann"][1] == ~L_SHAPE).all()
    assert found["train/dog/1", "bea"][0].outcome == "none"


def test_masks_of_another_size_of_no_picture_or_that_are_none_are_refused_and_nothing_is_written(tmp_path, shown):
    put(tmp_path / "masks", "train/cat/0", L_SHAPE)
    put(tmp_path / "masks", "train/dog/0", L_SHAPE.T)
    refused("masks", tmp_path / "masks", shown, "dog/0.png: expected a mask of 9×6 pixels like its picture, got 6×9")
    put(tmp_path / "other", "train/cow/0", L_SHAPE)
    refused("masks", tmp_path / "other", shown, "expected a picture of the picture set, got 'cow/0'")
    refused("masks", tmp_path / "absent", shown, "expected a folder of PNG masks, found none")
    (tmp_path / "empty").mkdir()
    refused("masks", tmp_path / "empty", shown, "expected PNG masks named by source_id, found none")
    (tmp_path / "text" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "text" / "train" / "cat" / "0.png").write_text("no picture")
    refused("masks", tmp_path / "text", shown, "expected a mask .grey PNG., could not read it")
    put(tmp_path / "name", "a b/train/cat/0", L_SHAPE)
    refused("masks", tmp_path / "name", shown, "annotator: expected a word of letters")


def boxes(tmp_path, *lines, head="source_id,x,y,width,height"):
    (tmp_path / "boxes.csv").write_text("\n".join((head, *lines)) + "\n")
    return tmp_path / "boxes.csv"


def test_boxes_of_one_picture_are_joined_and_cut_at_the_border(tmp_path, shown):
    found = read_in("boxes", boxes(tmp_path, "train/cat/0,1,1,2,3", "train/cat/0,-2,4,4,9"), shown)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[1:4, 1:3] = expected[4:, :2] = True
    assert (found["train/cat/0", "imported"][1] == expected).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train/cow/0,1,1,2,3", "line 2: expected a picture of the picture set, got 'train/cow/0'"),
        ("train/cat/0,1,1,0,3", "line 2: expected numbers with width and height above 0"),
        ("train/cat/0,nan,1,1,3", "line 2: expected numbers with width and height above 0"),
        ("train/cat/0,one,1,1,3", "line 2: expected numbers with width and height above 0"),
        ("train/cat/0,9,1,1,3", "line 2: expected a box within 9×6 pixels, got x 9, y 1"),
    ],
)
def test_boxes_that_do_not_fit_are_refused(tmp_path, shown, line, message):
    refused("boxes", boxes(tmp_path, line), shown, message)


def test_boxes_in_another_size_or_without_a_column_are_refused(tmp_path, shown):
    head = "source_id,x,y,width,height,picture_width,picture_height"
    file = boxes(tmp_path, "train/cat/0,1,1,2,3,90,60", head=head)
    refused("boxes", file, shown, "expected boxes in pixels of the picture of 9×6 pixels, got ones of 90×60")
    refused("boxes", boxes(tmp_path, head="source_id,x,y,width"), shown, "expected the columns .* none called 'height'")
    refused("boxes", tmp_path / "absent.csv", shown, "expected a CSV file of boxes, could not read it")


def coco(tmp_path, segmentation, **changes):
    table = {
        "images": [{"id": 7, "file_name": "train/cat/0.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": segmentation, "annotator": "ann"}],
    }
    for place, values in changes.items():
        table[place][0] |= values
    (tmp_path / "coco.json").write_text(json.dumps(table))
    return tmp_path / "coco.json"


@pytest.mark.parametrize("form", ["text", "counts", "polygon"])
def test_coco_masks_are_read_as_text_counts_and_polygons(tmp_path, shown, form):
    counts = rle.counts_of(L_SHAPE)
    segmentation = {
        "text": {"size": [HEIGHT, WIDTH], "counts": rle.text_of(counts)},
        "counts": {"size": [HEIGHT, WIDTH], "counts": counts},
        "polygon": [[2, 1, 3, 1, 3, 4, 8, 4, 8, 5, 2, 5]],
    }[form]
    found = read_in("coco", coco(tmp_path, segmentation), shown)
    assert (found["train/cat/0", "ann"][1] == L_SHAPE).all()


@pytest.mark.parametrize(
    ("segmentation", "changes", "message"),
    [
        ({"size": [WIDTH, HEIGHT], "counts": [54]}, {}, "expected 9×6 pixels like train/cat/0, got 6×9"),
        ({"size": [HEIGHT, WIDTH], "counts": [53]}, {}, "annotation 1: COCO RLE: expected counts of 9×6"),
        ([[1, 2, 3]], {}, "annotation 1: expected RLE or polygons of x, y"),
        ([], {"images": {"file_name": "train/cow/1.jpg"}}, "expected a picture of the picture set, got 'train/cow/1'"),
        ([], {"images": {"width": 8}}, "image 7: expected 9×6 pixels like train/cat/0, got 8×6"),
        ([], {"annotations": {"category_id": 4}}, "expected the picture's class 'cat', got 'dog'"),
        ([], {"annotations": {"image_id": 8}}, "annotation 1: expected an image of the file, got 8"),
        (None, {}, "expected a COCO file of instances, an entry lacks something"),
    ],
)
def test_coco_files_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, shown, segmentation, changes, message):
    refused("coco", coco(tmp_path, segmentation, **changes), shown, message)


def test_a_coco_file_without_lists_is_refused(tmp_path, shown):
    (tmp_path / "coco.json").write_text('{"images": []}')
    refused("coco", tmp_path / "coco.json", shown, "expected the lists images, annotations and categories")


def studio(tmp_path, mask, data=None, **changes):
    region = {"id": "r", "original_width": WIDTH, "original_height": HEIGHT, "value": {"rle": packed(mask)}} | changes
    task = {"id": 5, "data": data or {"image": "/data/upload/train/cat/0.png"}}
    task["annotations"] = [{"completed_by": 2, "result": [region, {"value": {"choices": ["x"]}}]}]
    (tmp_path / "studio.json").write_text(json.dumps([task]))
    return tmp_path / "studio.json"


@pytest.mark.parametrize("data", [None, {"source_id": "train/cat/0", "image": "s3://elsewhere/1.png"}])
def test_brushes_of_label_studio_are_read_by_picture_and_annotator(tmp_path, shown, data):
    found = read_in("label-studio", studio(tmp_path, L_SHAPE, data), shown)
    assert (found["train/cat/0", "annotator-2"][1] == L_SHAPE).all()


def test_label_studio_files_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, shown):
    refused("label-studio", studio(tmp_path, L_SHAPE, original_width=8), shown, "region r: expected 9×6 pixels like")
    refused("label-studio", studio(tmp_path, L_SHAPE, value={"rle": [1]}), shown, "region r: Label Studio RLE")
    file = studio(tmp_path, L_SHAPE, {"image": "/x/cow.png"})
    refused("label-studio", file, shown, "task 5: expected a picture of the picture set, got '/x/cow'")
    file.write_text("[{}]")
    refused("label-studio", file, shown, "expected Label Studio's JSON export, a task lacks something: KeyError")
    file.write_text("[")
    refused("label-studio", file, shown, "expected Label Studio's JSON export, could not read it")
