"""A study as the tests of several levels need it: set up by our own commands, visited over HTTP, behind gunicorn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import requests
from jinja2.bccache import Bucket, BytecodeCache

from study_app import create_app
from study_app.security import CSRF_HEADER, SESSION, VISITOR, csrf_token
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
ORIGIN = {"Origin": "http://localhost"}


def set_up(url: str, stimulus_set: Path, protocol: Path) -> None:
    """Makes a database and registers a set and a protocol, by the commands that a researcher uses."""
    app = make_app(url)
    for command in (
        ["init-db"],
        ["register-set", str(stimulus_set)],
        ["register-protocol", str(protocol), "--set", "noise"],
    ):
        result = app.test_cli_runner().invoke(args=command)
        assert result.exit_code == 0, result.output
    close(app)


class Templates(BytecodeCache):
    """Templates compiled once for all the apps that tests make."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.kept[bucket.key] = bucket.bytecode_to_string()


TEMPLATES = Templates()


def make_app(url: str, instance: Path = ROOT / "instance", **settings):
    app = create_app(Settings(database_url=url, instance=instance, **settings))
    app.jinja_env.bytecode_cache = TEMPLATES
    return app


def close(app) -> None:
    app.extensions["percepsilon_database"].engine.dispose()


class Visitor:
    """A participant in a Flask test client."""

    def __init__(self, app) -> None:
        self.client = app.test_client()

    @property
    def headers(self) -> dict[str, str]:
        """What our own pages send along; as the browser has the token from the page, so have we from the cookie."""
        if not (cookie := self.client.get_cookie(SESSION) or self.client.get_cookie(VISITOR)):
            self.client.get("/")
            cookie = self.client.get_cookie(VISITOR)
        return {**ORIGIN, CSRF_HEADER: csrf_token(cookie.value)}

    def consent(self):
        return self.client.post("/consent", data={"consent": "yes"}, headers=self.headers)

    def state(self):
        return self.client.get("/api/v1/state").get_json()

    def post(self, answer):
        return self.client.post("/api/v1/trials", json=answer, headers=self.headers)

    def finish(self):
        return self.client.post("/api/v1/finish", json={}, headers=self.headers)

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
        "confidence": None,
        "confidence_rt_ms": None,
        "rt_ms": 512.25,
        "onset_ms": 1000.5,
        "frames_planned": None,
        "frames_shown": 31,
        "mask_frames": None,
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


class Server:
    """The study behind a real gunicorn on loopback, in a process group of its own.

    Our own command is called from another directory than the code's. ``direct`` leaves it out, and what it looks at
    first: for tests that need many servers.
    """

    def __init__(self, url: str, port: int, log: Path, *, direct: bool = False) -> None:
        self.port, self.address, self._log, self._database_url = port, f"http://127.0.0.1:{port}", log, url
        self._place = ROOT if direct else log.parent
        self._command = [sys.executable, "-m", *(self._gunicorn() if direct else self._serve())]
        self._process: subprocess.Popen | None = None

    def _serve(self) -> list[str]:
        return ["flask", "--app", str(ROOT / "study_app"), "serve", "--port", str(self.port)]

    def _gunicorn(self) -> list[str]:
        return ["gunicorn", "--config", "study_app/gunicorn_conf.py", "--bind", f"127.0.0.1:{self.port}"]

    def start(self) -> Server:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._place, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "DATABASE_URL": self._database_url, "TMPDIR": str(self._log.parent)},
            )  # fmt: skip
        self._wait_until_it_answers()
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                requests.get(self.address, timeout=5)
            except (requests.ConnectionError, requests.Timeout):
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"no answer from {self.address}: {self._log.read_text()}")

    def stop(self) -> None:
        """Asks the server to end, as an operator does, and waits until it did."""
        self._process.terminate()
        assert self._process.wait(timeout=60) == 0, self._log.read_text()
        self._process = None

    def kill(self) -> None:
        """Ends the server and its workers at once, as a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
