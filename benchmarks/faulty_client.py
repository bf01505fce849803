"""An HTTP client for robots on a bad line: requests that never arrive, answers that get lost, answers sent twice.

It writes down every answer that the server acknowledged and the robot was told of: what must be in the database.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from core import rng
from study_app.participants import answers

ANSWERS = "/api/v1/trials"


@dataclass(frozen=True, kw_only=True)
class Line:
    """How bad a line is.

    Attributes:
        before: share of requests that is lost before the server has them.
        after: share of requests whose answer is lost: the server has acted, and nobody knows.
        twice: share of acknowledged answers that are sent a second time.
    """

    before: float = 0.03
    after: float = 0.03
    twice: float = 0.03
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """An answer that the server said it holds."""

    client_uuid: str
    trial_index: int
    payload_sha256: str


class Log:
    """What all robots of a test were told, and what was done to them; after each request it calls ``on_kept``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.on_kept: Callable[[], None] = lambda: None
        self.counts: Counter[str] = Counter()
        self.acknowledged: list[Any] = []
        self.codes: list[str] = []
        self.wrong: list[str] = []

    def count(self, event: str) -> None:
        """Counts something that was done."""
        with self._lock:
            self.counts[event] += 1

    def keep(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        """Writes down what the robot is told now."""
        with self._lock:
            self.counts[f"status {response.status_code}"] += 1
            if self.is_answer(request) and response.ok:
                self.acknowledged.append(self.acknowledgement(request))
            elif str(request.path_url) == "/api/v1/finish" and response.ok:
                self.codes.append(response.json()["completion_code"])
        self.on_kept()

    def is_answer(self, request: requests.PreparedRequest) -> bool:
        """Returns whether a request posts an answer."""
        return request.method == "POST" and request.path_url == ANSWERS

    def acknowledgement(self, request: requests.PreparedRequest) -> Any:
        """Returns what the server said it holds, of a request that posts an answer."""
        answer = answers.parse(json.loads(request.body or b""))
        return Acknowledged(
            client_uuid=answer.client_uuid, trial_index=answer.trial_index, payload_sha256=answer.sha256
        )

    def complain(self, what: str) -> None:
        """Writes down something that must not happen."""
        with self._lock:
            self.wrong.append(what)


class BadLine(HTTPAdapter):
    """Carries the requests of one robot; what it does to them depends on the line's seed and the robot's number."""

    def __init__(self, line: Line, robot: int, log: Log) -> None:
        super().__init__()
        self._line, self._log = line, log
        self._draws: Iterator[float] = iter(rng.numpy_generator(line.seed, "bad line", robot).random, None)

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Returns the server's answer, or raises what a robot sees when the line breaks."""
        self._log.count("requests")
        draw = next(self._draws)
        if draw < self._line.before:
            self._log.count("dropped before")
            raise requests.ConnectionError("lost on the way to the server")
        response = self._carry(request, *arguments, **options)
        if draw < self._line.before + self._line.after:
            self._log.count("dropped after")
            raise requests.ConnectionError("lost on the way back")
        self._log.keep(request, response)
        if self._log.is_answer(request) and response.ok and next(self._draws) < self._line.twice:
            self._repeat(request, *arguments, **options)
        return response

    def _carry(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        try:
            response = super().send(request, *arguments, **options)
            response.content  # noqa: B018  (all of it must arrive)
        except (requests.RequestException, OSError) as error:
            self._log.count("broken by the server's end")
            raise requests.ConnectionError(error) from None
        return response

    def _repeat(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> None:
        try:
            again = self._carry(request, *arguments, **options)
        except requests.ConnectionError:
            return
        self._log.count("sent twice")
        if again.status_code not in (200, 503) or (again.status_code == 200 and not again.json()["duplicate"]):
            self._log.complain(
                f"the same answer again: expected 200 and duplicate, got {again.status_code}: {again.text[:200]}"
            )


def client(line: Line, robot: int, log: Log) -> requests.Session:
    """Returns what a robot uses in place of a browser's connection."""
    session = requests.Session()
    session.mount("http://", BadLine(line, robot, log))
    return session
