"""What was done is a chain: written with what it records, and broken by any change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import delete, func, select, update

from core.errors import StudyError
from study_app.researchers import ledger
from study_app.staff import Action
from tests.staff_site import database_of, member
from tests.study_site import close, make_app


@pytest.fixture
def chained(study):
    """An app with five actions in its ledger beside those of its registration."""
    with database_of(study).writing() as writer:
        for number in range(5):
            ledger.write(writer, "ada@lab.example", "something done", number=number, text="größer als ε")
    return study


def change(app, statement) -> None:
    with database_of(app).writing() as writer:
        writer.execute(statement)


def verify(app, head=None):
    with database_of(app).reading() as reader:
        return ledger.verify(reader, head)


def length(app) -> int:
    with database_of(app).reading() as reader:
        return reader.scalar(select(func.count()).select_from(Action))


def test_a_chain_that_nobody_touched_is_whole(chained):
    chain = verify(chained)
    assert chain.actions == length(chained)
    with database_of(chained).reading() as reader:
        rows = list(reader.scalars(select(Action).order_by(Action.sequence)))
    assert chain.head == rows[-1].sha256
    assert [row.sequence for row in rows] == list(range(len(rows)))
    assert rows[0].previous_sha256 == ledger.START


@pytest.mark.parametrize(
    "values",
    [
        {"actor": "bo@lab.example"},
        {"action": "nothing done"},
        {"detail": {"number": 7, "text": "größer als ε"}},
        {"at": datetime.now(UTC) + timedelta(microseconds=1)},
        {"sha256": "0" * 64},
    ],
)
def test_a_changed_row_is_found(chained, values):
    number = length(chained) - 3
    change(chained, update(Action).where(Action.sequence == number).values(**values))
    with pytest.raises(StudyError, match=rf"audit: action {number} \(.+\) was changed after it was written"):
        verify(chained)


def test_a_row_whose_own_hash_was_made_anew_breaks_the_row_after_it(chained):
    number = length(chained) - 3
    with database_of(chained).writing() as writer:
        row = writer.scalar(select(Action).where(Action.sequence == number))
        row.actor = "bo@lab.example"
        row.sha256 = ledger.sha256(row)
    with pytest.raises(StudyError, match=f"audit: action {number + 1} does not follow the one before it"):
        verify(chained)


def test_a_removed_row_is_found(chained):
    number = length(chained) - 3
    change(chained, delete(Action).where(Action.sequence == number))
    with pytest.raises(StudyError, match=f"expected action {number}, found action {number + 1}: a row was taken out"):
        verify(chained)


def test_a_removed_row_is_found_when_the_others_are_numbered_anew(chained):
    number = length(chained) - 3
    change(chained, delete(Action).where(Action.sequence == number))
    for sequence in range(number + 1, number + 3):
        change(chained, update(Action).where(Action.sequence == sequence).values(sequence=sequence - 1))
    with pytest.raises(StudyError, match=f"audit: action {number} does not follow the one before it"):
        verify(chained)


def test_swapped_rows_are_found(chained):
    first = length(chained) - 3
    for before, after in ((first, -1), (first + 1, first), (-1, first + 1)):
        change(chained, update(Action).where(Action.sequence == before).values(sequence=after))
    with pytest.raises(StudyError, match=f"audit: action {first} does not follow the one before it"):
        verify(chained)


def test_rows_taken_off_the_end_are_found_by_a_hash_that_was_noted(chained):
    noted = verify(chained).head
    assert verify(chained, noted).head == noted
    change(chained, delete(Action).where(Action.sequence == length(chained) - 1))
    verify(chained)
    with pytest.raises(StudyError, match=f"audit: no action has the hash {noted}: rows were taken off the end"):
        verify(chained, noted)


def test_an_action_goes_with_the_transaction_that_it_records(chained):
    before = length(chained)

    def fail() -> None:
        with database_of(chained).writing() as writer:
            ledger.write(writer, "ada@lab.example", "something done")
            raise RuntimeError("after the action")

    with pytest.raises(RuntimeError, match="after the action"):
        fail()
    assert length(chained) == before
    verify(chained)


def test_many_writers_at_once_make_one_chain(chained):
    before = length(chained)

    def write(number: int) -> None:
        for turn in range(10):
            with database_of(chained).writing() as writer:
                ledger.write(writer, f"writer {number}", "something done", turn=turn)

    threads = [Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(chained).actions == before + 60


def test_verifying_by_command(chained):
    run = chained.test_cli_runner()
    noted = verify(chained).head
    assert f"actions is whole; its last hash is {noted}" in run.invoke(args=["audit", "verify", "--head", noted]).output
    change(chained, update(Action).where(Action.sequence == 2).values(actor="bo@lab.example"))
    broken = run.invoke(args=["audit", "verify"])
    assert broken.exit_code == 1
    assert "was changed after it was written" in broken.output


def test_the_page_says_whether_the_chain_holds(sqlite_url):
    app = make_app(sqlite_url)
    someone = member(app, "researcher")
    whole = someone.text("/admin/ledger")
    assert "actions is whole" in whole
    assert "account made" in whole
    change(app, update(Action).where(Action.sequence == 1).values(actor="bo@lab.example"))
    broken = someone.text("/admin/ledger")
    assert "actions is whole" not in broken
    assert "was changed after it was written" in broken
    close(app)


def test_commands_that_change_a_study_are_in_the_ledger(study):
    with database_of(study).reading() as reader:
        rows = [(row.action, row.actor, row.detail) for row in reader.scalars(select(Action).order_by(Action.sequence))]
    assert [action for action, _, _ in rows] == ["stimulus set registered", "protocol registered"]
    assert all(actor.startswith("command line") for _, actor, _ in rows)
    assert rows[1][2]["protocol"] == "small"
