"""Robots in every task, through the real server: each answer in the export is the one that the law gives."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from core.errors import StudyError
from study_app import observers, simulate
from study_app.detection import ANSWERS
from study_app.observers import Seen
from study_app.settings import ROOT
from tests import psych_ds, robot_study
from tests.robot_study import table

LAW = dataclasses.replace(observers.load(ROOT / "study_app" / "observers" / "demo.toml"), lapse=0.1, reload=0.15)
ROBOTS = 4
EVERYTHING = """
name = "everything"
task = "{task}"
seed = 5
[practice]
trials = 2
[main]
trials = 16
block_trials = 8
[catch]
gross = 2
instructed = 2
[answer]
confidence = 4
[timing]
exposure_ms = 100
mask_ms = 50
[eligibility]
normal_vision = true
minimum_css_px = 300
calibration = true
"""


@pytest.fixture
def play(tmp_path, make_server, stimulus_set):
    """Lets robots play a study of its own in each call."""

    def run(source: str, law=LAW, *, name="study", participants=ROBOTS, **more):
        return robot_study.play(
            tmp_path / name, make_server, stimulus_set, source, law, participants=participants, **more
        )

    return run


def shown_in(row) -> list[Seen]:
    picture = Seen(row.run if row.signal else None, row.eps_asked)
    if row.target_side is None:
        return [picture]
    return [picture, Seen(None, 0)] if row.target_side == "left" else [Seen(None, 0), picture]


def decided(law, robot, row):
    return observers.decide(
        law, robot, row.trial_index, shown_in(row), task=row.task, instructed=row.instructed, levels=4
    )


@pytest.mark.parametrize("task", ANSWERS)
def test_robots_play_every_task_by_their_law(play, task):
    tally, export = play(EVERYTHING.format(task=task))
    assert tally.endings == {"finished": ROBOTS}
    assert psych_ds.problems(export) == []
    people = table(export, "participants").sort_values("place").reset_index(drop=True)
    trials = table(export, "trials")
    assert tally.answers == len(trials) == ROBOTS * 22
    for robot, person in people.iterrows():
        for row in trials[trials.participant_id == person.participant_id].itertuples():
            decision = decided(LAW, robot, row)
            found = (row.response, row.rt_ms, row.confidence, row.confidence_rt_ms)
            assert found == dataclasses.astuple(decision), (robot, row.trial_index)
            assert row.response in ANSWERS[task]
            assert (row.pair is None) == (row.target_side is None) == (task == "yes-no")
            assert (row.frames_planned, row.frames_shown, row.mask_frames) == (6, 6, 3)
    counts = people[["practice_trials", "main_trials", "gross_trials", "instructed_trials", "checks_passed"]]
    assert counts.drop_duplicates().to_numpy().tolist() == [[2, 20, 2, 2, 3]]
    told = trials[trials["catch"] == "instructed"]
    assert (told.correct == (told.response == told.instructed)).all()
    assert told.confidence.isna().all()
    assert trials[trials["catch"] == "gross"].eps_asked.unique().tolist() == [32]


def test_a_reload_gives_another_picture_and_its_answer_depends_on_its_own_name(play):
    tally, export = play(EVERYTHING.format(task="2afc"))
    people, trials, visits = (table(export, name) for name in ("participants", "trials", "visits"))
    reloads = people.aborted_trials.sum()
    assert reloads > 3
    assert people.visits.sum() == ROBOTS + reloads == len(visits)
    assert len(visits.seen_index.dropna()) == reloads
    replaced = trials[trials.trial_index >= 22]
    assert len(replaced) >= reloads - 1  # a trial that replaced one may be reloaded, too
    assert (trials.groupby("session_id").source_id.nunique() == 22).all()
    assert tally.answers == ROBOTS * 22


def test_robots_answer_alike_in_any_order_of_requests(play):
    source = EVERYTHING.format(task="same-different")
    played = [play(source, name=name, workers=workers)[1] for name, workers in (("one", 1), ("four", 4))]
    kept = ["place", "trial_index", "stimulus_id", "target_side", "response", "rt_ms", "confidence"]
    first, second = (
        table(export, "trials")
        .merge(table(export, "participants")[["participant_id", "place"]], on="participant_id")
        .sort_values(["place", "trial_index"])[kept]
        .reset_index(drop=True)
        for export in played
    )
    pd.testing.assert_frame_equal(first, second)


def test_robots_play_an_adaptive_study(play):
    source = EVERYTHING.format(task="yes-no") + '[adaptive]\nmethod = "quest-plus"\n'
    tally, export = play(source, dataclasses.replace(LAW, reload=0.0))
    assert tally.endings == {"finished": ROBOTS}
    trials = table(export, "trials")
    assert trials.adaptive.astype(bool).equals((trials.phase == "main") & trials["catch"].isna())


def test_robots_are_screened_out_by_plates_that_they_cannot_read(play):
    source = EVERYTHING.format(task="yes-no") + "colour_vision = true\n"
    tally, export = play(source)
    assert tally == (0, {"screened-out": ROBOTS})
    people, checks = table(export, "participants"), table(export, "checks")
    assert people.status.unique().tolist() == ["screened-out"]
    assert checks[~checks.passed.astype(bool)]["check"].tolist() == ["colour-vision"] * ROBOTS
    assert people[["checks_passed", "checks_failed", "main_trials"]].drop_duplicates().to_numpy().tolist() == [
        [2, 1, 0]
    ]


@pytest.mark.parametrize("platform", ["prolific", "mturk", "sona"])
def test_robots_come_from_platforms_and_their_ids_stay_out_of_the_export(play, platform):
    source = EVERYTHING.format(task="yes-no") + f'[recruitment]\nplatform = "{platform}"\n'
    tally, export = play(source, participants=1, platform=platform)
    assert tally.endings == {"finished": 1}
    assert not [path for path in export.rglob("*") if path.is_file() and b"robot-7-" in path.read_bytes()]


def test_robots_refuse_a_study_that_is_not_theirs(play):
    source = EVERYTHING.format(task="yes-no") + '[recruitment]\nplatform = "prolific"\n'
    with pytest.raises(StudyError, match=r"the server answered 403|expected a session after consent, got none"):
        play(source, participants=1)


def test_as_many_links_as_robots_are_needed(tmp_path, stimulus_set):
    links = tmp_path / "links.txt"
    links.write_text("https://study.example/?link=one\n")
    options = ["--url", "http://127.0.0.1:1", "--observers", str(ROOT / "study_app/observers/demo.toml")]
    options += ["--manifest", str(stimulus_set), "--platform", "link", "--links", str(links), "--participants", "2"]
    with pytest.raises(StudyError, match="expected a file with a link for each of the 2 robots, found 1; make more"):
        simulate.main(options)
