"""Consensus and agreement: laws, the rule of the threshold, and what is left out."""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from core import picture_sets, rng
from core.annotations import __main__ as command
from core.annotations import consensus, sets
from core.annotations.agreement import (
    Totals,
    check_replicates,
    estimate,
    indices,
    intersections,
    over_annotators,
    overlaps,
    sums_of,
    weights,
)
from core.annotations.consensus import Settings, mean_map, salient
from core.annotations.sets import Annotation
from core.annotations.staple import staple
from core.errors import DataError
from core.tensors import to_unit

QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
stacks = arrays(bool, st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6)))
WIDTH, HEIGHT = 12, 8


@QUICK
@given(stacks)
def test_dice_and_iou_of_all_pairs_are_those_of_the_definition_and_two_empty_masks_agree(masks):
    dice, iou = overlaps(intersections(masks))
    for one in range(len(masks)):
        for two in range(len(masks)):
            both, either = (masks[one] & masks[two]).sum(), (masks[one] | masks[two]).sum()
            total = masks[one].sum() + masks[two].sum()
            assert dice[one, two] == pytest.approx(2 * both / total if total else 1)
            assert iou[one, two] == pytest.approx(both / either if either else 1)
    assert np.allclose(iou, dice / (2 - dice))


def measures(masks):
    votes = np.bincount(masks.sum(axis=0).reshape(-1), minlength=len(masks) + 1)
    return indices(sums_of(intersections(masks), votes))


@QUICK
@given(arrays(bool, (5, 6)), st.integers(2, 5))
def test_people_who_paint_the_same_agree_wholly_and_a_blank_picture_has_no_alpha(mask, count):
    found = measures(np.stack([mask] * count))
    assert found["dice"] == found["iou"] == 1
    if mask.any() and not mask.all():
        assert found["alpha_pixels"] == found["fleiss_kappa"] == 1
    else:
        assert np.isnan(found["alpha_pixels"])
        assert np.isnan(found["fleiss_kappa"])


@QUICK
@given(stacks, st.randoms(use_true_random=False))
def test_agreement_does_not_depend_on_the_order_of_annotators(masks, random):
    order = list(range(len(masks)))
    random.shuffle(order)
    one, two = measures(masks), measures(masks[order])
    assert all(one[name] == pytest.approx(two[name], nan_ok=True) for name in one)


def test_masks_by_chance_have_alpha_and_kappa_of_about_zero_and_opposite_masks_below():
    masks = rng.numpy_generator(1, "chance").random((4, 100, 100)) < 0.3
    found = measures(masks)
    assert abs(found["alpha_pixels"]) < 0.02
    assert abs(found["fleiss_kappa"]) < 0.02
    half = np.zeros((10, 10), bool)
    half[:5] = True
    assert measures(np.stack([half, ~half]))["alpha_pixels"] < -0.9


def test_the_soft_map_is_the_share_of_annotators_and_exactly_half_of_them_is_no_majority():
    for count in range(1, 12):
        votes = np.arange(count + 1, dtype=np.uint16)
        levels = mean_map(votes, count)
        assert np.abs(levels / 255 - votes / count).max() <= 0.5 / 255 + 1e-12
        assert (levels[0], levels[-1]) == (0, 255)
        assert salient(levels, 0.5).tolist() == (2 * votes > count).tolist()


@pytest.mark.parametrize("threshold", [0, 0.2, 0.25, 1 / 3, 0.5, 51 / 255, 0.6, 0.75, 0.8, 254 / 255])
def test_the_binary_map_is_salient_where_training_says_so_at_every_level(threshold):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (salient(levels, threshold) == (to_unit(torch.from_numpy(levels)) > threshold).numpy()).all()


def test_staple_trusts_those_who_agree_and_keeps_what_everybody_says():
    truth = np.zeros((30, 30), bool)
    truth[8:20, 8:20] = True
    generator = rng.numpy_generator(2, "staple")
    masks = np.stack([truth ^ (generator.random(truth.shape) < error) for error in (0.03, 0.05, 0.04, 0.45)])
    found = staple(masks)
    assert found.sensitivity[3] < 0.7 < found.sensitivity[:3].min()
    assert ((found.probability > 0.5) == truth).mean() > 0.98
    assert found.prior == pytest.approx(masks.mean())


@pytest.mark.parametrize("value", [False, True])
def test_staple_of_blank_or_full_masks_is_the_mask_itself(value):
    found = staple(np.full((3, 4, 5), value))
    assert (found.probability == value).all()
    assert found.rounds == 0
    assert np.isnan(found.specificity if value else found.sensitivity).all()


def test_staple_does_not_depend_on_the_order_of_annotators_and_refuses_none_or_too_many():
    masks = rng.numpy_generator(3, "order").random((5, 9, 9)) < 0.4
    assert np.allclose(staple(masks).probability, staple(masks[::-1]).probability, atol=1e-9)
    with pytest.raises(DataError, match="STAPLE: expected masks of 1 to 62 annotators of a picture, got 0"):
        staple(np.zeros((0, 2, 2), bool))
    with pytest.raises(DataError, match="annotators of a picture, got 63"):
        staple(np.zeros((63, 2, 2), bool))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Of 200 seeded studies of 60 pictures, about 95 % of the intervals of mean Dice hold the mean of all pictures."""
    generator, covered = rng.numpy_generator(1, "coverage"), 0
    for study in range(200):
        totals = Totals(12, 400)
        for picture in range(60):
            sums = np.ones(12)
            sums[1] = generator.beta(6, 3)
            totals.add(sums, weights(study, f"p{picture}", 400))
        found = totals.measures()["dice"]
        covered += found["low"] <= 6 / 9 <= found["high"]
    assert 0.90 <= covered / 200 <= 0.99


def test_an_interval_over_annotators_is_wider_where_one_of_them_disagrees_and_needs_four():
    def pairs(odd):
        names = "abcdef"
        dice = {(x, y): odd if "f" in (x, y) else 0.8 for x in names for y in names if x < y}
        return {pair: np.asarray([10, 10 * value, 5 * value]) for pair, value in dice.items()}

    same, odd = over_annotators(pairs(0.8))["dice"], over_annotators(pairs(0.2))["dice"]
    assert same["estimate"] == pytest.approx(0.8)
    assert same["high"] - same["low"] < 1e-9
    assert odd["low"] < odd["estimate"] < odd["high"]
    refused = over_annotators({("a", "b"): np.ones(3)})
    assert refused["not_estimable"]["message"] == "an interval over annotators needs at least 4, got 2"


def test_fewer_than_five_pictures_give_no_interval():
    totals = Totals(12, 200)
    for picture in range(5):
        assert totals.measures()["dice"]["low"] is None
        totals.add(np.ones(12), weights(1, f"p{picture}", 200))
    assert totals.measures()["dice"] == {"estimate": 1, "low": 1, "high": 1}


def test_what_is_not_defined_has_no_number_and_few_replicates_are_refused():
    assert estimate(np.nan, np.ones(100), 9) == {"estimate": None, "low": None, "high": None}
    assert estimate(0.5, np.full(100, np.nan), 9) == {"estimate": 0.5, "low": None, "high": None}
    with pytest.raises(DataError, match="bootstrap: expected 0 .no intervals. or at least 100 replicates, got 99"):
        check_replicates(99)
    with pytest.raises(DataError, match="threshold: expected at least 0 and below 1, got 1"):
        Settings(threshold=1)
    with pytest.raises(DataError, match="shown: expected at least 0 pictures, got -1"):
        Settings(shown=-1)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "set"
    pixels = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint16).astype(np.uint8).reshape(HEIGHT, WIDTH, 3)
    named = [(f"train/{label}/{place}", label, pixels + place) for label in ("cat", "dog") for place in range(4)]
    return folder, picture_sets.write(folder, ("cat", "dog"), named)


def annotation(picture, annotator, outcome="regions", **values):
    x = 2 + "abcd".index(annotator)
    box = {"tool": "box", "mode": "add", "points": [[x, 2, 0], [x + 4, 6, 9]]}
    return Annotation(
        annotation_id=f"{picture.source_id}-{annotator}", source_id=picture.source_id, seconds=4.0,
        source_class=picture.source_class, annotator=annotator, outcome=outcome, operations=(box,), **values,
    )  # fmt: skip


def drawn(pictures, count=3):
    for picture in pictures:
        yield from ((annotation(picture, annotator), None) for annotator in "abcd"[:count])


@pytest.fixture
def made(tmp_path, shown):
    folder, pictures = shown
    rows = [*drawn(pictures.pictures[:5])]
    rows += [(annotation(pictures.pictures[5], "a"), None)]
    rows += [(annotation(pictures.pictures[6], name, "none"), None) for name in "ab"]
    rows += [
        (annotation(pictures.pictures[6], "c", "skipped", skip_reason="too dark"), None),
        (annotation(pictures.pictures[7], "a", practice=True), None),
        (annotation(pictures.pictures[7], "b", review="returned"), None),
    ]
    sets.write(tmp_path / "set", pictures, rows, pictures_from=folder)
    return tmp_path / "set"


def test_consensus_writes_every_file_and_the_same_bytes_again(made):
    assert command.main(["consensus", str(made), "--bootstrap", "100"]) == 0
    names = ("annotations.json", "maps.npz", "coco.json", "agreement.json", "agreement.csv", "overlays.html")
    before = {name: (made / name).read_bytes() for name in names}
    assert command.main(["consensus", str(made), "--bootstrap", "100"]) == 0
    assert before == {name: (made / name).read_bytes() for name in names}
    assert command.main(["verify", str(made)]) == 0
    assert not (made / ".consensus").exists()


def test_skipped_returned_and_practice_annotations_do_not_count_and_none_gives_a_blank_map(made, shown):
    record = consensus.make(made, Settings(bootstrap=0))
    names = [picture.source_id for picture in shown[1].pictures]
    assert list(record.maps) == names[:7]
    assert np.asarray(Image.open(made / "maps" / f"{names[6]}.png")).max() == 0
    table = json.loads((made / "agreement.json").read_text())
    assert (table["pictures"], table["pictures_with_one_annotator"], table["overall"]["pictures"]) == (7, 1, 6)
    assert table["annotators"]["c"]["annotations"] == 5
    assert table["annotators"]["a"] | {"dice": 0, "iou": 0} == {
        "robot": False, "annotations": 7, "none": 1, "mean_seconds": 4.0, "mean_area": pytest.approx(6 / 7 * 16 / 96),
        "compared_pictures": 6, "dice": 0, "iou": 0,
    }  # fmt: skip


def test_the_tables_hold_what_the_masks_say(made, shown):
    consensus.make(made, Settings(bootstrap=0))
    with (made / "agreement.csv").open(newline="") as file:
        rows = {row["source_id"]: row for row in csv.DictReader(file)}
    first = rows[shown[1].pictures[0].source_id]
    assert float(first["dice"]) == pytest.approx((0.75 + 0.75 + 0.5) / 3)  # boxes 4 wide, moved by 1, 1 and 2
    assert float(first["least_dice"]) == 0.5
    assert float(first["consensus_area"]) == pytest.approx(16 / 96)
    blank = rows[shown[1].pictures[6].source_id]
    assert (blank["dice"], blank["alpha_pixels"]) == ("1.0", "")
    assert rows[shown[1].pictures[5].source_id]["dice"] == ""
    coco = json.loads((made / "coco.json").read_text())
    assert len(coco["images"]) == 8
    assert [entry["kind"] for entry in coco["annotations"]].count("consensus") == 7
    assert coco["annotations"][0]["bbox"] == [2, 2, 4, 4]
    assert coco["annotations"][0]["area"] == 16


def test_png_npz_and_binary_say_the_same_and_entries_have_no_clock(made, shown):
    record = consensus.make(made, Settings(bootstrap=0, threshold=0.4))
    with np.load(made / "maps.npz") as maps:
        for name in record.maps:
            levels = np.asarray(Image.open(made / "maps" / f"{name}.png"))
            assert (maps[name] == levels).all()
            assert ((np.asarray(Image.open(made / "binary" / f"{name}.png")) == 255) == salient(levels, 0.4)).all()
    with zipfile.ZipFile(made / "maps.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_page_shows_the_least_agreed_pictures_first_and_fetches_nothing(made):
    consensus.make(made, Settings(bootstrap=0, shown=2))
    page = (made / "overlays.html").read_text()
    assert page.count("<section>") == 2
    assert "Dice 0.667 · IoU 0.511 · 3 annotators" in page
    assert "http" not in page
    assert page.count('src="data:image/png;base64,') == 2 * 5


def test_staple_maps_of_equal_boxes_put_the_certain_pixels_first(made, shown):
    consensus.make(made, Settings(bootstrap=0, method="staple"))
    levels = np.asarray(Image.open(made / "maps" / f"{shown[1].pictures[0].source_id}.png"))
    assert levels[3, 5] == 255
    assert levels[0, 0] == 0
    assert sets.read_record(made).consensus["method"] == "staple"


def test_a_set_without_annotations_that_count_has_no_consensus(tmp_path, shown):
    sets.write(tmp_path / "set", shown[1], [(annotation(shown[1].pictures[0], "a", "skipped"), None)])
    with pytest.raises(DataError, match="expected annotations that count, found none"):
        consensus.make(tmp_path / "set", Settings())
    assert not (tmp_path / "set" / ".consensus").exists()


def row(shown, **values):
    return dataclasses.replace(annotation(shown[1].pictures[0], "a"), **values)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (lambda s: [(row(s, source_id="train/cow/1"), None)], "expected a picture of the set, got 'train/cow/1'"),
        (lambda s: [(row(s, source_class="dog"), None)], "expected class 'cat' of train/cat/0, got 'dog'"),
        (lambda s: [(row(s), None), (row(s), None)], "expected one annotation an annotator, got two of 'a'"),
        (lambda s: [(row(s), np.ones((8, 11), bool))], "expected a mask of 12×8 pixels like train/cat/0, got 11×8"),
        (lambda s: [(row(s, operations=({"tool": "box"},)), None)], "operation 0: box: missing key 'mode'"),
        (
            lambda s: [(annotation(s[1].pictures[n], "a"), None) for n in (0, 1, 0)],
            "train/cat/0: expected its annotations one after the other, got them apart",
        ),
    ],
)  # fmt: skip
def test_annotations_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path, shown, rows, message):
    with pytest.raises(DataError, match=message):
        sets.write(tmp_path / "set", shown[1], rows(shown))
    assert not list(tmp_path.iterdir())


def test_a_set_is_not_written_over_another_and_pictures_must_be_there_to_be_copied(tmp_path, shown):
    sets.write(tmp_path / "set", shown[1], drawn(shown[1].pictures))
    with pytest.raises(DataError, match="expected no such folder, found one"):
        sets.write(tmp_path / "set", shown[1], drawn(shown[1].pictures))
    with pytest.raises(DataError, match="expected a picture of the picture set, found none"):
        sets.write(tmp_path / "two", shown[1], drawn(shown[1].pictures), pictures_from=tmp_path)


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_what_was_changed_after_writing_is_found_out(made, shown):
    consensus.make(made, Settings(bootstrap=0))
    first = next(sets.rows(made))
    mask = sets.mask_path(made, first)
    data = mask.read_bytes()
    mask.write_bytes(sets.encode_mask(np.zeros((HEIGHT, WIDTH), bool)))
    with pytest.raises(DataError, match="expected the mask that annotations.jsonl names, it was changed"):
        consensus.verify(made)
    mask.unlink()
    with pytest.raises(DataError, match="expected the mask of an annotation, found none"):
        consensus.make(made, Settings(bootstrap=0))
    mask.write_bytes(data)
    (made / "agreement.csv").write_text("nothing")
    with pytest.raises(DataError, match="agreement.csv: expected the table that annotations.json names"):
        consensus.verify(made)
    changed(made / "annotations.jsonl", '"round": 1', '"round": 2')
    with pytest.raises(DataError, match="annotations.jsonl: expected the table that annotations.json names"):
        sets.read_record(made)


def reseal(made, **values):
    """Makes annotations.json name the tables as they are now."""
    table = json.loads((made / "annotations.json").read_text())
    table["tables"] |= {name: picture_sets.files.sha256_file(made / name) for name in sets.INPUTS}
    (made / "annotations.json").write_text(json.dumps(table | values))


def test_verify_finds_masks_that_are_not_what_their_operations_paint(made):
    changed(made / "annotations.jsonl", "[[2, 2, 0], [6, 6, 9]]", "[[2, 2, 0], [7, 6, 9]]")
    reseal(made)
    with pytest.raises(DataError, match="expected what its operations paint"):
        consensus.verify(made)


def test_verify_finds_rows_of_no_picture_masks_of_skipped_ones_and_maps_too_few(made, shown):
    consensus.make(made, Settings(bootstrap=0))
    stray = sets.mask_path(made, annotation(shown[1].pictures[6], "c"))
    stray.write_bytes(b"")
    with pytest.raises(DataError, match="expected no mask of a skipped picture"):
        consensus.verify(made)
    stray.unlink()
    reseal(made, maps={}, sha256=sets.maps_sha256({}))
    with pytest.raises(DataError, match="expected a map of each annotated picture, got others"):
        consensus.verify(made)
    changed(made / "annotations.jsonl", '"source_id": "train/cat/0"', '"source_id": "train/cat/9"')
    reseal(made)
    with pytest.raises(DataError, match="expected a picture of the set, got 'train/cat/9'"):
        consensus.verify(made)


def test_records_and_rows_of_another_form_are_refused(made):
    reseal(made, sha256="0")
    with pytest.raises(DataError, match="expected the maps listed to have the set's sha256"):
        sets.read_record(made)
    reseal(made, extra=1)
    with pytest.raises(DataError, match="unknown key 'extra'"):
        sets.read_record(made)
    reseal(made, kind="other")
    with pytest.raises(DataError, match="expected schema version 2 of 'percepsilon annotations'"):
        sets.read_record(made)
    changed(made / "annotations.jsonl", '"annotator": "a"', '"annotator": "../a"')
    with pytest.raises(DataError, match="line 1: expected an annotation: .*annotator: expected a word of letters"):
        list(sets.rows(made))
