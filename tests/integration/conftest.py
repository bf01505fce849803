"""Real databases, a registered study, participants who use its HTTP interface, and the real server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import requests

from study_app import create_app
from study_app.security import CSRF_HEADER
from study_app.settings import ROOT, Settings

SMALL_PROTOCOL = """
name = "small"
seed = 5
[practice]
trials = 2
[main]
trials = 8
block_trials = 4
[timing]
fixation_ms = 100
feedback_ms = 100
"""
HEADERS = {"Origin": "http://localhost", CSRF_HEADER: "1"}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    pgserver = pytest.importorskip("pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.sqlite'}"
    return new_postgres_database(request.getfixturevalue("postgres"))


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'study.sqlite'}"


def new_postgres_database(server) -> str:
    name = f"study_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(database=name)


@pytest.fixture
def small_protocol(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL_PROTOCOL)
    return path


@pytest.fixture
def make_study(stimulus_set, small_protocol, tmp_path):
    """Gives a function that sets a study up in a database and returns its app; engines are closed at the end."""
    apps = []

    def make(url: str):
        app = create_app(Settings(database_url=url, instance=tmp_path))
        apps.append(app)
        run = app.test_cli_runner()
        for command in (
            ["init-db"],
            ["register-set", str(stimulus_set)],
            ["register-protocol", str(small_protocol), "--set", "noise"],
        ):
            result = run.invoke(args=command)
            assert result.exit_code == 0, result.output
        return app

    yield make
    for app in apps:
        app.extensions["percepsilon_database"].engine.dispose()


@pytest.fixture
def study(make_study, database_url):
    return make_study(database_url)


class Visitor:
    """A participant in a Flask test client."""

    def __init__(self, app) -> None:
        self.client = app.test_client()

    def consent(self):
        return self.client.post("/consent", data={"consent": "yes"}, headers=HEADERS)

    def state(self):
        return self.client.get("/api/v1/state").get_json()

    def post(self, answer):
        return self.client.post("/api/v1/trials", json=answer, headers=HEADERS)

    def finish(self):
        return self.client.post("/api/v1/finish", json={}, headers=HEADERS)

    def answer(self, index: int, **changes):
        return self.post(make_answer(index, **changes))

    def answer_all(self):
        for trial in self.state()["trials"]:
            assert self.answer(trial["index"]).status_code == 201


def make_answer(index: int, **changes) -> dict:
    answer = {
        "trial_index": index,
        "client_uuid": str(uuid.uuid4()),
        "response": "yes",
        "rt_ms": 512.25,
        "onset_ms": 1000.5,
        "frames_planned": None,
        "frames_shown": 31,
        "long_frames": 0,
        "refresh_hz": 60.0,
        "device_pixel_ratio": 1.5,
        "css_px": 320.0,
        "scale": 15,
        "input_type": "keyboard",
        "blur_count": 0,
        "hidden_count": 0,
        "attempt": 1,
    }
    return {**answer, **changes}


@pytest.fixture
def visitor(study) -> Visitor:
    someone = Visitor(study)
    assert someone.consent().status_code == 303
    return someone


@pytest.fixture
def new_visitor(study):
    return lambda: Visitor(study)


class Server:
    """The study behind a real gunicorn on loopback, in a process group of its own."""

    def __init__(self, url: str, port: int, log: Path) -> None:
        self.port, self.address, self._log, self._database_url = port, f"http://127.0.0.1:{port}", log, url
        self._process: subprocess.Popen | None = None

    def start(self) -> Server:
        command = [sys.executable, "-m", "flask", "--app", "study_app", "serve", "--port", str(self.port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "DATABASE_URL": self._database_url},
            )  # fmt: skip
        self._wait_until_it_answers()
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                requests.get(self.address, timeout=5)
            except requests.ConnectionError:
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"no answer from {self.address}: {self._log.read_text()}")

    def kill(self) -> None:
        """Ends the server and its workers at once, as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def make_server(tmp_path):
    servers = []

    def make(url: str) -> Server:
        server = Server(url, free_port(), tmp_path / "server.log")
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.kill()
