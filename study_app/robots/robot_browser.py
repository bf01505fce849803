"""What a robot participant has in place of a browser: requests with cookies, CSRF tokens and patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import requests

from core.errors import MachineError, StudyError
from study_app.security import CSRF_FIELD, CSRF_HEADER, SESSION, VISITOR, csrf_token

TIMEOUT_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
LATER = (429, 502, 503, 504)  # the same request may be sent again


class Browser:
    """A browser that sends the study what our pages would send.

    Attributes:
        url: of the study, without a slash at the end.
        wait_s: how long a request is sent again to a server that does not answer.
        kept: name of the cookie by which the server knows who has begun.
    """

    def __init__(self, url: str, wait_s: float, client: requests.Session | None = None, kept: str = SESSION) -> None:
        self.url, self.wait_s, self.kept = url, wait_s, kept
        self._client = client or requests.Session()
        self._client.headers.update({"Origin": url})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def session(self) -> str | None:
        """The token of that cookie; ``None`` before consent."""
        return self._cookie(self.kept)

    @session.setter
    def session(self, token: str) -> None:
        self._client.cookies.set(self._name(self.kept), token)

    def get(self, path: str) -> requests.Response:
        """Returns the answer to a request that changes nothing."""
        return self._send("GET", path)

    def post_form(self, path: str, **fields: str) -> requests.Response:
        """Returns the page that a form leads to."""
        return self._send("POST", path, data={**fields, CSRF_FIELD: self._csrf()})

    def post_json(self, path: str, body: dict[str, Any], *, may_fail: bool = False) -> requests.Response:
        """Returns the answer of the JSON interface."""
        return self._send("POST", path, may_fail=may_fail, json=body, headers={CSRF_HEADER: self._csrf()})

    def _csrf(self) -> str:
        return csrf_token(self._cookie(self.kept) or self._cookie(VISITOR) or "")

    def _cookie(self, name: str) -> str | None:
        return self._client.cookies.get(self._name(name))

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self.url.startswith("https:") else name

    def _send(self, method: str, path: str, *, may_fail: bool = False, **content: Any) -> requests.Response:
        answer = patiently(
            lambda: self._client.request(method, self.url + path, timeout=TIMEOUT_S, **content), self.url, self.wait_s
        )
        if answer.status_code >= 400 and not may_fail:
            raise StudyError(
                f"{method} {path}: expected success, the server answered {answer.status_code}: {answer.text[:300]}"
            )
        return answer


def patiently(send: Callable[[], requests.Response], url: str, wait_s: float) -> requests.Response:
    """Returns the answer to a request, sent again after a growing pause while the server is out of reach.

    Raises:
        MachineError: it was out of reach for longer than ``wait_s``.
    """
    deadline, pause = time.monotonic() + wait_s, FIRST_PAUSE_S
    while True:
        try:
            answer = send()
            if answer.status_code not in LATER or time.monotonic() > deadline:
                return answer
        except (requests.ConnectionError, requests.Timeout):
            if time.monotonic() > deadline:
                raise MachineError(
                    f"{url}: no server answered within {wait_s:g} s; start it with: flask --app study_app serve"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
