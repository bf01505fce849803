"""Places: each held by one at a time, abandoned and ended ones given to the next, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from core.errors import StudyError
from study_app.models import Participant, PlannedTrial, Protocol, Session, StimulusRow
from study_app.participants import participation
from study_app.scheduling import places
from tests.study_site import SMALL_PROTOCOL


@pytest.fixture
def base(study):
    return study.extensions["percepsilon_database"]


@pytest.fixture
def limited(base):
    """The small study with three places, whose abandoned sessions are those of two hours ago."""
    text = SMALL_PROTOCOL.replace("seed = 5", "seed = 5\nabandoned_after_hours = 2") + "[recruitment]\nplaces = 3\n"
    change(base, Protocol, source=text)
    return base


def change(base, table, *conditions, **values):
    with base.writing() as writer:
        writer.execute(update(table).where(*conditions).values(**values))


def enrol(base, **options):
    with base.writing() as writer:
        session = participation.enrol(writer, locale="en", robot=True, **options).session
    return session.id


def held(base) -> list[int | None]:
    """The place of each participant, in the order of consent."""
    with base.reading() as reader:
        return list(reader.scalars(select(Participant.place).order_by(Participant.number)))


def silent(base, session_id, hours):
    change(base, Session, Session.id == session_id, last_seen_at=datetime.now(UTC) - timedelta(hours=hours))


def shown(base, session_id) -> list[str]:
    with base.reading() as reader:
        query = select(StimulusRow.stimulus_id).join(PlannedTrial, PlannedTrial.stimulus_id == StimulusRow.id)
        return list(reader.scalars(query.where(PlannedTrial.session_id == session_id).order_by(PlannedTrial.position)))


def test_places_are_taken_in_order_and_then_the_study_is_full(limited):
    for _ in range(3):
        enrol(limited)
    with pytest.raises(places.StudyFull, match="the study is full: all its 3 places are taken"):
        enrol(limited)
    assert held(limited) == [0, 1, 2]


def test_without_a_number_of_places_there_is_always_another(base):
    for _ in range(6):
        enrol(base)
    assert held(base) == list(range(6))


def test_an_abandoned_place_and_its_slice_of_the_design_go_to_the_next_participant(limited):
    first, second, third = (enrol(limited) for _ in range(3))
    silent(limited, second, hours=3)
    fourth = enrol(limited)
    assert held(limited) == [0, None, 2, 1]
    assert shown(limited, fourth) == shown(limited, second)
    assert len({tuple(shown(limited, session)) for session in (first, second, third)}) == 3


def test_a_place_is_kept_until_somebody_needs_it(base):
    first, _ = enrol(base), enrol(base)
    silent(base, first, hours=23)
    enrol(base)
    assert held(base) == [0, 1, 2]


@pytest.mark.parametrize("reason", ["screened-out", "timed-out", "withdrawn"])
def test_a_place_whose_session_ended_goes_to_the_next_participant(limited, reason):
    first, _ = enrol(limited), enrol(limited)
    change(limited, Session, Session.id == first, ended_at=datetime.now(UTC), end_reason=reason)
    enrol(limited)
    assert held(limited) == [None, 1, 0]


def test_a_place_that_was_given_back_is_the_next_to_be_taken(limited):
    sessions = [enrol(limited) for _ in range(3)]
    with limited.writing() as writer:
        places.give_back(writer.get_one(Session, sessions[1]).participant)
        protocol = writer.scalars(select(Protocol)).one()
        assert places.held(writer, protocol) == 2
    enrol(limited)
    assert held(limited) == [0, None, 2, 1]


def test_a_finished_session_keeps_its_place_for_ever(limited):
    sessions = [enrol(limited) for _ in range(3)]
    for session in sessions:
        silent(limited, session, hours=500)
    now = datetime.now(UTC)
    change(limited, Session, Session.id == sessions[0], finished_at=now, completion_code="AAAA")
    assert enrol(limited)
    assert held(limited) == [0, None, 2, 1]


def test_who_comes_back_after_losing_the_place_goes_on_and_loses_nothing(limited, new_visitor):
    someone = new_visitor()
    assert someone.consent().status_code == 303
    assert someone.answer(0).status_code == 201
    silent(limited, 1, hours=3)
    enrol(limited)
    assert held(limited) == [None, 0]
    for trial in someone.state()["trials"][1:]:
        assert someone.answer(trial["index"]).status_code == 201
    assert someone.finish().status_code == 200


def attempts(base, count):
    """Enrols many at once; returns how many were let in."""

    def one(_):
        try:
            enrol(base)
        except places.StudyFull:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(count)))


def test_of_many_who_enrol_at_once_as_many_get_in_as_there_are_places_each_with_its_own(limited):
    change(limited, Protocol, source=SMALL_PROTOCOL + "[recruitment]\nplaces = 12\n")
    assert attempts(limited, 24) == 12
    assert sorted(held(limited)) == list(range(12))


def test_abandoned_places_that_many_want_at_once_are_given_once_each(limited):
    change(limited, Protocol, source=SMALL_PROTOCOL + "[recruitment]\nplaces = 10\n")
    sessions = [enrol(limited) for _ in range(10)]
    for session in sessions[::2]:
        silent(limited, session, hours=25)
    assert attempts(limited, 16) == 5
    assert sorted(place for place in held(limited) if place is not None) == list(range(10))
    assert held(limited)[:10] == [None, 1, None, 3, None, 5, None, 7, None, 9]


def test_a_preview_takes_no_place_freezes_nothing_and_begins_while_the_study_is_paused(limited):
    change(limited, Protocol, paused_at=datetime.now(UTC))
    preview = enrol(limited, preview=True)
    assert held(limited) == [None]
    assert len(shown(limited, preview)) == 10
    with limited.reading() as reader:
        assert reader.scalars(select(Protocol.frozen_at)).one() is None
        assert reader.scalars(select(Participant.preview)).one() is True
    change(limited, Protocol, paused_at=None)
    assert shown(limited, enrol(limited)) != shown(limited, preview)
    assert held(limited) == [None, 0]


def test_nobody_begins_in_a_paused_or_closed_study(limited):
    change(limited, Protocol, paused_at=datetime.now(UTC))
    with pytest.raises(places.StudyClosed, match="protocol 'small' is paused since .*: resume it first"):
        enrol(limited)
    change(limited, Protocol, closed_at=datetime.now(UTC))
    with pytest.raises(places.StudyClosed, match="protocol 'small' was closed on .*: nobody can begin"):
        enrol(limited)
    assert issubclass(places.StudyClosed, StudyError)
    assert held(limited) == []
