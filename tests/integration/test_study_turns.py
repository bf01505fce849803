"""Turns at writing to SQLite, and what becomes of a request whose database is out of reach."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from study_app.database import Database
from study_app.settings import ROOT
from study_app.turns import BusyError, Turns
from tests.integration.conftest import new_postgres_database
from tests.study_site import Visitor, close, make_answer, make_app

HOLD = """
import sys, time
from pathlib import Path
from study_app.turns import Turns
with Turns(Path(sys.argv[1]), patience_s=60).taken():
    print("mine", flush=True)
    time.sleep(60)
"""


def test_threads_come_in_the_order_in_which_they_asked(tmp_path):
    turns, order = Turns(tmp_path / "turns", patience_s=60), []

    def ask(number):
        with turns.taken():
            order.append(number)

    with turns.taken():
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for waiting, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= waiting:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_a_thread_that_waits_too_long_leaves_the_queue_and_the_next_one_is_served(tmp_path):
    turns = Turns(tmp_path / "turns", patience_s=0.05)
    with ThreadPoolExecutor(1) as pool, turns.taken():

        def ask():
            with turns.taken():
                pass

        with pytest.raises(BusyError, match=r"turns: expected a turn at writing within 0.05 s; try again"):
            pool.submit(ask).result()
    with turns.taken():
        assert not turns._waiting


def test_a_turn_that_fails_is_passed_on(tmp_path):
    turns = Turns(tmp_path / "turns", patience_s=1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.taken():
            raise ZeroDivisionError


def test_processes_take_turns_and_a_killed_one_loses_its_own(tmp_path):
    path = tmp_path / "turns"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"mine\n"
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(lambda: Turns(path, patience_s=60).taken().__enter__())
            time.sleep(0.2)
            assert not asked.done()
            other.kill()
            asked.result(timeout=60)


def test_a_child_process_opens_connections_and_turns_of_its_own(sqlite_url):
    database = Database(sqlite_url)
    with database.writing() as writer:
        inherited, turns = writer.connection().connection.driver_connection, database._turns
    child = os.fork()
    if child == 0:
        with database.writing() as writer:
            apart = writer.connection().connection.driver_connection is not inherited and database._turns is not turns
        os._exit(0 if apart else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with database.writing() as writer:
        assert writer.connection().connection.driver_connection is inherited
    database.engine.dispose()


def test_postgres_limits_statements_locks_and_forgotten_transactions(postgres):
    url = postgres.get_uri()
    database, patient = Database(url), Database(url + "&options=-c%20statement_timeout%3D1234")
    with database.reading() as reader:
        found = [reader.scalar(text(f"SHOW {name}")) for name in ("statement_timeout", "lock_timeout")]
        found.append(reader.scalar(text("SHOW idle_in_transaction_session_timeout")))
    with patient.reading() as reader:
        assert reader.scalar(text("SHOW statement_timeout")) == "1234ms"
    database.engine.dispose()
    patient.engine.dispose()
    assert found == ["30s", "10s", "1min"]


def refused_for_now(visitor, headers) -> None:
    reply = visitor.client.post("/api/v1/trials", json=make_answer(0), headers=headers)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
    assert reply.get_json()["error"]["message"] == "the study's database is out of reach for now; try again"


def test_an_answer_that_sqlite_has_no_turn_for_is_to_be_sent_again(sqlite_url):
    app = make_app(sqlite_url)
    visitor, database = Visitor(app), app.extensions["percepsilon_database"]
    visitor.consent()
    headers = visitor.headers
    database._turns.patience_s = 0.05
    with database.writing():
        refused_for_now(visitor, headers)
    assert visitor.answer(0).status_code == 201
    close(app)


def test_an_answer_that_waits_too_long_for_a_lock_of_postgres_is_to_be_sent_again(postgres, postgres_template):
    url = new_postgres_database(postgres, "locked", postgres_template)
    app, other = make_app(url + "&options=-c%20lock_timeout%3D100"), Database(url)
    visitor = Visitor(app)
    visitor.consent()
    headers = visitor.headers
    with other.writing() as writer:
        writer.execute(text("SELECT id FROM session FOR UPDATE"))
        refused_for_now(visitor, headers)
    assert visitor.answer(0).status_code == 201
    other.engine.dispose()
    close(app)


def test_connections_that_postgres_closed_are_replaced_without_an_error(postgres, postgres_template):
    url = new_postgres_database(postgres, "restarted", postgres_template)
    app, other = make_app(url), Database(url)
    visitor = Visitor(app)
    visitor.consent()
    with other.writing() as writer:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        assert writer.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")).all()
    assert visitor.answer(0).status_code == 201
    other.engine.dispose()
    close(app)
