"""A session that goes on at another page load, on SQLite and on PostgreSQL."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from study_app.models import AuditEvent, Participant, PlannedTrial, Protocol, Response, Session, StimulusRow, Visit
from study_app.scheduling.planning import REPLACED_STEP
from tests.study_site import SMALL_PROTOCOL, Visitor, make_answer

PAIRED = SMALL_PROTOCOL.replace("seed = 5", 'seed = 5\ntask = "2afc"') + "[catch]\ngross = 1\ninstructed = 1\n"


def rows(app, query):
    with app.extensions["percepsilon_database"].reading() as reader:
        return list(reader.execute(query))


def change(app, table, **values):
    with app.extensions["percepsilon_database"].writing() as writer:
        writer.execute(update(table).values(**values))


def ago(**gap):
    return datetime.now(UTC) - timedelta(**gap)


def visit(someone, seen=None, client_uuid=None):
    body = {"client_uuid": client_uuid or str(uuid.uuid4()), "seen_index": seen}
    return someone.client.post("/api/v1/visits", json=body, headers=someone.headers)


def plan(app):
    """Index, phase, block, source, run and ε of each trial that is shown, in order."""
    query = (
        select(
            PlannedTrial.trial_index, PlannedTrial.phase, PlannedTrial.block, StimulusRow.source_id, StimulusRow.run,
            StimulusRow.eps_asked,
        )
        .join(StimulusRow, PlannedTrial.stimulus_id == StimulusRow.id)
        .where(PlannedTrial.aborted_at.is_(None))
        .order_by(PlannedTrial.position)
    )  # fmt: skip
    return [tuple(row) for row in rows(app, query)]


def planned(app) -> dict[int, PlannedTrial]:
    return {row.trial_index: row for (row,) in rows(app, select(PlannedTrial))}


def answer_first(someone, count):
    for trial in someone.state()["trials"][:count]:
        assert someone.answer(trial["index"]).status_code == 201


def test_a_visit_after_a_short_gap_changes_nothing(study, visitor):
    before = plan(study)
    answer_first(visitor, 3)
    reply = visit(visitor)
    assert reply.status_code == 201
    assert reply.get_json()["gap_s"] < 60
    assert {key: reply.get_json()[key] for key in ("warm_up", "replaced")} == {"warm_up": False, "replaced": False}
    assert plan(study) == before
    assert rows(study, select(Visit.seen_index)) == [(None,)]


def test_a_main_picture_that_was_seen_is_replaced_by_another_of_the_same_cell(study, visitor):
    answer_first(visitor, 4)
    before = plan(study)
    assert visit(visitor, seen=4).get_json()["replaced"] is True
    after = plan(study)
    new = after[4]
    assert new[0] == 10
    assert new[1:3] == before[4][1:3]
    assert new[4:] == before[4][4:]
    assert new[3] not in {trial[3] for trial in before}
    assert [*after[:4], *after[5:]] == [*before[:4], *before[5:]]
    assert visitor.state()["next_index"] == 10
    assert [trial["index"] for trial in visitor.state()["trials"]] == [0, 1, 2, 3, 10, 5, 6, 7, 8, 9]
    assert ("trial replaced",) in rows(study, select(AuditEvent.event))
    assert visitor.answer(4).get_json()["error"] == {
        "code": "out of order", "message": "answers come in the order of the trials", "next_index": 10,
    }  # fmt: skip


def test_a_session_with_a_replaced_trial_finishes_without_the_aborted_one(study, visitor):
    answer_first(visitor, 4)
    visit(visitor, seen=4)
    for trial in visitor.state()["trials"][4:]:
        assert visitor.answer(trial["index"]).status_code == 201
    assert visitor.finish().status_code == 200
    assert sorted(rows(study, select(Response.trial_index))) == [(i,) for i in (0, 1, 2, 3, 5, 6, 7, 8, 9, 10)]


def test_pictures_are_replaced_until_none_is_left_and_then_the_last_one_stays(study, visitor):
    answer_first(visitor, 4)
    replaced, index = [], 4
    for _ in range(6):
        replaced.append(visit(visitor, seen=index).get_json()["replaced"])
        index = visitor.state()["next_index"]
    assert replaced == [True] * 4 + [False] * 2  # 14 sources, 10 of them planned
    assert ("no spare picture",) in rows(study, select(AuditEvent.event))
    sources = rows(study, select(StimulusRow.source_id).join(PlannedTrial, PlannedTrial.stimulus_id == StimulusRow.id))
    assert len(sources) == len(set(sources)) == 14
    assert visitor.answer(index, attempt=3).status_code == 201


def test_the_same_visit_again_has_the_same_outcome_and_is_noted_once(study, visitor):
    answer_first(visitor, 4)
    change(study, Session, last_seen_at=ago(hours=1))
    name = str(uuid.uuid4())
    first, again = visit(visitor, seen=4, client_uuid=name), visit(visitor, seen=4, client_uuid=name)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()
    assert first.get_json()["warm_up"] is first.get_json()["replaced"] is True
    assert rows(study, select(func.count(Visit.id))) == [(1,)]
    assert len(plan(study)) == 12


def test_the_same_visit_eight_times_at_once_is_noted_once(study, visitor):
    answer_first(visitor, 4)
    name, cookie = str(uuid.uuid4()), visitor.client.get_cookie("percepsilon_session")

    def one(_):
        copy = Visitor(study)
        copy.client.set_cookie(cookie.key, cookie.value)
        return visit(copy, seen=4, client_uuid=name).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(8))) == [200] * 7 + [201]
    assert len(plan(study)) == 10


@pytest.mark.parametrize("seen", [0, 1, 7, 9])
def test_practice_and_trials_that_are_not_next_are_not_replaced(study, visitor, seen):
    answer_first(visitor, 1 if seen == 1 else 0)
    assert visit(visitor, seen=seen).get_json()["replaced"] is False
    assert len(plan(study)) == 10


def test_an_answered_trial_is_not_replaced(study, visitor):
    answer_first(visitor, 5)
    assert visit(visitor, seen=4).get_json()["replaced"] is False
    assert rows(study, select(func.count(PlannedTrial.aborted_at))) == [(0,)]


def test_after_a_long_gap_there_are_instructions_and_warm_up_trials_on_practice_pictures(study, visitor):
    answer_first(visitor, 4)
    before = plan(study)
    change(study, Session, last_seen_at=ago(minutes=16))
    reply = visit(visitor).get_json()
    assert reply["warm_up"] is True
    assert reply["gap_s"] == pytest.approx(16 * 60, abs=30)
    after = plan(study)
    assert [trial[:3] for trial in after[4:6]] == [(10, "warm-up", 1), (11, "warm-up", 1)]
    assert {trial[3] for trial in after[4:6]} == {trial[3] for trial in before[:2]}
    assert {trial[5] for trial in after[4:6]} == {0, 32}
    assert [*after[:4], *after[6:]] == before
    assert visitor.state()["trials"][4]["phase"] == "warm-up"
    assert visitor.state()["next_index"] == 10
    assert visitor.answer(4).status_code == 409
    answered = visitor.answer(10)
    assert set(answered.get_json()) == {"trial_index", "duplicate"}
    assert visitor.answer(11).status_code == visitor.answer(4).status_code == 201


def test_a_reload_during_the_warm_up_shows_the_instructions_and_adds_nothing(study, visitor):
    answer_first(visitor, 4)
    change(study, Session, last_seen_at=ago(minutes=16))
    visit(visitor)
    assert visit(visitor, seen=10).get_json() | {"gap_s": 0} == {"gap_s": 0, "warm_up": True, "replaced": False}
    assert len(plan(study)) == 12


def test_long_gaps_one_after_the_other_each_have_a_warm_up(study, visitor):
    answer_first(visitor, 4)
    for start in (10, 12):
        change(study, Session, last_seen_at=ago(hours=1))
        visit(visitor, seen=4)
        assert [trial[1] for trial in plan(study)].count("warm-up") == start - 8
        for index in (visitor.state()["next_index"] for _ in range(2)):
            assert visitor.answer(index).status_code == 201
    positions = [position for (position,) in rows(study, select(PlannedTrial.position))]
    assert len(positions) == len(set(positions))


def test_a_gap_during_practice_shows_the_instructions_without_more_trials(study, visitor):
    answer_first(visitor, 1)
    change(study, Session, last_seen_at=ago(hours=1))
    assert visit(visitor).get_json()["warm_up"] is True
    assert len(plan(study)) == 10


def test_the_seen_picture_is_replaced_and_the_warm_up_comes_before_it(study, visitor):
    answer_first(visitor, 4)
    change(study, Session, last_seen_at=ago(hours=1))
    assert visit(visitor, seen=4).get_json()["replaced"] is True
    assert [trial[0] for trial in plan(study)[3:8]] == [3, 11, 12, 10, 5]


def test_a_session_past_its_limit_is_closed_and_takes_no_more_answers(study, visitor):
    answer_first(visitor, 4)
    change(study, Participant, consented_at=ago(hours=73))
    late = visit(visitor)
    assert late.status_code == 409
    assert late.get_json()["error"] | {"message": ""} == {"code": "ended", "message": "", "next": "/ended"}
    assert rows(study, select(Session.end_reason)) == [("timed-out",)]
    assert rows(study, select(Participant.place)) == [(None,)]
    assert visitor.answer(4).get_json()["error"]["code"] == "ended"
    assert visit(visitor).get_json()["error"]["code"] == "ended"
    assert rows(study, select(func.count(Response.id))) == [(4,)]


def test_an_answer_past_the_limit_closes_the_session_that_nobody_loaded_again(study, visitor):
    answer_first(visitor, 4)
    change(study, Participant, consented_at=ago(hours=71.9))
    assert visitor.answer(4).status_code == 201
    change(study, Participant, consented_at=ago(hours=72.1))
    late = visitor.answer(5)
    assert late.status_code == 409
    assert late.get_json()["error"] | {"message": ""} == {"code": "ended", "message": "", "next": "/ended"}
    assert rows(study, select(Session.end_reason)) == [("timed-out",)]
    assert rows(study, select(Participant.place)) == [(None,)]
    assert rows(study, select(func.count(Response.id))) == [(5,)]


def test_an_answer_that_was_kept_is_acknowledged_even_after_the_end(study, visitor):
    answer = make_answer(0)
    visitor.post(answer)
    change(study, Participant, consented_at=ago(hours=73))
    visit(visitor)
    assert visitor.post(answer).status_code == 200


def test_a_session_that_lacks_nothing_but_its_code_is_not_closed(study, visitor):
    visitor.answer_all()
    change(study, Participant, consented_at=ago(hours=73))
    assert visit(visitor).status_code == 201
    assert visitor.finish().status_code == 200
    assert visit(visitor).get_json() == {"gap_s": 0.0, "warm_up": False, "replaced": False}


def test_in_2afc_the_side_the_catch_trials_and_the_reference_beside_are_kept(study, new_visitor):
    change(study, Protocol, source=PAIRED)
    someone = new_visitor()
    assert someone.consent().status_code == 303
    fields = ("block", "signal", "target_side", "catch", "instructed", "phase", "placed")
    replaced = []
    while (index := someone.state()["next_index"]) is not None:
        old = planned(study)[index]
        assert len(someone.state()["trials"][0]["pictures"]) == 2
        if old.catch and index < 12:
            assert visit(someone, seen=index).get_json()["replaced"] is True
            index = someone.state()["next_index"]
            new = planned(study)[index]
            assert {name: getattr(new, name) for name in fields} == {name: getattr(old, name) for name in fields}
            assert new.position == old.position + REPLACED_STEP
            assert not {new.token, new.pair_token} & {old.token, old.pair_token}
            replaced.append(new.catch)
        assert someone.answer(index, response="left").status_code == 201
    assert sorted(replaced) == ["gross", "instructed"]
    beside = rows(
        study,
        select(PlannedTrial.stimulus_id, PlannedTrial.pair_stimulus_id, StimulusRow.eps_asked)
        .join(StimulusRow, StimulusRow.id == PlannedTrial.pair_stimulus_id),
    )  # fmt: skip
    sources = dict(map(tuple, rows(study, select(StimulusRow.id, StimulusRow.source_id))))
    assert all(sources[stimulus] == sources[pair] and eps == 0 for stimulus, pair, eps in beside)
    assert someone.finish().status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ([], None, "expected a JSON object"),
        ({"seen_index": None}, "client_uuid", "missing"),
        ({"client_uuid": "x", "seen_index": None}, "client_uuid", "expected a UUID in its canonical form"),
        ({"client_uuid": str(uuid.UUID(int=1))}, "seen_index", "missing"),
        ({"client_uuid": str(uuid.UUID(int=1)), "seen_index": -1}, "seen_index", "expected a whole number"),
        ({"client_uuid": str(uuid.UUID(int=1)), "seen_index": True}, "seen_index", "expected a whole number"),
        ({"client_uuid": str(uuid.UUID(int=1)), "seen_index": None, "eps": 1}, "eps", "unknown field"),
    ],
)
def test_a_visit_that_cannot_be_understood_is_refused_with_its_fields(visitor, body, field, message):
    refused = visitor.client.post("/api/v1/visits", json=body, headers=visitor.headers)
    assert refused.status_code == 422
    error = refused.get_json()["error"]
    assert message in (error["fields"][field] if field else error["message"])


def test_a_visit_of_somebody_else_is_refused(visitor, new_visitor):
    other = new_visitor()
    other.consent()
    name = str(uuid.uuid4())
    assert visit(visitor, client_uuid=name).status_code == 201
    refused = visit(other, client_uuid=name)
    assert refused.status_code == 409
    assert refused.get_json()["error"]["code"] == "reused"
    assert visit(new_visitor()).status_code == 401
