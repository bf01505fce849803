"""Robots through a real gunicorn: sessions, the export, and a server that is killed between answers."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pyarrow.parquet
import pytest
import requests
from sqlalchemy import func, select

from core import files, manifest
from core.errors import MachineError, StimulusError, StudyError
from study_app import observers, robots, simulate
from study_app.export import columns
from study_app.models import Participant, Response
from study_app.observers import Seen
from study_app.security import CSRF_FIELD, CSRF_HEADER, SESSION, VISITOR, csrf_token
from study_app.settings import ROOT
from tests.study_site import SMALL_PROTOCOL, close, make_answer, make_app

LAW = ROOT / "study_app" / "observers" / "demo.toml"
TRIALS = 10


def simulate_on(server, small_set, *more: str) -> int:
    return simulate.main(
        ["--url", server.address, "--observers", str(LAW), "--manifest", str(small_set), "--workers", "3", *more]
    )


def count(url, column) -> int:
    app = make_app(url)
    with app.extensions["percepsilon_database"].reading() as reader:
        found = reader.scalar(select(func.count(column)))
    close(app)
    return found


@pytest.fixture
def exported(study_url, make_server, small_set, tmp_path):
    server = make_server(study_url)
    state = tmp_path / "robots.json"
    assert simulate_on(server, small_set, "--participants", "4", "--state", str(state)) == 0
    assert simulate_on(server, small_set, "--participants", "4", "--state", str(state)) == 0  # nobody takes part twice
    app = make_app(study_url)
    result = app.test_cli_runner().invoke(args=["export", str(tmp_path / "export")])
    status = app.test_cli_runner().invoke(args=["status"])
    close(app)
    assert result.stdout == f"{tmp_path / 'export'}: {4 * TRIALS} trials, 4 participants\n"
    assert "finished          4" in status.output
    return tmp_path / "export"


def test_the_export_is_what_the_contract_says(exported, small_set):
    trials = pyarrow.parquet.read_table(exported / "data" / "table-trials_data.parquet")
    assert trials.schema.equals(columns.schema(columns.TRIALS))
    with (exported / "data" / "table-trials_data.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0]) == [column.name for column in columns.TRIALS]
    assert [float(row["rt_ms"]) for row in written] == trials["rt_ms"].to_pylist()
    assert {row["run"] for row in written if row["eps_asked"] == "0"} == {""}

    known = {row.stimulus_id: row for row in manifest.read_set(small_set).stimuli}
    for row in trials.to_pylist():
        shown = known[row["stimulus_id"]]
        assert (row["sha256"], row["eps_measured"], row["run"]) == (shown.sha256, shown.eps_measured, shown.run)
        assert row["signal"] == (shown.eps_asked > 0)
        assert row["correct"] == ((row["response"] == "yes") == row["signal"])
    for column in columns.TRIALS:
        if column.allowed:
            assert set(trials[column.name].to_pylist()) <= {*column.allowed, None}

    participants = pd.read_parquet(exported / "data" / "table-participants_data.parquet")
    assert list(participants.columns) == [column.name for column in columns.PARTICIPANTS]
    assert participants[["practice_trials", "main_trials", "status", "robot"]].value_counts().to_dict() == {
        (2, 8, "finished", True): 4
    }
    assert (exported / "protocol.toml").read_text() == SMALL_PROTOCOL
    assert files.sha256_file(exported / "protocol.toml") == participants["protocol_hash"].unique().item()
    for name in ("set.json", "manifest.jsonl"):
        assert (exported / "stimuli" / "noise" / name).read_bytes() == (small_set / name).read_bytes()
    events = [json.loads(line)["event"] for line in (exported / "audit.jsonl").read_text().splitlines()]
    assert sorted(events) == ["consent"] * 4 + ["finish"] * 4
    described = json.loads((exported / "dataset_description.json").read_text())["variableMeasured"]
    assert {entry["name"] for entry in described} == {
        column.name for table in columns.TABLES.values() for column in table
    }


def test_the_robots_answers_are_those_of_their_law(exported):
    law = observers.load(LAW)
    participants = pd.read_parquet(exported / "data" / "table-participants_data.parquet")["participant_id"]
    trials = pyarrow.parquet.read_table(exported / "data" / "table-trials_data.parquet").to_pandas()
    explained = set()
    for participant in participants:
        mine = trials[trials.participant_id == participant]
        explained |= {
            robot
            for robot in range(4)
            if all(
                observers.decide(law, robot, row.trial_index, [Seen(row.run if row.signal else None, row.eps_asked)])
                == observers.Decision(row.response, row.rt_ms)
                for row in mine.itertuples()
            )
        }
    assert explained == {0, 1, 2, 3}


def test_a_server_killed_between_answers_loses_none_that_it_acknowledged(study_url, make_server):
    server = make_server(study_url)
    browser = requests.Session()
    browser.headers["Origin"] = server.address
    browser.get(server.address, timeout=10)
    form = {"consent": "yes", CSRF_FIELD: csrf_token(browser.cookies[VISITOR])}
    browser.post(f"{server.address}/consent", data=form, timeout=10)
    browser.headers[CSRF_HEADER] = csrf_token(browser.cookies[SESSION])
    acknowledged = []
    for index in range(TRIALS):
        answer = make_answer(index)
        assert browser.post(f"{server.address}/api/v1/trials", json=answer, timeout=10).status_code == 201
        acknowledged.append(answer["client_uuid"])
        if index in (2, 5):
            server.kill()
            server.start()
            assert browser.post(f"{server.address}/api/v1/trials", json=answer, timeout=10).status_code == 200
    assert browser.post(f"{server.address}/api/v1/finish", json={}, timeout=10).status_code == 200
    app = make_app(study_url)
    with app.extensions["percepsilon_database"].reading() as reader:
        kept = list(reader.scalars(select(Response.client_uuid).order_by(Response.trial_index)))
    close(app)
    assert kept == acknowledged


def test_robots_go_on_after_an_interruption_without_a_second_participant(sqlite_url, make_server, small_set, tmp_path):
    server = make_server(sqlite_url)
    state = tmp_path / "robots.json"
    task = robots.Task(
        url=server.address, law=observers.load(LAW), shown=manifest.read_set(small_set).by_hash(), wait_s=60
    )
    robot = robots.Robot(task, 0, robots.Memory(state))
    robot.enrol()
    plan = robot._state()
    picture = robot._browser.get(plan["trials"][0]["pictures"][0]).content
    robot._browser.post_json("/api/v1/trials", robot._answer(plan, plan["trials"][0], [picture]))
    assert simulate_on(server, small_set, "--participants", "1", "--state", str(state)) == 0
    assert count(sqlite_url, Participant.id) == 1
    assert count(sqlite_url, Response.id) == TRIALS


def test_robots_refuse_a_server_that_is_not_there(small_set, capsys):
    command = [
        "--url",
        "http://127.0.0.1:1",
        "--participants",
        "1",
        "--observers",
        str(LAW),
        "--manifest",
        str(small_set),
    ]
    with pytest.raises(MachineError, match="no server answered within 0 s; start it with: flask"):
        simulate.main([*command, "--wait", "0"])


def test_robots_refuse_a_stimulus_set_that_is_not_the_studys(sqlite_url, make_server, stimulus_set):
    server = make_server(sqlite_url)
    with pytest.raises(StimulusError, match=r"served a picture .* that the manifest does not have"):
        simulate_on(server, stimulus_set, "--participants", "1")


def test_robots_refuse_a_number_of_participants_that_is_none():
    with pytest.raises(SystemExit) as usage:
        simulate.main(["--url", "x", "--participants", "0", "--observers", "x", "--manifest", "x"])
    assert usage.value.code == 2


@pytest.fixture
def robot(sqlite_url, make_server, small_set):
    server = make_server(sqlite_url)
    task = robots.Task(
        url=server.address, law=observers.load(LAW), shown=manifest.read_set(small_set).by_hash(), wait_s=60
    )
    return robots.Robot(task, 0, robots.Memory(None))


def test_a_robot_that_forgot_its_code_fetches_it_again(robot):
    robot.enrol()
    assert robot.take_part() == TRIALS
    code = robot._memory.recall(0)["code"]
    memory = robots.Memory(None)
    memory.keep(0, cookie=robot._memory.recall(0)["cookie"])
    again = robots.Robot(robot._task, 0, memory)
    again.enrol()
    assert again.take_part() == 0
    assert memory.recall(0)["code"] == code


def test_a_robot_whose_session_is_not_known_is_told_so(robot):
    robot._browser.session = "unknown"
    with pytest.raises(StudyError, match="expected the task or a step before it; is the session known there"):
        robot.take_part()
    with pytest.raises(StudyError, match="POST /api/v1/visits: expected success, the server answered 401"):
        robot._visit(None)
    with pytest.raises(StudyError, match="GET /nowhere: expected success, the server answered 404"):
        robot._browser.get("/nowhere")


def test_a_step_that_robots_do_not_know_is_refused(robot):
    with pytest.raises(StudyError, match="/steps/juggling: a step that robots do not know"):
        robot._form("juggling", "")
