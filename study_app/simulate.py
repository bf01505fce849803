"""Robot participants that go through the study's HTTP interface as a browser does: ``python -m study_app.simulate``.

A robot sees what a person sees: the picture's bytes. It looks their ε up by hash in a manifest that only the robot has,
and answers by the law of ``study_app.observers``. It states at consent that it is a robot.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import requests
from tqdm import tqdm

from core import files, manifest
from core.errors import DONE, MachineError, StimulusError, StudyError, exit_code
from core.manifest import Stimulus
from study_app import observers
from study_app.observers import Observers
from study_app.security import CSRF_FIELD, CSRF_HEADER, SESSION, VISITOR, csrf_token

UUIDS = uuid.UUID("6f1d9c52-3a0e-5c0b-9b5e-64d0b3d1f2a7")
TIMEOUT_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all robots of a simulation share.

    Attributes:
        url: of the study, without a slash at the end.
        wait_s: how long a robot goes on trying to reach a server that does not answer.
        shown: manifest rows by the SHA-256 of their picture.
    """

    url: str
    law: Observers
    shown: dict[str, list[Stimulus]]
    wait_s: float


class Memory:
    """What the robots remember between two runs of the program: each one's cookie, and its code at the end."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        known = path is not None and path.is_file()
        self._robots: dict[str, Any] = (
            files.read_json(path, StudyError, "delete it to start over") if path and known else {}
        )

    def recall(self, robot: int) -> dict[str, str]:
        """Returns what is remembered of a robot; empty if nothing."""
        return dict(self._robots.get(str(robot), {}))

    def keep(self, robot: int, **values: str) -> None:
        """Remembers ``values`` of a robot, on disk when there is a path."""
        with self._lock:
            self._robots[str(robot)] = {**self._robots.get(str(robot), {}), **values}
            if self._path is not None:
                files.write_json(self._path, self._robots)


class Robot:
    """One robot participant; its random numbers depend on the law's seed, its number and the trial alone."""

    def __init__(self, task: Task, number: int, memory: Memory) -> None:
        self._task, self._number, self._memory = task, number, memory
        self._browser = requests.Session()
        self._browser.headers.update({"Origin": task.url})

    def enrol(self) -> None:
        """Gives consent, or takes up the session that is remembered."""
        if "cookie" in (remembered := self._memory.recall(self._number)):
            self._browser.cookies.set(SESSION, remembered["cookie"])
        else:
            self._consent()

    def take_part(self) -> int:
        """Goes through the study, or goes on with it; returns how many answers were given now."""
        if "code" in self._memory.recall(self._number):
            return 0
        with self._browser:
            return self._answer_all()

    def _consent(self) -> None:
        self._get("/")
        visitor = self._browser.cookies.get(VISITOR) or ""
        form = {"consent": "yes", "robot": "yes", CSRF_FIELD: csrf_token(visitor)}
        self._request("POST", "/consent", data=form)
        cookie = self._browser.cookies.get(SESSION)
        if cookie is None:
            raise StudyError(f"{self._task.url}: expected a session after consent, got none; is a protocol registered?")
        self._memory.keep(self._number, cookie=cookie)

    def _answer_all(self) -> int:
        self._get("/study")
        state = self._state()
        first = len(state["trials"]) if state["next_index"] is None else state["next_index"]
        for trial in state["trials"][first:]:
            picture = self._get(trial["pictures"][0]).content
            self._request("POST", "/api/v1/trials", json=self._answer(state, trial["index"], picture))
        code = self._request("POST", "/api/v1/finish", json={}).json()["completion_code"]
        self._memory.keep(self._number, code=code)
        return len(state["trials"]) - first

    def _state(self) -> dict[str, Any]:
        """Returns what the server says of the session, and keeps its token for the requests to come."""
        state: dict[str, Any] = self._get("/api/v1/state").json()
        self._browser.headers[CSRF_HEADER] = state["csrf"]
        return state

    def _answer(self, state: dict[str, Any], index: int, picture: bytes) -> dict[str, Any]:
        stimulus = self._recognise(picture)
        decision = observers.decide(self._task.law, self._number, index, stimulus.run, stimulus.eps_asked)
        return {
            "trial_index": index,
            "client_uuid": str(uuid.uuid5(UUIDS, f"{state['session_id']}/{index}")),
            "response": decision.response,
            "confidence": None,
            "confidence_rt_ms": None,
            "rt_ms": decision.rt_ms,
            "onset_ms": 0.0,
            "frames_planned": None,
            "frames_shown": max(1, round(decision.rt_ms * 60 / 1000)),
            "mask_frames": None,
            "long_frames": 0,
            "refresh_hz": 60.0,
            "device_pixel_ratio": 1.0,
            "css_px": float(stimulus.width),
            "scale": 1,
            "input_type": "robot",
            "blur_count": 0,
            "hidden_count": 0,
            "attempt": 1,
        }

    def _recognise(self, picture: bytes) -> Stimulus:
        sha256 = files.sha256_bytes(picture)
        rows = self._task.shown.get(sha256)
        if not rows:
            raise StimulusError(
                f"{self._task.url} served a picture (SHA-256 {sha256[:12]}…) that the manifest does not have; "
                "give the robots the stimulus set that the study uses"
            )
        return rows[0]

    def _get(self, path: str) -> requests.Response:
        return self._request("GET", path)

    def _request(self, method: str, path: str, **content: Any) -> requests.Response:
        def send() -> requests.Response:
            return self._browser.request(method, self._task.url + path, timeout=TIMEOUT_S, **content)

        answer = patiently(send, self._task)
        if answer.status_code >= 400:
            raise StudyError(
                f"{method} {path}: expected success, the server answered {answer.status_code}: {answer.text[:300]}"
            )
        return answer


def patiently(send: Callable[[], requests.Response], task: Task) -> requests.Response:
    """Returns the answer to a request, sent again after a growing pause while the server is out of reach.

    Raises:
        MachineError: it was out of reach for longer than ``task.wait_s``.
    """
    deadline, pause = time.monotonic() + task.wait_s, FIRST_PAUSE_S
    while True:
        try:
            answer = send()
            if answer.status_code not in (502, 503, 504) or time.monotonic() > deadline:
                return answer
        except (requests.ConnectionError, requests.Timeout):
            if time.monotonic() > deadline:
                raise MachineError(
                    f"{task.url}: no server answered within {task.wait_s:g} s; "
                    "start it with: flask --app study_app serve"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def simulate(task: Task, *, participants: int, workers: int, memory: Memory) -> int:
    """Lets robots 0 … ``participants`` − 1 take part, ``workers`` at a time; returns the answers given now.

    They enrol one after the other, so that each gets the same plan in every simulation of a new study.

    Raises:
        PercepsilonError: what stopped the first robot that could not finish.
    """
    answers, robots = 0, [Robot(task, number, memory) for number in range(participants)]
    for robot in robots:
        robot.enrol()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(robot.take_part) for robot in robots]
        try:
            for done in tqdm(as_completed(running), total=participants, desc="robots", unit="robot"):
                answers += done.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return answers


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    options = _parser().parse_args(argv)
    law = observers.load(options.observers)
    law = law if options.seed is None else dataclasses.replace(law, seed=options.seed)
    stimuli = manifest.read_set(options.manifest)
    for run in stimuli.record.runs:
        law.visibility(run)
    task = Task(url=options.url.rstrip("/"), law=law, shown=stimuli.by_hash(), wait_s=options.wait)
    started = time.monotonic()
    answers = simulate(task, participants=options.participants, workers=options.workers, memory=Memory(options.state))
    seconds = time.monotonic() - started
    speed = answers / max(seconds, 1e-9)
    click.echo(f"{options.participants} robots finished; {answers} answers in {seconds:.1f} s ({speed:.0f}/s)")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study_app.simulate", description="Let robot participants take part."
    )
    parser.add_argument("--url", required=True, help="address of the study, such as http://127.0.0.1:8000")
    parser.add_argument("--participants", type=_positive, required=True, help="how many robots")
    parser.add_argument("--observers", type=Path, required=True, metavar="FILE", help="the law that they obey (TOML)")
    parser.add_argument("--manifest", type=Path, required=True, metavar="SETDIR", help="the stimulus set of the study")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="patience with a silent server (30)"
    )
    parser.add_argument("--workers", type=_positive, default=4, help="robots at a time (4)")
    parser.add_argument("--state", type=Path, metavar="FILE", help="remember the robots here; a rerun goes on from it")
    parser.add_argument("--seed", type=int, help="in place of the seed in the observers' file")
    return parser


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(exit_code(main))
