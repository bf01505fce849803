"""The log on stderr: a line a request and a line an event, as JSON or as text; nothing that says who somebody is.

A line names the request (an id that the answer carries too), the route by its rule, never by its path, because paths
hold tokens, and the session by its public id. Query strings, cookies, bodies and addresses are never logged, and
database errors come without their parameters.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from study_app.settings import LogForm

LOGGER = "study_app"
HEADER = "X-Request-Id"
_NAMES = ("method", "route", "status", "ms", "session")
_requests = logging.getLogger(f"{LOGGER}.requests")


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": request_id(),
        }
        line |= {name: record.__dict__[name] for name in _NAMES if name in record.__dict__}
        if record.exc_info:
            line["exception"] = without_values(self.formatException(record.exc_info))
        return json.dumps({name: value for name, value in line.items() if value is not None}, ensure_ascii=False)


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line, and a traceback below it if there is one."""
        facts = " ".join(f"{name}={record.__dict__[name]}" for name in _NAMES if record.__dict__.get(name) is not None)
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = f"{moment} {record.levelname} {request_id() or '-'} {record.getMessage()} {facts}".rstrip()
        return f"{line}\n{without_values(self.formatException(record.exc_info))}" if record.exc_info else line


def without_values(traceback: str) -> str:
    """Returns a traceback without the lines in which PostgreSQL quotes a row's values."""
    return "\n".join(line for line in traceback.splitlines() if not line.lstrip().startswith("DETAIL:"))


def register(app: Flask, form: LogForm) -> None:
    """Gives every request an id, and logs in the form that was asked for; ``quiet`` logs no requests."""
    app.before_request(_begin)
    app.after_request(_end)
    if form == "quiet":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    for name in (LOGGER, "gunicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    _requests.setLevel(logging.INFO)


def request_id() -> str | None:
    """Returns the id of the present request, if there is one."""
    return g.get("request_id") if has_request_context() else None


def note_session(public_id: str) -> None:
    """Puts a session's public id into the log lines of this request."""
    g.logged_session = public_id


def _begin() -> None:
    g.request_id, g.logged_from = secrets.token_hex(8), time.perf_counter()


def _end(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    milliseconds = round(1000 * (time.perf_counter() - g.logged_from), 1)
    facts = {
        "method": request.method,
        "route": request.url_rule.rule if request.url_rule else None,
        "status": response.status_code,
        "ms": milliseconds,
        "session": g.get("logged_session"),
    }
    _requests.info("request", extra=facts)
    return response
