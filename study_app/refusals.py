"""The one shape in which the server says no: ``{"error": {"code", "message", …}}``."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, jsonify, make_response, request
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from study_app.turns import BusyError


class Refusal(Exception):  # noqa: N818  (not an error of ours: an answer to the client)
    """A request that cannot be served; becomes its HTTP answer.

    Attributes:
        status: HTTP status.
        body: what the client is told; never what was shown or planned.
    """

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message, **more}}

    def response(self) -> Response:
        """Returns the HTTP answer."""
        return make_response(jsonify(self.body), self.status)


def register(app: Flask) -> None:
    """Makes the app answer refusals, and HTTP errors under ``/api/``, in this shape."""
    app.register_error_handler(Refusal, Refusal.response)
    app.register_error_handler(HTTPException, _http_error)
    for kind in (OperationalError, PoolTimeoutError, BusyError):
        app.register_error_handler(kind, _out_of_reach)


def _http_error(error: HTTPException) -> Response | HTTPException:
    if not request.path.startswith("/api/"):
        return error
    return Refusal(error.code or 500, error.name.lower(), error.description or error.name).response()


def _out_of_reach(error: Exception) -> Response:
    """The database is busy, restarting or full: the client keeps what it has and sends it again."""
    current_app.logger.error("the database could not do what a request needed", exc_info=error)
    unavailable = ServiceUnavailable("the study's database is out of reach for now; try again")
    response = make_response(current_app.handle_user_exception(unavailable))
    response.headers["Retry-After"] = "1"
    return response
