"""From the database to an annotation set: all that was handed in, nothing that says who somebody is, in one order."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sqlalchemy import select

from core import files
from core.annotations import sets
from core.annotations.consensus import Settings, make, verify
from core.annotations.operations import parse_all
from core.annotations.raster import rasterise
from core.errors import DataError
from study_app.annotation import exporting, registering
from study_app.annotation.tables import Annotator, Assignment
from study_app.security import ANNOTATOR
from tests.annotation_site import HEIGHT, WIDTH, Painter, box, brush, register, run, task_text
from tests.staff_site import database_of

MORE = "[practice]\npictures = 1\n[gold]\nshare = 0.3"


@pytest.fixture
def drawn(annotation_app, annotation_pictures):
    """A task with practice and gold pictures; one skipped, one empty, one unfinished, one withdrawn annotator."""
    register(annotation_app, annotation_pictures, task_text(more=MORE), gold=True)
    first, second, gone = (Painter(annotation_app) for _ in range(3))
    for painter in (first, second, gone):
        painter.consent()
    for _ in range(2):
        gone.paint()
    gone.client.post("/annotate/withdraw", data={"sure": "yes"}, headers=gone.headers)
    for place in range(5):
        name = first.state()["assignment"]["id"]
        if place == 1:
            first.hand_in(name, 0, outcome="none")
        elif place == 2:
            first.hand_in(name, 0, outcome="skipped", skip_reason="unclear")
        else:
            first.draw(name, 0, brush((2, 2), (13, 7.5), size=5))
            first.draw(name, 1, box(mode="remove", right=9))
            first.hand_in(name, 2)
    last = first.get("done").get_json()["pictures"][0]["id"]
    first.draw(last, 2, box(0, 0, 24, 16))  # after it was handed in, and not handed in again: it does not count
    second.paint()
    half = second.state()["assignment"]["id"]
    second.draw(half, 0, box())
    return annotation_app, first, second, gone


def test_the_set_holds_what_was_handed_in_and_its_masks_are_those_of_the_operations(drawn, tmp_path):
    app, first, second, _ = drawn
    said = run(app, "export-annotations", str(tmp_path / "set"))
    assert "6 annotations of 5 pictures by 2 annotators" in said
    record = verify(tmp_path / "set")
    assert record.counts | {"pictures": 6} == record.counts
    rows = list(sets.rows(tmp_path / "set"))
    assert sorted(row.outcome for row in rows) == ["none", "regions", "regions", "regions", "regions", "skipped"]
    assert sum(row.practice for row in rows) == 2
    assert [(row.source_id, row.annotator) for row in rows] == sorted((row.source_id, row.annotator) for row in rows)
    assert {row.annotator for row in rows} == {first.state()["annotator"], second.state()["annotator"]}
    assert {row.skip_reason for row in rows} == {None, "unclear"}
    for row in rows:
        if row.outcome == "skipped":
            continue
        mask = sets.read_mask(tmp_path / "set", row, (WIDTH, HEIGHT))
        expected = rasterise(parse_all(row.operations, WIDTH, HEIGHT), WIDTH, HEIGHT)
        np.testing.assert_array_equal(mask, expected)
        assert row.mask_pixels == expected.sum()


def test_the_same_database_gives_the_same_bytes(drawn, tmp_path):
    app = drawn[0]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(app, "export-annotations", str(tmp_path / name / "set"))
    one, two = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    assert len(one) > 10


def test_nothing_in_the_set_says_who_somebody_is(drawn, tmp_path):
    app, first, _, gone = drawn
    run(app, "export-annotations", str(tmp_path / "set"))
    with database_of(app).reading() as reader:
        hidden = [row.token_sha256 for row in reader.scalars(select(Annotator))]
        hidden += list(reader.scalars(select(Assignment.token)))
        withdrawn = reader.scalar(select(Annotator.public_id).where(Annotator.withdrawn_at.is_not(None)))
    hidden += [painter.client.get_cookie(ANNOTATOR).value for painter in (first, gone)] + [withdrawn, str(tmp_path)]
    for path in (tmp_path / "set").rglob("*.json*"):
        text = path.read_text()
        assert not [word for word in hidden if word in text]


def test_the_export_goes_through_consensus(drawn, tmp_path):
    run(drawn[0], "export-annotations", str(tmp_path / "set"))
    record = make(tmp_path / "set", Settings(bootstrap=0))
    assert len(record.maps) == 3, "neither practice nor what was only skipped has a map"
    rows = [json.loads(line) for line in (tmp_path / "set" / "annotations.jsonl").read_text().splitlines()]
    counted = {row["source_id"] for row in rows if not row["practice"] and row["outcome"] != "skipped"}
    assert set(record.maps) == counted


def test_a_set_that_was_moved_or_changed_is_refused_and_a_folder_that_is_there_is_left_alone(
    drawn, tmp_path, annotation_pictures
):
    app = drawn[0]
    (tmp_path / "there").mkdir()
    done = app.test_cli_runner().invoke(args=["export-annotations", str(tmp_path / "there")])
    assert (done.exit_code, "expected no such folder" in done.output) == (1, True)
    assert list((tmp_path / "there").iterdir()) == []
    with database_of(app).reading() as reader:
        row = registering.needed_task(reader)
        copy = shutil.copytree(annotation_pictures, tmp_path / "copy" / "noise")
        lines = (copy / "pictures.jsonl").read_text().splitlines()[:-1]
        (copy / "pictures.jsonl").write_text("\n".join(lines) + "\n")
        row.set.directory = str(copy)
        with pytest.raises(DataError, match="it is absent or changed"):
            exporting.export(reader, row, tmp_path / "new")
        table = json.loads((copy / "pictures.json").read_text())
        files.write_json(copy / "pictures.json", {**table, "sha256": files.sha256_file(copy / "pictures.jsonl")})
        with pytest.raises(DataError, match="expected picture set 'noise' as it was registered; put it back there"):
            exporting.export(reader, row, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_export_is_in_the_ledger_and_needs_a_task(annotation_sqlite_app, tmp_path):
    done = annotation_sqlite_app.test_cli_runner().invoke(args=["export-annotations", str(tmp_path / "set")])
    assert done.exit_code == 1
    assert "no annotation task is registered; do it with: flask --app study_app register-annotation" in done.output
