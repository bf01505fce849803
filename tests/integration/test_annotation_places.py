"""Who gets which picture: as many annotators a picture as the task asks for, however many ask at once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update

from study_app.annotation import handing_out, task
from study_app.annotation.tables import Assignment, PictureRow, TaskPicture
from tests.annotation_site import Painter, box, register, task_text
from tests.staff_site import database_of


def annotators(app, number: int) -> list[Painter]:
    made = [Painter(app) for _ in range(number)]
    for painter in made:
        assert painter.consent().status_code == 303
    return made


def held(app) -> Counter[int]:
    """How many pictures so many hold, as it is counted; and that it is what the assignments say."""
    with database_of(app).reading() as reader:
        counted = dict(
            reader.execute(
                select(Assignment.task_picture_id, func.count())
                .where(Assignment.counted)
                .group_by(Assignment.task_picture_id)
            ).all()
        )
        kept = dict(reader.execute(select(TaskPicture.id, TaskPicture.held)).all())
    assert {name: count for name, count in kept.items() if count} == counted
    return Counter(kept.values())


def shown(app, painter: Painter) -> list[tuple[str, str]]:
    """Role and source_id of each picture that was handed out to somebody, in order."""
    name = painter.state()["annotator"]
    with database_of(app).reading() as reader:
        query = (
            select(TaskPicture.role, PictureRow.source_id)
            .join(Assignment, Assignment.task_picture_id == TaskPicture.id)
            .join(PictureRow, TaskPicture.picture_id == PictureRow.id)
            .join(Assignment.annotator)
            .where(Assignment.annotator.property.mapper.class_.public_id == name)
            .order_by(Assignment.id)
        )
        return [tuple(found) for found in reader.execute(query)]


def work_through(painter: Painter) -> None:
    while painter.state()["assignment"] is not None:
        painter.paint()


def test_every_picture_is_worked_on_by_as_many_as_asked_for(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=2))
    for painter in annotators(annotation_app, 3):
        work_through(painter)
    assert held(annotation_app) == {2: 6}


def test_those_that_fewest_hold_come_first(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=5, each=2))
    for painter in annotators(annotation_app, 9):
        work_through(painter)
    assert held(annotation_app) == {3: 6}, "18 of 30 places, spread evenly"


def test_however_many_ask_at_once_no_picture_is_handed_out_too_often(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=2))
    crowd = annotators(annotation_app, 14)
    with ThreadPoolExecutor(14) as pool:
        states = list(pool.map(lambda painter: painter.state(), crowd))
    assert sum(state["assignment"] is not None for state in states) == 12
    assert sum(state["finished"] for state in states) == 2
    assert held(annotation_app) == {2: 6}


def test_asking_again_gives_the_same_picture(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text())
    (painter,) = annotators(annotation_app, 1)
    with ThreadPoolExecutor(4) as pool:
        names = {state["assignment"]["id"] for state in pool.map(lambda _: painter.state(), range(8))}
    assert len(names) == 1


def expire(app) -> None:
    with database_of(app).writing() as writer:
        writer.execute(update(Assignment).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_a_reservation_that_has_run_out_makes_room_and_nothing_of_it_is_lost(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=1))
    slow, quick = annotators(annotation_app, 2)
    kept = slow.state()["assignment"]["id"]
    slow.draw(kept, 0, box())
    expire(annotation_app)
    work_through(quick)
    assert held(annotation_app) == {1: 6}
    assert [each["index"] for each in slow.state()["assignment"]["operations"]] == [0]
    assert slow.draw(kept, 1, box()).status_code == 201
    assert slow.hand_in(kept, 2).status_code == 201
    assert held(annotation_app) == {1: 5, 2: 1}, "one picture has one annotation more than asked for"


def test_a_stroke_keeps_the_reservation(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=1))
    slow, quick = annotators(annotation_app, 2)
    kept = slow.state()["assignment"]["id"]
    expire(annotation_app)
    assert slow.draw(kept, 0, box()).status_code == 201
    work_through(quick)
    assert quick.state()["done"] == 5


def test_a_skipped_picture_is_given_to_somebody_else(annotation_app, annotation_pictures):
    register(annotation_app, annotation_pictures, task_text(k=1))
    choosy, other = annotators(annotation_app, 2)
    for _ in range(6):
        name = choosy.state()["assignment"]["id"]
        assert choosy.hand_in(name, 0, outcome="skipped", skip_reason="unclear").status_code == 201
    assert choosy.state()["finished"]
    assert held(annotation_app) == {0: 6}
    work_through(other)
    assert held(annotation_app) == {1: 6}


def test_gold_pictures_come_where_the_seeded_rule_puts_them_and_hold_no_places(annotation_app, annotation_pictures):
    text = task_text(k=2, each=4, more="[gold]\nshare = 0.5")
    register(annotation_app, annotation_pictures, text, gold=True)
    settings = task.parse(text, "task.toml")
    seen = []
    for number, painter in enumerate(annotators(annotation_app, 2)):
        work_through(painter)
        pictures = shown(annotation_app, painter)
        gold = {place for place, (role, _) in enumerate(pictures) if role == "gold"}
        assert gold == handing_out.gold_places(settings, number)
        assert len(gold) == 2
        seen.append([name for role, name in pictures if role == "gold"])
    assert {tuple(sorted(names)) for names in seen} == {("train/cat/0001", "train/dog/0000")}, "everybody gets them"
    assert held(annotation_app)[0] >= 2, "they hold no places"


def test_gold_places_differ_between_annotators_and_follow_from_the_seed():
    settings = task.parse(task_text(each=20, more="[gold]\nshare = 0.2"), "task.toml")
    places = [handing_out.gold_places(settings, number) for number in range(20)]
    assert all(len(each) == 4 for each in places)
    assert len(set(places)) > 10
    assert places == [handing_out.gold_places(settings, number) for number in range(20)]
