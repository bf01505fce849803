"""What whoever runs the server needs: health, metrics, logs that give nobody away, backups while people answer."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text

from core.errors import ConfigError, MachineError, StudyError
from study_app import backup, create_app, logs, shared_counts
from study_app.database import Database, parse_url
from study_app.settings import Settings, from_environment
from tests.staff_site import database_of, member
from tests.study_site import Visitor, close, make_app

TOKEN = "a-token-of-at-least-24-characters"
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


@pytest.fixture
def make(sqlite_url, tmp_path):
    apps = []
    loggers = [logging.getLogger(name) for name in ("study_app", "gunicorn.error", "study_app.requests")]
    kept = [(each, list(each.handlers), each.propagate, each.level) for each in loggers]

    def make(url: str = sqlite_url, **settings):
        apps.append(make_app(url, tmp_path / "instance", **settings))
        return apps[-1]

    yield make
    for app in apps:
        close(app)
    for each, handlers, propagate, level in kept:
        each.handlers, each.propagate = handlers, propagate
        each.setLevel(level)


def samples(text_format: str) -> dict[tuple, float]:
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text_format)
        for sample in family.samples
    }


def test_a_server_with_its_database_is_healthy(study):
    response = study.test_client().get("/healthz")
    assert (response.status_code, response.get_json()["status"]) == (200, "healthy")


def test_a_server_without_its_database_or_with_an_old_schema_is_not(make, tmp_path, study_url):
    absent = make(f"sqlite:///{tmp_path / 'absent.sqlite'}").test_client().get("/healthz")
    assert (absent.status_code, absent.get_json()) == (503, {"status": "unhealthy"})
    assert not (tmp_path / "absent.sqlite").exists()
    app = make(study_url)
    database_of(app).migrate("0002", down=True)
    assert app.test_client().get("/healthz").status_code == 503
    database_of(app).migrate()
    assert app.test_client().get("/healthz").status_code == 200


def test_a_server_that_cannot_reach_postgresql_is_not_healthy(make):
    response = make("postgresql://nobody@127.0.0.1:9/none").test_client().get("/healthz")
    assert (response.status_code, response.get_json()) == (503, {"status": "unhealthy"})


def test_metrics_count_requests_sessions_and_answers(study):
    someone = Visitor(study)
    someone.consent()
    someone.answer(0)
    someone.answer(0, rt_ms=1.0)
    found = samples(study.test_client().get("/metrics").text)
    trials = {key[3][1]: value for key, value in found.items() if ("endpoint", "api.post_trial") in key[1:] and
              key[0] == "percepsilon_requests_total"}  # fmt: skip
    assert trials == {"201": 1, "409": 1}
    assert found["percepsilon_request_seconds_count", ("endpoint", "api.post_trial")] == 2
    assert found["percepsilon_sessions", ("protocol", "small"), ("status", "started")] == 1
    assert found["percepsilon_answers", ("protocol", "small")] == 1
    assert 0 <= found["percepsilon_last_answer_age_seconds",] < 60


def test_metrics_are_for_this_machine_or_with_the_token(make):
    client = make(metrics_token=TOKEN).test_client()
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_overrides=ELSEWHERE).status_code == 403
    through_a_proxy = client.get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"})
    assert through_a_proxy.status_code == 403
    for given, status in ((f"Bearer {TOKEN}", 200), ("Bearer wrong", 403), (TOKEN, 403), ("", 403)):
        response = client.get("/metrics", environ_overrides=ELSEWHERE, headers={"Authorization": given})
        assert response.status_code == status
    without = make().test_client()
    assert without.get("/metrics", environ_overrides=ELSEWHERE, headers={"Authorization": "Bearer "}).status_code == 403


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PERCEPSILON_LOG": "xml"}, "PERCEPSILON_LOG: expected quiet, text or json, got 'xml'"),
        ({"PERCEPSILON_METRICS_TOKEN": "short"}, "PERCEPSILON_METRICS_TOKEN: expected at least 24 characters, got 5"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        from_environment(values)


def lines(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_the_log_names_route_and_session_and_no_token_address_or_platform_id(make, capsys):
    app = make(log="json")
    someone = Visitor(app)
    someone.client.get("/?PROLIFIC_PID=5f1c3f0aaa77bbcc00119922&STUDY_ID=s&SESSION_ID=e")
    someone.consent()
    state = someone.state()
    someone.client.get(state["trials"][0]["pictures"][0])
    reply = someone.answer(0)
    written = capsys.readouterr().err
    kept = [json.loads(line) for line in written.splitlines()]
    last = kept[-1]
    assert (last["method"], last["route"], last["status"]) == ("POST", "/api/v1/trials", 201)
    assert last["session"] == state["session_id"]
    assert last["request_id"] == reply.headers["X-Request-Id"]
    assert last["ms"] > 0
    assert kept[-2]["route"] == "/api/v1/pictures/<token>"
    tokens = [cookie for name in ("percepsilon_session", "percepsilon_visitor")
              if (cookie := someone.client.get_cookie(name))]  # fmt: skip
    picture = state["trials"][0]["pictures"][0].rpartition("/")[2]
    for secret in (*(cookie.value for cookie in tokens), picture, "5f1c3f0aaa77bbcc00119922", "127.0.0.1"):
        assert secret not in written


def test_an_error_is_logged_without_the_parameters_of_its_query(make, capsys):
    app = make(log="json")
    someone = Visitor(app)
    someone.consent()
    with database_of(app).writing() as writer:
        writer.execute(text("ALTER TABLE response RENAME TO elsewhere"))
    secret = someone.client.get_cookie("percepsilon_session").value
    capsys.readouterr()
    assert someone.answer(0).status_code >= 500
    broken = [line for line in lines(capsys) if "exception" in line]
    assert broken
    assert "elsewhere" in broken[0]["exception"] or "response" in broken[0]["exception"]
    assert "[SQL parameters hidden" in broken[0]["exception"]
    assert secret not in broken[0]["exception"]


def test_what_postgresql_quotes_of_a_row_is_not_logged():
    quoted = "Traceback\nUniqueViolation: duplicate key\nDETAIL:  Key (platform_id)=(5f1c) already exists.\nlast line"
    assert logs.without_values(quoted) == "Traceback\nUniqueViolation: duplicate key\nlast line"


def test_as_text_the_log_is_a_line_a_request(make, capsys):
    make(log="text").test_client().get("/healthz")
    written = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO [0-9a-f]{16} request method=GET route=/healthz status=200 ms=[\d.]+\n",
        written,
    )


def test_without_a_wish_no_request_is_logged(make, capsys):
    make().test_client().get("/healthz")
    assert capsys.readouterr().err == ""


def test_several_workers_count_as_one(sqlite_url, make_server):
    server = make_server(sqlite_url)
    for _ in range(40):
        assert requests.get(f"{server.address}/healthz", timeout=10, headers={"Connection": "close"}).status_code == 200
    found = samples(requests.get(f"{server.address}/metrics", timeout=10).text)
    key = ("percepsilon_requests_total", ("endpoint", "health.healthz"), ("method", "GET"), ("status", "200"))
    assert found[key] == 40


def test_a_server_leaves_no_counts_behind_though_the_one_before_it_was_killed(sqlite_url, make_server, tmp_path):
    def folders():
        return {folder: len(list(folder.iterdir())) for folder in tmp_path.glob(f"{shared_counts.PREFIX}*")}

    server = make_server(sqlite_url)
    (left,) = folders()
    server.kill()
    assert folders()[left] > 0
    server.start()
    (own,) = folders()
    assert own != left
    server.stop()
    assert folders() == {}


def answering(app, stop: Event) -> tuple[Thread, list[int]]:
    """Lets somebody after somebody answer until told to stop; returns the thread and what was acknowledged."""
    acknowledged: list[int] = []

    def go_on() -> None:
        while not stop.is_set():
            someone = Visitor(app)
            someone.consent()
            for trial in someone.state()["trials"]:
                assert someone.answer(trial["index"]).status_code == 201
                acknowledged.append(trial["index"])

    thread = Thread(target=go_on)
    thread.start()
    return thread, acknowledged


def test_a_backup_made_while_people_answer_holds_what_was_acknowledged_before(make, tmp_path):
    app, stop = make(), Event()
    thread, acknowledged = answering(app, stop)
    kept = []
    try:
        while len(kept) < 3:
            if len(acknowledged) < 25 * (len(kept) + 1):
                assert thread.is_alive()
                time.sleep(0.005)
                continue
            before, path = len(acknowledged), tmp_path / f"copy-{len(kept)}.sqlite"
            result = app.test_cli_runner().invoke(args=["backup", str(path)])
            assert result.exit_code == 0, result.output
            kept.append((before, path, len(acknowledged)))
    finally:
        stop.set()
        thread.join()
    for before, path, after in kept:
        assert {each.name for each in tmp_path.glob(f"{path.name}*")} == {path.name}
        with closing(sqlite3.connect(path)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            answers = copy.execute("SELECT count(*) FROM response").fetchone()[0]
        assert before <= answers <= after + 1
        Database(f"sqlite:///{path}").check()


def test_a_backup_never_replaces_a_file(make, tmp_path):
    app = make()
    run = app.test_cli_runner()
    assert run.invoke(args=["backup", str(tmp_path / "copy.sqlite")]).exit_code == 0
    before = (tmp_path / "copy.sqlite").read_bytes()
    again = run.invoke(args=["backup", str(tmp_path / "copy.sqlite")])
    assert again.exit_code == 1
    assert "expected no such file, found one; a backup never replaces another" in again.output
    assert (tmp_path / "copy.sqlite").read_bytes() == before
    (tmp_path / "nothing.sqlite").unlink(missing_ok=True)
    absent = (
        make(f"sqlite:///{tmp_path / 'nothing.sqlite'}").test_cli_runner().invoke(args=["backup", str(tmp_path / "b")])
    )
    assert "no such database; make it with" in absent.output
    assert not (tmp_path / "nothing.sqlite").exists()


def test_a_damaged_database_gives_no_backup(make, sqlite_url, tmp_path):
    app = make()
    Visitor(app).consent()
    close(app)
    path = Path(parse_url(sqlite_url).database)
    with closing(sqlite3.connect(path)) as live:
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        chosen = "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'planned_trial' AND type = 'index'"
        root = live.execute(chosen).fetchone()[0]
        size = live.execute("PRAGMA page_size").fetchone()[0]
    data = bytearray(path.read_bytes())
    data[(root - 1) * size : root * size] = b"\xff" * size
    path.write_bytes(data)
    with pytest.raises(StudyError, match="expected a copy without faults, SQLite found: "):
        backup.backup(database_of(app), tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


def test_without_pg_dump_the_message_is_its_command(monkeypatch, tmp_path, postgres, postgres_template):
    monkeypatch.setenv("PATH", str(tmp_path))
    database = Database(postgres.get_uri(database=postgres_template))
    with pytest.raises(
        MachineError, match="expected pg_dump of PostgreSQL, found none; where it is installed, the command"
    ):
        backup.backup(database, tmp_path / "copy.dump")
    database.engine.dispose()
    assert not (tmp_path / "copy.dump").exists()


def test_postgresql_is_dumped_and_restored(monkeypatch, tmp_path, postgres, postgres_template):
    import pgserver

    from tests.integration.conftest import new_postgres_database

    programs = Path(pgserver.__file__).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("pg_dump")
    app = create_app(
        Settings(database_url=new_postgres_database(postgres, "dumped", postgres_template), instance=tmp_path)
    )
    someone = Visitor(app)
    someone.consent()
    someone.answer_all()
    assert app.test_cli_runner().invoke(args=["backup", str(tmp_path / "copy.dump")]).exit_code == 0
    close(app)
    restored = new_postgres_database(postgres, "restored")
    subprocess.run(["pg_restore", "--no-owner", "--dbname", restored, str(tmp_path / "copy.dump")], check=True)
    engine = create_engine(parse_url(restored))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM response")).scalar() == 10
    engine.dispose()


def test_pg_dump_that_refuses_is_named(monkeypatch, tmp_path, postgres, postgres_template):
    refusing = tmp_path / "bin" / "pg_dump"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'server version mismatch' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}{os.pathsep}{os.environ['PATH']}")
    database = Database(postgres.get_uri(database=postgres_template))
    with pytest.raises(MachineError, match="pg_dump refused: server version mismatch"):
        backup.backup(database, tmp_path / "copy.dump")
    database.engine.dispose()


def test_every_answer_of_the_pages_has_a_request_id_and_the_security_headers(make):
    response = member(make(), "owner").get("/admin/")
    assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-Id"])
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"
