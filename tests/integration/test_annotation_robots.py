"""Robot annotators through the real server; and what registering refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from sqlalchemy import select

from core.annotations import sets
from study_app import annotate_simulate
from study_app.annotation.tables import Assignment, Stroke, TaskPicture, TaskRow
from tests.annotation_site import (
    HEIGHT,
    SQUARE,
    WIDTH,
    Painter,
    gold_of,
    make_pictures,
    register,
    run,
    task_text,
)
from tests.staff_site import database_of, member
from tests.study_site import close, make_app

MORE = "[practice]\npictures = 1\n[gold]\nshare = 0.2"


def simulate(server, *more: str) -> int:
    return annotate_simulate.main(["--url", server.address, "--annotators", "3", "--seed", "4", *more])


def test_robots_go_through_practice_gold_and_pictures_and_a_rerun_goes_on(
    annotation_app, annotation_url, annotation_pictures, make_server, tmp_path, capsys
):
    register(annotation_app, annotation_pictures, task_text(k=2, more=MORE, seconds=0.2), gold=True)
    server, state = make_server(annotation_url), tmp_path / "robots.json"
    run(annotation_app, "annotation-status")
    assert simulate(server, "--state", str(state), "--skip", "0") == 0
    assert "3 robots: " in capsys.readouterr().out
    assert simulate(server, "--state", str(state), "--skip", "0") == 0
    assert "3 robots: 0 pictures, 0 strokes" in capsys.readouterr().out
    run(annotation_app, "export-annotations", str(tmp_path / "set"))
    rows = list(sets.rows(tmp_path / "set"))
    assert len({row.annotator for row in rows}) == 3
    assert all(row.robot for row in rows)
    assert sum(row.practice for row in rows) == 3
    with database_of(annotation_app).reading() as reader:
        held = set(reader.scalars(select(TaskPicture.held).where(TaskPicture.role == "main")))
    assert held == {2}
    name = next(row.annotation_id for row in rows if row.outcome == "regions" and not row.practice)
    member(annotation_app, "researcher").post(
        f"/admin/annotation/of/{name}/review", verdict="returned", note="once more"
    )
    assert simulate(server, "--state", str(state), "--skip", "0", "--none", "0") == 0
    assert "3 robots: 1 pictures" in capsys.readouterr().out
    with database_of(annotation_app).reading() as reader:
        again = reader.scalars(select(Assignment).where(Assignment.public_id == name)).one()
        tools = [
            operation["tool"]
            for operation in reader.scalars(
                select(Stroke.operation).where(Stroke.assignment_id == again.id).order_by(Stroke.stroke_index)
            )
        ]
    assert (again.round, again.review, tools.count("clear")) == (2, None, 1)


def test_robots_with_masks_paint_those(annotation_app, annotation_url, annotation_pictures, make_server, tmp_path):
    register(annotation_app, annotation_pictures, task_text(k=3))
    server = make_server(annotation_url)
    known = ["--pictures", str(annotation_pictures), "--masks", str(gold_of(annotation_pictures))]
    assert simulate(server, "--sloppiness", "0", *known) == 0
    run(annotation_app, "export-annotations", str(tmp_path / "set"))
    expected = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    expected[SQUARE] = True
    rows = [row for row in sets.rows(tmp_path / "set") if row.source_id in ("train/dog/0000", "train/cat/0001")]
    assert len(rows) == 6
    for row in rows:
        mask = sets.read_mask(tmp_path / "set", row, (WIDTH, HEIGHT))
        assert (mask & expected).sum() / (mask | expected).sum() > 0.7


def test_the_simulation_refuses_what_it_cannot_do(annotation_pictures, capsys):
    with pytest.raises(Exception, match="expected the picture set too, by --pictures"):
        annotate_simulate.main(
            ["--url", "http://localhost:1", "--annotators", "1", "--masks", str(annotation_pictures)]
        )
    with pytest.raises(SystemExit):
        annotate_simulate.main(["--url", "http://localhost:1", "--annotators", "1", "--sloppiness", "-1"])
    assert "expected a number of at least 0, got '-1'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        annotate_simulate.main(["--url", "http://localhost:1", "--annotators", "1", "--none", "many"])


def refused(app, *command: str) -> str:
    done = app.test_cli_runner().invoke(args=list(command))
    assert done.exit_code == 1, done.output
    return done.output


def task_file(tmp_path, text: str) -> str:
    (tmp_path / "task.toml").write_text(text)
    return str(tmp_path / "task.toml")


def test_a_task_is_frozen_when_its_first_annotator_starts(annotation_app, annotation_pictures, tmp_path):
    register(annotation_app, annotation_pictures, task_text(k=2))
    assert "registered already" in run(
        annotation_app, "register-annotation", task_file(tmp_path, task_text(k=2)), "--pictures", "noise"
    )
    register(annotation_app, annotation_pictures, task_text(k=3, more=MORE), gold=True)
    with database_of(annotation_app).reading() as reader:
        roles = list(reader.scalars(select(TaskPicture.role).order_by(TaskPicture.role)))
        assert reader.scalar(select(TaskRow.frozen_at)) is None
    assert roles == ["gold", *["main"] * 4, "practice"]
    assert Painter(annotation_app).consent().status_code == 303
    said = refused(annotation_app, "register-annotation", task_file(tmp_path, task_text(k=2)), "--pictures", "noise")
    assert "was frozen on" in said
    assert "give the changed file another name" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("[practice]\npictures = 1", "expected masks of at least 1 pictures"),
        ("[gold]\nshare = 0.5", "expected masks of at least 1 pictures"),
    ],
)
def test_a_task_without_the_known_pictures_it_needs_is_refused(annotation_sqlite_app, tmp_path, more, words):
    file = task_file(tmp_path, task_text(more=more))
    assert words in refused(annotation_sqlite_app, "register-annotation", file, "--pictures", "noise")


def test_a_task_on_pictures_that_are_not_registered_is_refused(annotation_sqlite_app, tmp_path):
    file = task_file(tmp_path, task_text())
    said = refused(annotation_sqlite_app, "register-annotation", file, "--pictures", "others")
    assert "no such picture set; register it with: flask --app study_app register-pictures DIR" in said
    assert "cannot read it" in refused(annotation_sqlite_app, "register-annotation", "none.toml", "--pictures", "noise")


def encoded(mask) -> bytes:
    return sets.encode_mask(np.asarray(mask, dtype=np.bool_))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("train/dog/0000", encoded(np.ones((HEIGHT, WIDTH + 1))), "expected a mask of 24×16 pixels like its picture"),
        ("train/dog/0000", encoded(np.zeros((HEIGHT, WIDTH))), "expected a mask with painted pixels, got none"),
        ("train/dog/0000", b"no picture", "could not read it"),
        ("train/cow/0000", encoded(np.ones((HEIGHT, WIDTH))), "expected a mask named <source_id>.png of a picture"),
        (None, b"", "expected masks named <source_id>.png, found none"),
        ("all", b"", "expected masks of fewer than the 6 pictures of the set, got 6"),
    ],
)
def test_a_folder_of_known_masks_that_does_not_fit_is_refused(
    annotation_sqlite_app, annotation_pictures, tmp_path, name, data, words
):
    folder = tmp_path / "gold"
    folder.mkdir()
    every = [f"train/{'cat' if place % 2 else 'dog'}/{place:04d}" for place in range(6)]
    for each in every if name == "all" else [name] * (name is not None):
        path = folder / f"{each}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data or encoded(np.ones((HEIGHT, WIDTH))))
    file = task_file(tmp_path, task_text())
    said = refused(annotation_sqlite_app, "register-annotation", file, "--pictures", "noise", "--gold", str(folder))
    assert words in said
    with database_of(annotation_sqlite_app).reading() as reader:
        assert reader.scalar(select(TaskRow)) is None


def test_a_picture_set_is_registered_once_and_another_of_its_name_is_refused(
    annotation_sqlite_app, annotation_pictures, tmp_path
):
    copy = shutil.copytree(annotation_pictures, tmp_path / "elsewhere" / "noise")
    assert "registered already, 6 pictures" in run(annotation_sqlite_app, "register-pictures", str(copy))
    other = make_pictures(tmp_path / "other" / "noise", count=5)
    said = refused(annotation_sqlite_app, "register-pictures", str(other))
    assert "is registered with manifest" in said
    assert "make the new set in a folder of another name" in said
    row = json.loads((copy / "pictures.jsonl").read_text().splitlines()[0])
    (copy / "png" / row["sha256"][:2] / f"{row['sha256']}.png").write_bytes(b"changed")
    assert "it is absent or changed" in refused(annotation_sqlite_app, "register-pictures", str(copy))


def test_a_server_needs_a_protocol_or_a_task(empty_url, annotation_pictures):
    app = make_app(empty_url)
    run(app, "init-db")
    said = refused(app, "serve")
    assert "no protocol is registered" in said
    assert "register-annotation FILE --pictures NAME" in said
    close(app)
