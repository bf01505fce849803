"""An adaptive study over HTTP, on SQLite and on PostgreSQL: each ε follows from the answers before it alone."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select, update

from study_app.models import Participant, PlannedTrial, Protocol, Response, StimulusRow
from study_app.scheduling import adaptive
from study_app.scheduling.adaptive import Seen
from tests.study_site import SMALL_PROTOCOL, Visitor, close, make_answer, make_app

LEVELS = (1, 2, 4, 8, 16, 32)
ADAPTIVE = SMALL_PROTOCOL.replace("seed = 5", 'seed = 5\nruns = ["standard", "sip-at"]') + (
    '[adaptive]\nmethod = "quest-plus"\nguess = 0.1\n[catch]\ngross = 1\ninstructed = 1\n'
)
THRESHOLD = {"standard": 3, "sip-at": 12}


@pytest.fixture(params=["yes-no", "2afc", "same-different"])
def task(request) -> str:
    return request.param


@pytest.fixture
def adaptive_study(study, task):
    protocol(study, ADAPTIVE.replace("seed = 5", f'seed = 5\ntask = "{task}"'))
    return study


def protocol(app, source):
    with app.extensions["percepsilon_database"].writing() as writer:
        writer.execute(update(Protocol).values(source=source))


def shown(app):
    """Each trial with its stimulus, in the order of showing."""
    with app.extensions["percepsilon_database"].reading() as reader:
        query = select(PlannedTrial, StimulusRow).join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        return list(reader.execute(query.order_by(PlannedTrial.position)))


def started(app) -> Visitor:
    someone = Visitor(app)
    assert someone.consent().status_code == 303
    return someone


def reply(trial, stimulus, task) -> str:
    """What an observer answers who sees everything above a threshold of its source model."""
    if trial.instructed:
        return trial.instructed
    seen = stimulus.run is not None and stimulus.eps_asked >= THRESHOLD[stimulus.run]
    if task == "2afc":
        other = {"left": "right", "right": "left"}[trial.target_side]
        return trial.target_side if seen else other
    return {"yes-no": ("no", "yes"), "same-different": ("same", "different")}[task][seen]


def answer(app, someone, index, task):
    trial, stimulus = next(row for row in shown(app) if row[0].trial_index == index)
    return make_answer(index, response=reply(trial, stimulus, task))


def play(app, someone, task, count=12):
    for _ in range(count):
        index = someone.state()["next_index"]
        assert someone.post(answer(app, someone, index, task)).status_code == 201


def levels(app):
    return [(row.run, row.eps_asked) for trial, row in shown(app) if trial.phase == "main" and trial.signal]


def test_each_level_is_the_one_that_the_answers_before_it_ask_for(adaptive_study, task):
    someone = started(adaptive_study)
    play(adaptive_study, someone, task)
    assert someone.finish().status_code == 200
    law = adaptive.law_of(LEVELS, 0.1, 0.02, forced_choice=task == "2afc")
    seen = {run: [] for run in THRESHOLD}
    for trial, stimulus in shown(adaptive_study):
        assert trial.placed
        if trial.phase == "main" and trial.signal and trial.catch is None:
            assert stimulus.eps_asked == adaptive.next_level(law, seen[stimulus.run])
            seen[stimulus.run].append(Seen(stimulus.eps_asked, stimulus.eps_asked >= THRESHOLD[stimulus.run]))
    assert [len(answers) for answers in seen.values()] == [2, 2]


def test_references_and_catch_trials_are_placed_as_planned(adaptive_study):
    started(adaptive_study)
    for trial, stimulus in shown(adaptive_study):
        waits = trial.phase == "main" and trial.catch is None and trial.signal
        assert trial.placed is not waits
        assert stimulus.eps_asked == 32 if trial.catch == "gross" else True


def test_a_picture_is_served_when_it_is_placed_and_not_before(adaptive_study, task):
    someone = started(adaptive_study)
    play(adaptive_study, someone, task, count=2)
    for _ in range(6):
        state = someone.state()
        ahead = next(trial for trial in state["trials"] if trial["index"] == state["next_index"])
        assert [someone.client.get(path).status_code for path in ahead["pictures"]] == [200] * len(ahead["pictures"])
        waiting = {trial.trial_index for trial, _ in shown(adaptive_study) if not trial.placed}
        for trial in state["trials"]:
            if trial["index"] in waiting:
                assert {someone.client.get(path).status_code for path in trial["pictures"]} == {404}
        play(adaptive_study, someone, task, count=1)


def test_without_practice_the_first_trial_is_placed_at_consent(study):
    none = ADAPTIVE.replace("trials = 2", "trials = 0").replace("trials = 8", "trials = 6").replace(
        "block_trials = 4", 'block_trials = 6\nsignal_share = 1.0'
    )  # fmt: skip
    protocol(study, none.replace("seed = 5", 'seed = 5\ntask = "2afc"') + "after = 3\n")
    someone = started(study)
    first, stimulus = shown(study)[0]
    assert first.placed
    assert first.signal
    law = adaptive.law_of(LEVELS, 0.1, 0.02, forced_choice=True)
    assert stimulus.eps_asked == adaptive.next_level(law, ())
    assert someone.client.get(someone.state()["trials"][0]["pictures"][0]).status_code == 200


def test_a_restarted_server_and_repeated_answers_change_nothing(study_url):
    app = make_app(study_url)
    protocol(app, ADAPTIVE)
    play(app, started(app), "yes-no")
    undisturbed = levels(app)
    with app.extensions["percepsilon_database"].writing() as writer:
        writer.execute(update(Participant).values(place=None))
    first = {trial.session_id for trial, _ in shown(app)}
    someone = started(app)
    for _ in range(12):
        posted = answer_of_new(app, someone, first)
        assert someone.post(posted).status_code == 201
        assert someone.post(posted).status_code == 200
        cookie = someone.client.get_cookie("percepsilon_session")
        close(app)
        app = make_app(study_url)
        someone = Visitor(app)
        someone.client.set_cookie(cookie.key, cookie.value)
    again = [(row.run, row.eps_asked) for trial, row in shown(app)
             if trial.session_id not in first and trial.phase == "main" and trial.signal]  # fmt: skip
    with app.extensions["percepsilon_database"].reading() as reader:
        assert len(list(reader.scalars(select(Response.id)))) == 24
    close(app)
    assert again == undisturbed


def answer_of_new(app, someone, first):
    index = someone.state()["next_index"]
    trial, stimulus = next(
        row for row in shown(app) if row[0].trial_index == index and row[0].session_id not in first
    )  # fmt: skip
    return make_answer(index, response=reply(trial, stimulus, "yes-no"))


def test_a_seen_picture_is_replaced_by_one_of_the_same_level(adaptive_study, task):
    someone = started(adaptive_study)
    for _ in range(12):
        index = someone.state()["next_index"]
        old, before = next(row for row in shown(adaptive_study) if row[0].trial_index == index)
        if old.phase == "main" and old.signal and old.catch is None:
            break
        play(adaptive_study, someone, task, count=1)
    load = {"client_uuid": str(uuid.uuid4()), "seen_index": index}
    assert someone.client.post("/api/v1/visits", json=load, headers=someone.headers).get_json()["replaced"] is True
    new, after = next(row for row in shown(adaptive_study) if row[0].trial_index == someone.state()["next_index"])
    assert new.placed
    assert (after.run, after.eps_asked) == (before.run, before.eps_asked)
    assert after.source_id != before.source_id
    while someone.state()["next_index"] is not None:
        play(adaptive_study, someone, task, count=1)
    assert someone.finish().status_code == 200
