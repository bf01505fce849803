"""The loop closed: pictures, people's masks, consensus, and SIP-AT trained on it by the command lines."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from core import picture_set, picture_sets, rng, runs, train
from core.annotations import __main__ as annotations
from core.annotations import sets
from core.annotations.sets import Annotation
from core.errors import ConfigError, DataError, RunError
from core.salience.annotations import read_annotations

RECIPE = """
seed = 3
[data]
source = "photographs"
size = 16
train_per_class = 4
test_per_class = 2
[network]
name = "small"
width = 4
[objective]
method = "sip-at"
attack = { eps = "8/255", steps = 1, step_size = "8/255" }
[salience]
source = "annotations"
path = "PATH"
[optimiser]
epochs = 1
batch_size = 30
lr = 0.1
"""


def annotated(shown, count, seed=1):
    """Three annotators, a stroke each on the first so many pictures; of the last all say that there is nothing."""
    for place, picture in enumerate(shown.pictures[:count]):
        generator = rng.numpy_generator(seed, "strokes", picture.source_id)
        for name in ("ann", "bea", "cem"):
            x, y = (8 + generator.normal(0, 1, 2)).round(2).tolist()
            yield (
                Annotation(
                    annotation_id=f"{place}-{name}",
                    source_id=picture.source_id,
                    source_class=picture.source_class,
                    annotator=name,
                    outcome="none" if place == count - 1 else "regions",
                    seconds=12.5,
                    operations=({"tool": "brush", "size": 7, "points": [[x, y, 0, 0.5], [x + 2, y, 40, 0.5]]},),
                ),
                None,
            )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("loop")
    (root / "recipe.toml").write_text(RECIPE.replace("PATH", (root / "people").as_posix()))
    assert picture_set.main([str(root / "recipe.toml"), "--out", str(root / "pictures")]) == 0
    shown = picture_sets.verify(root / "pictures")
    sets.write(root / "people", shown, annotated(shown, 40), pictures_from=root / "pictures")
    with pytest.raises(DataError, match="expected consensus maps, found annotations alone; run python -m core.annot"):
        train.main([str(root / "recipe.toml"), "--run-dir", str(root / "run"), "--device", "cpu"])
    assert annotations.main(["consensus", str(root / "people"), "--bootstrap", "100"]) == 0
    assert train.main([str(root / "recipe.toml"), "--run-dir", str(root / "run"), "--device", "cpu"]) == 0
    return root


def test_training_on_an_annotation_set_finishes_and_its_record_names_the_set_by_hash(trained):
    record = runs.read_run(trained / "run")
    people = sets.read_record(trained / "people")
    assert record.salience["source"] == "annotations"
    assert record.salience["inputs"]["annotation_set"] == people.sha256
    (manifest,) = (trained / "run" / "salience").rglob("manifest.json")
    assert json.loads(manifest.read_text())["inputs"]["annotation_set"] == people.sha256


def test_pictures_that_nobody_annotated_are_counted_and_all_of_their_pixels_may_change(trained):
    record = runs.read_run(trained / "run")
    assert (record.salience["pictures"], record.salience["absent"], record.salience["blank"]) == (60, 20, 1)
    (file,) = (trained / "run" / "salience").rglob("maps.npz")
    with np.load(file, allow_pickle=False) as arrays:
        levels, has_map = arrays["levels"], arrays["annotated"]
    assert has_map.sum() == 40
    assert levels[~has_map].max() == 0
    assert record.salience["share_spared"] == pytest.approx((levels / np.float32(255) > 0.5).mean(), abs=1e-6)
    assert record.salience["share_spared"] > 0.05


def test_the_maps_that_training_kept_are_those_of_the_set_level_for_level(trained):
    (file,) = (trained / "run" / "salience").rglob("maps.npz")
    shown = picture_sets.read(trained / "pictures")
    with np.load(file, allow_pickle=False) as arrays, np.load(trained / "people" / "maps.npz") as people:
        for place, picture in enumerate(shown.pictures[:40]):
            assert (arrays["levels"][place, 0] == people[picture.source_id]).all()
        assert len(people.files) == 40


def test_another_consensus_is_another_set_and_a_run_of_it_does_not_take_the_place_of_the_first(trained, tmp_path):
    before = sets.read_record(trained / "people").sha256
    shown = picture_sets.read(trained / "pictures")
    sets.write(tmp_path / "others", shown, annotated(shown, 40, seed=2))
    assert annotations.main(["consensus", str(tmp_path / "others"), "--bootstrap", "0"]) == 0
    assert sets.read_record(tmp_path / "others").sha256 != before
    arguments = ["--run-dir", str(trained / "run"), "--set", f'salience.path="{(tmp_path / "others").as_posix()}"']
    with pytest.raises(RunError, match="holds a run of another recipe"):
        train.main([str(trained / "recipe.toml"), "--device", "cpu", *arguments])


def test_a_changed_map_is_refused_by_training_and_by_verify(trained, tmp_path):
    shown = picture_sets.read(trained / "pictures")
    sets.write(tmp_path / "set", shown, annotated(shown, 3))
    annotations.main(["consensus", str(tmp_path / "set"), "--bootstrap", "0"])
    assert annotations.main(["verify", str(tmp_path / "set")]) == 0
    file = read_annotations(tmp_path / "set")[shown.pictures[0].source_id]
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(DataError, match="expected the map that annotations.json lists, it is absent or changed"):
        read_annotations(tmp_path / "set")
    with pytest.raises(DataError, match="expected the map that annotations.json names, it is absent or changed; run"):
        annotations.main(["verify", str(tmp_path / "set")])


def test_the_writer_of_picture_sets_draws_so_many_of_each_class_by_the_seed(trained, tmp_path):
    arguments = [str(trained / "recipe.toml"), "--per-class", "2", "--split", "test", "--seed", "4"]
    for name in ("one", "two"):
        assert picture_set.main([*arguments, "--out", str(tmp_path / name)]) == 0
    one, two = picture_sets.verify(tmp_path / "one"), picture_sets.verify(tmp_path / "two")
    assert dataclasses.replace(one, name="two") == two
    assert len(one.pictures) == 30
    assert all(picture.source_id.startswith("test/") for picture in one.pictures)


def test_a_picture_set_of_no_data_or_of_more_pictures_than_there_are_is_refused(trained, tmp_path):
    (tmp_path / "empty.toml").write_text("seed = 1")
    with pytest.raises(ConfigError, match="empty.toml: expected a .data. table, got none; give a recipe"):
        picture_set.main([str(tmp_path / "empty.toml"), "--out", str(tmp_path / "set")])
    arguments = [str(trained / "recipe.toml"), "--out", str(tmp_path / "set"), "--per-class"]
    for count in ("0", "5"):
        with pytest.raises(ConfigError, match="--per-class: expected 1 to 4, as many as 'astronaut' has, got " + count):
            picture_set.main([*arguments, count])
    assert not (tmp_path / "set").exists()
