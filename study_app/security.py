"""Who may do what: the session cookie, the check against forged requests, and the headers of every answer."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from study_app.refusals import Refusal

COOKIE = "percepsilon_session"
CSRF_HEADER = "X-Percepsilon"
BODY_LIMIT = 64 * 1024
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def register(app: Flask) -> None:
    """Puts the checks before and the headers after every request."""
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.before_request(refuse_forged)
    app.after_request(add_headers)


def refuse_forged() -> None:
    """Refuses a state-changing request that another site could have sent.

    Its ``Origin`` must name our own host; under ``/api/`` it must also be JSON with a header that no form can set.
    """
    if request.method not in CHANGING:
        return
    if urlsplit(request.headers.get("Origin", "")).netloc != request.host:
        raise Refusal(403, "origin", "expected a request from a page of this study; open the study's address again")
    if request.path.startswith("/api/") and not (request.is_json and request.headers.get(CSRF_HEADER)):
        raise Refusal(403, "header", f"expected a JSON body and the header {CSRF_HEADER}")


def add_headers(response: Response) -> Response:
    """Returns the response with the security headers; answers are not stored unless they say otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def set_cookie(response: Response, token: str, *, days: int) -> None:
    """Gives the browser its session token: not readable by scripts, not sent along from other sites."""
    response.set_cookie(
        COOKIE, token, max_age=days * 86_400, httponly=True, samesite="Lax", secure=request.is_secure, path="/"
    )
