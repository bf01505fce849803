"""The report's section on salient regions, from an annotation set, runs with their maps, and evaluations."""

from __future__ import annotations

import dataclasses
import json
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy.stats import spearmanr

from analysis import region_maps, report, salient_regions
from analysis.blocks import Figure, Paragraph, Table
from analysis.study import read_study
from core import datasets, kept_maps, picture_sets, rng, salience
from core.annotations import consensus, sets
from core.annotations.consensus import Settings
from core.annotations.sets import Annotation
from core.datasets import Data
from core.errors import DataError, RunError
from core.runs import RunRecord, write_record
from core.salience.annotations import Annotations
from core.salience.drawn import CentreGaussian
from core.salience.spectral import SpectralResidual
from tests.simulated_export import write_evaluation, write_export

SIDE, COUNT = 16, 30


def strokes(shown, seed, spread, robot=False):
    for picture in shown.pictures[:COUNT]:
        generator = rng.numpy_generator(seed, "strokes", picture.source_id)
        for name in ("ann", "bea", "cem"):
            x, y = (8 + generator.normal(0, spread, 2)).clip(0, SIDE).round(2).tolist()
            yield (
                Annotation(
                    annotation_id=f"{picture.source_id}-{name}", source_id=picture.source_id, seconds=9.0,
                    source_class=picture.source_class, annotator=name, outcome="regions", robot=robot,
                    operations=({"tool": "brush", "size": 8, "points": [[x, y, 0, 1]]},),
                ),
                None,
            )  # fmt: skip


def finished_run(directory, method, source, split, threshold):
    """A run as training leaves it, as far as the report reads it: its record, settings and maps."""
    maps = None
    if source is not None:
        maps = salience.load(source, split, training=True, cache=directory / "salience")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.toml").write_text(f'[objective]\nmethod = "{method}"\nthreshold = {threshold}\n')
    record = {} if maps is None else {**dataclasses.asdict(maps.record), "share_spared": 0.25}
    write_record(
        directory / "record.json",
        RunRecord(
            schema_version=1, run=directory.name, method=method, classes=("a",), height=SIDE, width=SIDE,
            dataset="photographs", dataset_fingerprint="0" * 64, train_pictures=len(split), salience=record, seed=1,
            epochs=1, seconds=1.0, commit="unknown", dirty=True, device="cpu", threads=1, versions={},
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("salient")
    data = datasets.load(Data(source="photographs", size=SIDE, train_per_class=2, test_per_class=1))
    pixels = data.train.pixels.permute(0, 2, 3, 1).numpy()
    labels = data.train.labels.tolist()
    named = [(name, data.classes[labels[place]], pixels[place]) for place, name in enumerate(data.train.ids)]
    shown = picture_sets.write(root / "pictures", data.classes, named)
    for name, seed, spread in (("people", 1, 1.0), ("others", 2, 3.0)):
        sets.write(root / name, shown, strokes(shown, seed, spread), pictures_from=root / "pictures")
        consensus.make(root / name, Settings(bootstrap=200))
    sources = {
        "plain": ("pgd-at", None), "machine": ("sip-at", SpectralResidual()), "middle": ("sip-at", CentreGaussian()),
        "human": ("sip-at", Annotations(path=root / "people")),
    }  # fmt: skip
    for half, (run, (method, source)) in zip((4.0, 6.0, 7.0, 9.0), sources.items(), strict=True):
        finished_run(root / "runs" / run, method, source, data.train, 0.75)
        write_evaluation(root / "runs" / run, run, half=half)
    write_export(root / "export", participants=4, seed=1)
    return root


@pytest.fixture(scope="module")
def study(made):
    runs = sorted((made / "runs").iterdir())
    return read_study(made / "export", evaluations=runs, replicates=200, seed=1, progress=False)


@pytest.fixture(scope="module")
def section(made, study):
    runs = sorted((made / "runs").iterdir())
    return salient_regions.section(study, [made / "people", made / "others"], runs)


def test_agreement_is_what_consensus_wrote_with_intervals_by_class_and_by_annotator(made, section):
    table = json.loads((made / "people" / "agreement.json").read_text())
    first = section.results["sets"][0]
    assert first["overall"] == table["overall"]
    assert first["overall"]["dice"]["low"] < first["overall"]["dice"]["estimate"] < first["overall"]["dice"]["high"]
    assert set(first["classes"]) == set(table["classes"])
    assert set(first["annotators"]) == {"ann", "bea", "cem"}
    assert first["overall"]["dice"]["estimate"] > section.results["sets"][1]["overall"]["dice"]["estimate"]


def test_people_are_compared_with_the_maps_of_runs_and_with_a_second_set_but_not_with_their_own(section):
    compared = {row["other"]: row for row in section.results["comparisons"]}
    assert set(compared) == {"spectral-residual", "centre-gaussian", "others"}
    assert compared["centre-gaussian"]["rank_correlation"]["estimate"] > 0.4
    assert compared["spectral-residual"]["threshold_other"] == 0.75
    assert compared["others"]["threshold_other"] == 0.5
    for row in compared.values():
        assert row["pictures"] == COUNT
        assert row["iou"]["low"] <= row["iou"]["estimate"] <= row["iou"]["high"]
        difference = row["area_other"]["estimate"] - row["area_people"]["estimate"]
        assert row["area_difference"]["estimate"] == pytest.approx(difference)


def test_measures_of_two_maps_are_those_of_their_definition():
    generator = rng.numpy_generator(1, "maps")
    one, two = (generator.integers(0, 256, (9, 7)).astype(np.uint8) for _ in range(2))
    two[:4] = one[:4]
    found = region_maps.compare(one, two, 0.5, 0.25)
    mine, theirs = one / 255 > 0.5, two / 255 > 0.25
    assert found["iou"] == pytest.approx((mine & theirs).sum() / (mine | theirs).sum())
    assert found["rank_correlation"] == pytest.approx(spearmanr(one.reshape(-1), two.reshape(-1)).statistic)
    blank = np.zeros((9, 7), np.uint8)
    assert region_maps.compare(blank, blank, 0.5, 0.5)["iou"] == 1
    assert region_maps.compare(blank, two, 0.5, 0.5)["rank_correlation"] is None


def test_training_is_told_by_source_and_the_set_is_named_by_its_hash(made, section):
    rows = {row["run"]: row for row in section.results["training"]}
    assert {run: row["salience"] for run, row in rows.items()} == {
        "plain": "none", "machine": "spectral-residual", "middle": "centre-gaussian", "human": "people: people",
    }  # fmt: skip
    assert rows["human"]["annotation_set"] == sets.read_record(made / "people").sha256
    assert rows["human"]["eps"] == 8
    robust = [rows[run]["robust"]["estimate"] for run in ("plain", "machine", "middle", "human")]
    assert robust == sorted(robust)
    assert rows["plain"]["clean"]["estimate"] == pytest.approx(0.9)


def test_blocks_can_be_shown_and_the_figure_holds_its_pictures(section):
    names = [block.name for block in section.blocks if isinstance(block, Table)]
    assert names == ["agreement", "agreement-classes", "annotators", "maps", "maps-classes", "training"]
    for block in section.blocks:
        table = block.table if isinstance(block, Figure) else block
        if isinstance(table, Table):
            shown = [column.show(row) for row in table.rows for column in table.columns]
            assert all(isinstance(text, str) and text for text in shown)
            assert json.loads(json.dumps(table.rows, allow_nan=False)) is not None
    (figure,) = (block for block in section.blocks if isinstance(block, Figure))
    drawn = ET.fromstring(figure.svg)
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}image")) == 5 * 4
    assert "IoU" in figure.description
    assert "http://" not in figure.description
    json.dumps(section.results, allow_nan=False)
    assert section.methods.startswith("Salient regions were drawn by 3 annotators on 30 pictures; their consensus is")


def test_the_section_is_the_same_twice(made, study, section):
    again = salient_regions.section(study, [made / "people", made / "others"], sorted((made / "runs").iterdir()))
    assert again.results == section.results
    assert [block.svg for block in again.blocks if isinstance(block, Figure)] == [
        block.svg for block in section.blocks if isinstance(block, Figure)
    ]


def test_the_report_has_the_section_and_its_manifest_names_the_set(made):
    runs = sorted(map(str, (made / "runs").iterdir()))
    arguments = [str(made / "export"), "--annotations", str(made / "people"), "--evaluations", *runs]
    options = ["--bootstrap", "100", "--no-progress", "--out", str(made / "report")]
    assert report.main([*arguments, *options]) == 0
    results = json.loads((made / "report" / "results.json").read_text())
    assert [row["other"] for row in results["salient-regions"]["comparisons"]] == [
        "spectral-residual",
        "centre-gaussian",
    ]
    page = (made / "report" / "index.html").read_text()
    assert salient_regions.TITLE in page
    manifest = json.loads((made / "report" / "manifest.json").read_text())
    name = "annotations/people/annotations.json"
    assert manifest["inputs"][name] == picture_sets.files.sha256_file(made / "people" / "annotations.json")


def refusals(section):
    return [block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == "refusal"]


def test_what_is_not_known_is_said_and_not_guessed(made, study):
    assert refusals(salient_regions.section(study, [], [])) == [salient_regions.NO_SET]
    alone = salient_regions.section(study, [made / "people"], [made / "runs" / "plain"])
    assert refusals(alone)[0].startswith("Not estimable: how people's maps differ from automatic ones")
    nothing = salient_regions.section(study, [made / "people"], [])
    assert refusals(nothing)[-1].startswith("Not estimable: what training on each source of maps did")


def test_one_annotator_gives_no_agreement(made, study, tmp_path):
    shown = picture_sets.read(made / "pictures")
    sets.write(tmp_path / "one", shown, (row for row in strokes(shown, 1, 1.0) if row[0].annotator == "ann"))
    consensus.make(tmp_path / "one", Settings(bootstrap=0))
    section = salient_regions.section(study, [tmp_path / "one"], [])
    text = "Not estimable: agreement in one, since no picture was annotated by two people."
    assert text in refusals(section)
    assert section.results["sets"][0]["overall"]["dice"]["estimate"] is None


def test_what_robots_drew_is_said_to_say_nothing_about_people(made, study, section, tmp_path):
    shown = picture_sets.read(made / "pictures")
    sets.write(tmp_path / "drawn", shown, strokes(shown, 1, 1.0, robot=True))
    consensus.make(tmp_path / "drawn", Settings(bootstrap=0))
    found = salient_regions.section(study, [tmp_path / "drawn"], []).blocks[0]
    assert found.text.startswith("All annotators of drawn are robots, programs that draw with a stated sloppiness.")
    assert not any("robots" in block.text for block in section.blocks if isinstance(block, Paragraph))


def test_sets_without_consensus_or_with_another_agreement_are_refused(made, study, tmp_path):
    shown = picture_sets.read(made / "pictures")
    sets.write(tmp_path / "raw", shown, strokes(shown, 1, 1.0))
    with pytest.raises(DataError, match="expected consensus maps; run python -m core.annotations consensus"):
        salient_regions.section(study, [tmp_path / "raw"], [])
    shutil.copytree(made / "people", tmp_path / "people")
    (tmp_path / "people" / "agreement.json").write_text("{}")
    with pytest.raises(DataError, match="expected the table that annotations.json names; run consensus again"):
        salient_regions.section(study, [tmp_path / "people"], [])


def test_maps_that_cannot_be_read_or_have_another_size_are_said(made, study, tmp_path):
    shutil.copytree(made / "runs" / "machine", tmp_path / "machine")
    (file,) = (tmp_path / "machine" / "salience").rglob("maps.npz")
    file.write_bytes(b"nothing")
    with pytest.raises(RunError, match="expected the maps that manifest.json lists, they are absent or changed"):
        list(kept_maps.read(tmp_path / "machine"))
    section = salient_regions.section(study, [made / "people"], [tmp_path / "machine"])
    assert refusals(section)[0].startswith("Not estimable: how people's maps differ from a run's: ")
    manifest = file.with_name("manifest.json")
    np.savez(file, levels=np.zeros((1, 1, 2, 2), np.uint8), annotated=np.ones(1, bool))
    forge(manifest, file)
    with pytest.raises(RunError, match="expected levels, annotated and ids, could not read them"):
        list(kept_maps.read(tmp_path / "machine"))
    first = picture_sets.read(made / "pictures").pictures[0].source_id
    np.savez(file, levels=np.zeros((1, 1, 2, 2), np.uint8), annotated=np.ones(1, bool), ids=np.asarray([first]))
    forge(manifest, file)
    section = salient_regions.section(study, [made / "people"], [tmp_path / "machine"])
    notes = [block.text for block in section.blocks if isinstance(block, Paragraph) and block.kind == "note"]
    assert notes == ["1 picture left out of the comparison with spectral-residual: maps of another size."]


def forge(manifest, file):
    table = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(table | {"maps_sha256": picture_sets.files.sha256_file(file)}))
