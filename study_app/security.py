"""Who may do what: cookies, the tokens that forged requests lack, and the headers of every answer.

docs/security.md says which requirements these meet, and which tests hold them.

A token is a random text in a cookie that no script can read; the database holds its hash. From it a page gets a second
token by HMAC, which comes back in the form field ``csrf`` or the header ``X-CSRF-Token`` of every request that changes
something; another site can make a browser send the cookie, and cannot know the second token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as AnyResponse

from study_app.refusals import Refusal, is_api
from study_app.state import settings

TOKEN_BYTES = 24  # 192 random bits
SESSION, VISITOR, STAFF = "percepsilon_session", "percepsilon_visitor", "percepsilon_staff"
ANNOTATOR = "percepsilon_annotator"
CSRF_HEADER, CSRF_FIELD = "X-CSRF-Token", "csrf"
BODY_LIMIT = 64 * 1024
LARGER_BODIES = {"annotate_api.post_stroke": 1024 * 1024}  # a stroke of 20,000 points; by endpoint
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=31536000"  # a year; sent over HTTPS alone
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


def register(app: Flask) -> None:
    """Puts the checks before and the headers after every request, and ``csrf_token()`` into templates."""
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    trust_proxies(app)
    app.before_request(refuse_forged)
    app.after_request(add_headers)
    app.after_request(give_visitor_cookie)
    app.jinja_env.globals["csrf_token"] = page_token


def trust_proxies(app: Flask) -> None:
    """Believes the scheme and the address that the proxies in front state, as many as the settings say; else none."""
    with app.app_context():
        proxies = settings().trusted_proxies
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies)  # type: ignore[method-assign]


def new_token() -> str:
    """Returns a random token for a cookie or a link."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Returns the form in which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def csrf_token(token: str) -> str:
    """Returns the token for forms and headers that belongs to a cookie's token."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def cookie(name: str) -> str | None:
    """Returns the token in one of our cookies."""
    return request.cookies.get(cookie_name(name))


def cookie_name(name: str) -> str:
    """Returns a cookie's full name: over HTTPS bound to this host by its prefix."""
    return f"__Host-{name}" if request.is_secure else name


def visitor_token() -> str:
    """Returns the token of this browser, whoever it is; made at its first request."""
    found: str | None = g.get("new_visitor") or cookie(VISITOR)
    if not found:
        found = g.new_visitor = new_token()
    return found


def become_visitor(token: str) -> None:
    """Gives this browser the token that it is known by from now on; the cookie comes with the answer."""
    if token != visitor_token():
        g.new_visitor = token


def session_token(visitor: str) -> str:
    """Returns the token of the session that a browser begins.

    It follows from the browser's own token, so that consent which is sent twice, or whose answer is lost, ends in one
    session with one cookie.
    """
    return hmac.new(visitor.encode(), b"session", hashlib.sha256).hexdigest()


def annotator_token(visitor: str) -> str:
    """Returns the token of the annotator that a browser becomes; it follows from the browser's own, as a session's."""
    return hmac.new(visitor.encode(), b"annotator", hashlib.sha256).hexdigest()


def page_token() -> str:
    """Returns the CSRF token for a page of a participant: of the session, or of the browser before there is one."""
    return csrf_token(cookie(SESSION) or visitor_token())


def refuse_forged() -> None:
    """Refuses a state-changing request that another site could have sent, or whose body is too large.

    Its ``Origin`` must name our own host, and it must bring the CSRF token of one of the cookies that it has; under
    ``/api/`` and ``/annotate/api/`` it must also be JSON.
    """
    if request.method not in CHANGING:
        return
    request.max_content_length = LARGER_BODIES.get(request.endpoint or "", BODY_LIMIT)
    if (request.content_length or 0) > request.max_content_length:
        raise RequestEntityTooLarge
    if not request.host or _host(request.headers.get("Origin", "")) != request.host:
        raise Refusal(403, "origin", "expected a request from a page of this study; open the study's address again")
    if is_api(request.path) and not request.is_json:
        raise Refusal(403, "json", "expected a JSON body")
    given = request.headers.get(CSRF_HEADER) or ("" if request.is_json else request.form.get(CSRF_FIELD, ""))
    tokens = [token for name in (SESSION, ANNOTATOR, VISITOR, STAFF) if (token := cookie(name))]
    if not any(hmac.compare_digest(given.encode(), csrf_token(token).encode()) for token in tokens):
        raise Refusal(403, "csrf", f"expected the page's token in {CSRF_HEADER} or {CSRF_FIELD}; load the page again")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as an address of IPv6 without its end
        return ""


def add_headers(response: Response) -> Response:
    """Returns the response with the security headers; answers are not stored unless they say otherwise."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", HSTS)
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response


def give_visitor_cookie(response: Response) -> Response:
    """Returns the response with the browser's token, if it was made for it just now."""
    if (token := g.get("new_visitor")) is not None:
        set_cookie(response, VISITOR, token, days=1)
    return response


def set_cookie(response: AnyResponse, name: str, token: str, *, days: int) -> None:
    """Gives the browser a token: not readable by scripts, not sent along from other sites."""
    response.set_cookie(
        cookie_name(name),
        token,
        max_age=days * 86_400,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure,
        path="/",
    )


def drop_cookie(response: AnyResponse, name: str) -> None:
    """Takes a token from the browser."""
    response.delete_cookie(cookie_name(name), httponly=True, samesite="Lax", secure=request.is_secure, path="/")
