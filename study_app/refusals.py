"""The one shape in which the server says no: ``{"error": {"code", "message", …}}``, or a page, to a browser's page.

Neither says more than it must: what went wrong inside is in the log alone.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, current_app, jsonify, make_response, render_template, request
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import BadHost, HTTPException, MethodNotAllowed, ServiceUnavailable

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
        """Returns the HTTP answer: a page where a browser asked for one, else JSON."""
        response = error_page(self.status) if _wants_page() else self.json()
        if "retry_after" in self.body["error"]:
            response.headers["Retry-After"] = str(self.body["error"]["retry_after"])
        return response

    def json(self) -> Response:
        """Returns it as JSON, whatever was asked for."""
        return make_response(jsonify(self.body), self.status)


def register(app: Flask) -> None:
    """Makes the app answer refusals, and HTTP errors under ``/api/``, in this shape."""
    app.register_error_handler(Refusal, Refusal.response)
    app.register_error_handler(HTTPException, _http_error)
    for kind in (OperationalError, PoolTimeoutError, BusyError):
        app.register_error_handler(kind, _out_of_reach)
    for unusable in (DataError, OverflowError, RecursionError):
        app.register_error_handler(unusable, _cannot_be_kept)


def error_page(status: int) -> Response:
    """Returns a page that says what went wrong as far as a participant can do something about it."""
    return make_response(render_template("study/error.html", status=status), status)


def is_api(path: str) -> bool:
    """Returns whether a path is one of a JSON interface."""
    return path.startswith(("/api/", "/annotate/api/"))


def _wants_page() -> bool:
    return not is_api(request.path) and request.accept_mimetypes.accept_html


def _http_error(error: HTTPException) -> Response | HTTPException:
    if error.response is not None or (error.code or 500) < 400:
        return error
    if isinstance(error, BadHost):  # no page, since no address can be made for a host of this name
        return Refusal(400, "host", "expected the study's host name").json()
    code = error.code or 500
    response = (
        Refusal(code, error.name.lower(), error.description or error.name).response()
        if is_api(request.path)
        else error_page(code)
    )
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _out_of_reach(error: Exception) -> Response:
    """The database is busy, restarting or full: the client keeps what it has and sends it again."""
    current_app.logger.error("the database could not do what a request needed", exc_info=error)
    unavailable = ServiceUnavailable("the study's database is out of reach for now; try again")
    response = make_response(current_app.handle_user_exception(unavailable))
    response.headers["Retry-After"] = "1"
    return response


def _cannot_be_kept(error: Exception) -> Response:
    """A NUL in a text, a number beyond 64 bits, lists in lists a thousand deep: nothing of ours sends them."""
    current_app.logger.warning("a request brought what cannot be read or kept", exc_info=error)
    return Refusal(422, "invalid", "the request has a value that cannot be used").response()
