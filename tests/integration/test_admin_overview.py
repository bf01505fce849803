"""The dashboard on real sessions: its sums, stages and cells, and what its page shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from study_app import create_app, registration
from study_app.admin.overview import Kept
from study_app.models import (
    Participant,
    PlannedTrial,
    Response,
    Session,
    StimulusRow,
)
from study_app.researchers import tallies
from study_app.researchers.tallies import SAME_TRIAL, Chosen
from study_app.settings import Settings
from tests.staff_site import database_of, member, overview, participant_of, play
from tests.study_site import SMALL_PROTOCOL, Visitor, close, make_app, set_up


def test_the_sums_of_the_database_are_those_of_the_answers_one_by_one(study):
    for number in range(3):
        play(study, lambda run, eps, number=number: eps > 2 ** (number + 1), rt_ms=180.5 + 400 * number)
    play(study, lambda run, eps: True, trials=5)
    with database_of(study).reading() as reader:
        protocol = registration.current_protocol(reader)
        query = (
            select(PlannedTrial, StimulusRow, Response)
            .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
            .join(Response, SAME_TRIAL)
            .where(PlannedTrial.phase == "main")
        )
        rows = reader.execute(query).all()
        counted = {
            (each.run, each.eps): (each.yes, each.trials) for each in tallies.main_answers(reader, Chosen(protocol.id))
        }
        times = tallies.response_times(reader, Chosen(protocol.id))
    by_hand: dict = {}
    for _, stimulus, response in rows:
        cell = by_hand.setdefault((stimulus.run, stimulus.eps_asked), [0, 0])
        cell[0] += response.response == "yes"
        cell[1] += 1
    assert counted == {cell: tuple(counts) for cell, counts in by_hand.items()}
    assert sum(trials for _, trials in counted.values()) == 3 * 8 + 3
    assert times == {1: 8, 5: 8 + 3, 9: 8}


def test_the_overview_says_how_far_sessions_came(study):
    play(study, lambda run, eps: eps > 0)
    play(study, lambda run, eps: False, trials=1)
    play(study, lambda run, eps: False, trials=7)
    gone = play(study, lambda run, eps: False, trials=4)
    Visitor(study).consent()
    with database_of(study).writing() as writer:
        name = participant_of(study, gone)
        row = writer.scalar(select(Session).join(Participant).where(Participant.public_id == name))
        row.last_seen_at = datetime.now(UTC) - timedelta(hours=25)
    seen = overview(study)
    assert seen.statuses == {"finished": 1, "started": 3, "abandoned": 1}
    assert [(stage.name, stage.left, stage.now) for stage in seen.stages] == [
        ("instructions", 0, 1), ("practice", 0, 1), ("block 1", 1, 0), ("block 2", 0, 1),
    ]  # fmt: skip
    assert seen.minutes[-1] + seen.minutes[-2] == 10 + 1 + 7 + 4
    assert seen.silent == 0
    later = overview(study, now=datetime.now(UTC) + timedelta(minutes=5))
    assert later.silent == 2  # those in mid-block; nobody before the first answer, and nobody who is done
    assert later.minutes[-6] + later.minutes[-7] == seen.minutes[-1] + seen.minutes[-2]


def test_quotas_count_what_is_answered_and_what_is_still_to_come(study):
    play(study, lambda run, eps: True)
    play(study, lambda run, eps: True, trials=4)
    seen = overview(study)
    assert len(seen.quotas) == 18
    with database_of(study).reading() as reader:
        signals = reader.scalar(select(func.count()).where(PlannedTrial.signal, PlannedTrial.phase == "main"))
    assert sum(cell.answered + cell.pending for cell in seen.quotas) == signals == 8
    assert {cell.aim for cell in seen.quotas} == {0}
    assert seen.places_held == 2


def test_robots_can_be_told_from_people_and_previews_are_never_counted(site):
    play(site, lambda run, eps: True)
    robot = Visitor(site)
    robot.client.post("/consent", data={"consent": "yes", "robot": "yes"}, headers=robot.headers)
    robot.answer_all()
    preview = member(site, "researcher")
    assert preview.post("/admin/previews").status_code == 303
    with database_of(site).writing() as writer:
        assert writer.scalar(select(func.count()).where(Participant.preview)) == 1
    counted = {
        who: sum(cell.trials for cell in overview(site, who).rates.levels) for who in ("everybody", "people", "robots")
    }
    assert counted == {"everybody": 8, "people": 4, "robots": 4}
    assert sum(overview(site).statuses.values()) == 2
    assert overview(site).special == {"robots": 1, "previews": 1, "excluded": 0, "withdrawn": 0}
    assert "As of" in preview.text("/admin/?who=robots")
    assert "robots alone" in preview.text("/admin/live?who=robots")


def test_a_costly_overview_is_kept_for_ten_times_as_long_as_it_took():
    now, counted = [100.0], []

    def count() -> str:
        now[0] += 3.0
        counted.append(now[0])
        return f"overview {len(counted)}"

    kept = Kept(clock=lambda: now[0])
    assert kept.get(1, "people", count) == kept.get(1, "people", count) == "overview 1"
    assert kept.get(1, "robots", count) == "overview 2"
    now[0] = counted[0] + 29.9
    assert kept.get(1, "people", count) == "overview 1"
    now[0] = counted[0] + 30.0
    assert kept.get(1, "people", count) == "overview 3"


def test_the_page_shows_the_numbers_and_their_table(site):
    for _ in range(3):
        play(site, lambda run, eps: eps > 2)
    seen, shown = overview(site), member(site, "viewer").text("/admin/")
    level = next(level for level in seen.rates.levels if level.trials)
    assert f'<td class="n">{level.yes}</td><td class="n">{level.trials}</td>' in shown
    assert f"{level.d_prime.estimate:.2f}".replace("-", "−") in shown
    assert f"of {seen.rates.noise.trials} unchanged pictures" in shown
    assert shown.count('role="img"') == 4
    assert shown.count("<script") == 1
    assert "style=" not in shown
    assert "<style" not in shown


def test_without_a_study_the_page_says_what_to_do(tmp_path):
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'new.sqlite'}", instance=tmp_path))
    database_of(app).migrate()
    someone = member(app, "owner")
    assert "register-protocol FILE --set NAME" in someone.text("/admin/")
    assert "No protocol is registered yet" in someone.get("/admin/participants").text
    assert "no protocol is registered" in someone.post("/admin/study/pause").text.lower()
    close(app)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("2afc", ("Proportion correct", "Share of correct in main trials", "√2 z(proportion correct)")),
        ("same-different", ("Share of “different” in main trials", "not the d′ of one picture", "unchanged pairs")),
    ],
)
def test_tasks_with_two_pictures_are_counted_by_their_own_answers(empty_url, small_set, tmp_path, task, words):
    protocol = tmp_path / "two.toml"
    protocol.write_text(SMALL_PROTOCOL.replace("seed = 5", f'seed = 5\ntask = "{task}"'))
    set_up(empty_url, small_set, protocol)
    app = make_app(empty_url)
    someone = Visitor(app)
    someone.consent()
    with database_of(app).reading() as reader:
        plan = {trial.trial_index: trial for trial in reader.scalars(select(PlannedTrial))}
    for trial in someone.state()["trials"]:
        planned = plan[trial["index"]]
        right = planned.target_side if task == "2afc" else "different" if planned.signal else "same"
        assert someone.answer(trial["index"], response=right).status_code == 201
    rates = overview(app).rates
    assert sum(level.yes for level in rates.levels) == sum(level.trials for level in rates.levels) == 4
    assert (rates.noise.yes, rates.noise.trials) == ((0, 0) if task == "2afc" else (0, 4))
    text = member(app, "viewer").text("/admin/")
    for each in words:
        assert each in text
    assert ("False alarms" in text) == (task != "2afc")
    close(app)
