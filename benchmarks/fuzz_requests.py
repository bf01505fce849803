"""Requests that no page of ours sends, as Hypothesis strategies: of every route, by everybody, with every body."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st
from werkzeug.routing import Rule

from study_app.refusals import is_api
from study_app.staff import ROLES

ORIGIN = "http://localhost"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "get", "")
HOSTILE = (
    "",
    "0",
    "-1",
    "1e400",
    "9" * 400,
    str(2**63),
    "NaN",
    "null",
    "\x00",
    "a\x00b",
    "\ud800",
    "\udfff",
    "\u202e",
    "é" * 300,
    "'; DROP TABLE response; --",
    '" OR 1=1 --',
    "{{7*7}}",
    "${7*7}",
    "%s%n",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%",
    "\r\nSet-Cookie: a=b",
    "http://[",
    "//elsewhere.example",
    "x" * 5000,
    "yes",
    "on",
)
FIELDS = {
    "consent": ("yes", "no"),
    "robot": ("yes",),
    "language": ("en", "de", "xx"),
    "normal_vision": ("yes", "no"),
    "width": ("800", "-1", "1e9"),
    "height": ("600", "nan"),
    "device_pixel_ratio": ("1.5", "inf"),
    "input": ("keyboard", "mind"),
    "plate-0": ("12", ""),
    "plate-99": ("7",),
    "card_css_px": ("323.5", "0"),
    "distance_cm": ("60", "-0"),
    "skip": ("yes",),
    "sure": ("yes", "no"),
    "email": ("owner@example.org", "nobody@example.org", "no address"),
    "role": ("owner", "viewer", "god"),
    "password": ("a long enough password", "short"),
    "new": ("another long password",),
    "again": ("another long password",),
    "reason": ("attention", "other", "none"),
    "note": ("seen asleep",),
    "kind": ("everybody", "people"),
    "status": ("finished",),
    "PROLIFIC_PID": ("5f1",),
    "STUDY_ID": ("s",),
    "SESSION_ID": ("v",),
    "workerId": ("w",),
    "assignmentId": ("a",),
    "hitId": ("h",),
    "survey_code": ("17",),
    "link": ("token",),
    "lang": ("de", "en", "xx"),
    "who": ("robots",),
    "page": ("2", "-3"),
    "before": ("5", "x"),
    "said": ("paused",),
    "v": ("0",),
    "verdict": ("accepted", "returned", "maybe"),
    "state": ("waiting", "all", "none"),
}
ANSWER = {
    "trial_index": 0,
    "client_uuid": str(uuid.UUID(int=1)),
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
VISIT = {"client_uuid": str(uuid.UUID(int=2)), "seen_index": None}
MINE = "a-picture-of-this-annotator"  # in a body or a path, where the name of the open assignment stands
STROKE = {
    "assignment": MINE,
    "index": 0,
    "client_uuid": str(uuid.UUID(int=3)),
    "operation": {"tool": "brush", "size": 4, "points": [[3, 3, 0, 0.5], [9, 8, 40, 1]]},
    "active_ms": 900,
}
SUBMISSION = {
    "assignment": MINE,
    "client_uuid": str(uuid.UUID(int=4)),
    "outcome": "regions",
    "skip_reason": None,
    "strokes": 1,
    "active_ms": 1200,
}
FORMS = {
    "annotate.give_consent": {"consent": "yes"},
    "annotate.withdraw": {"sure": "yes"},
    "admin.review_annotation": {"verdict": "returned", "note": "more of it"},
    "admin.run_annotation": {"sure": "yes"},
    "pages.give_consent": {"consent": "yes"},
    "pages.withdraw": {"sure": "yes"},
    "admin.do_sign_in": {"email": "owner@example.org", "password": "a long enough password"},
    "admin.change_password": {"password": "a long enough password", "new": "another", "again": "another"},
    "admin.invite": {"email": "somebody@example.org", "role": "viewer"},
    "admin.exclude": {"reason": "attention"},
    "admin.close": {"sure": "yes"},
}  # as our pages send them
HERE = "the-token-of-this-request"  # in a form, where its CSRF token stands
FOREIGN = ("", "null", "http://elsewhere.example", "http://[")
KINDS = ("", "text/plain", "multipart/form-data; boundary=", "application/xml")
TOKENS = ("own", "of somebody else", "wrong", "none")
NESTED = "[" * 20_000
RAW_BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"NaN",
    b'{"rt_ms": NaN}',
    b"\xff\xfe",
    b"\x00" * 64,
    NESTED.encode(),
    b"x" * 70_000,
)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request, before it is known who the people are.

    Attributes:
        endpoint: of the route that it was made for; its method and path may not fit it.
        who: sends it; the cookies of several people may come together.
        token: whose CSRF token it brings, in the header or, with a form, in its field.
    """

    endpoint: str
    method: str
    path: str
    query: str
    who: tuple[str, ...]
    token: str
    origin: str
    headers: tuple[tuple[str, str], ...]
    content_type: str
    body: bytes


def values(own: Sequence[str]) -> st.SearchStrategy[str]:
    """Returns texts: plain, hostile, and those that mean something here (tokens, ids)."""
    return st.one_of(st.sampled_from(HOSTILE), st.sampled_from(tuple(own)), st.text(max_size=30))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**18, max_value=10**40),
    st.floats(),
    st.sampled_from(HOSTILE),
    st.text(max_size=20),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a body that is right but for up to three of its fields."""
    body = {**valid, "client_uuid": str(draw(st.uuids()))}
    for name in {"index", "strokes"} & set(body):
        body[name] = draw(st.integers(0, 2))
    if "trial_index" in body:
        body["trial_index"] = draw(st.integers(0, 2))
    for name in draw(st.lists(st.sampled_from([*valid, "surprise"]), max_size=3)):
        if draw(st.booleans()):
            body.pop(name, None)
        else:
            body[name] = draw(JSON)
    return body


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


JSON_BODIES = st.one_of(
    mutated(ANSWER).map(_dump), mutated(VISIT).map(_dump), JSON.map(_dump), st.sampled_from(RAW_BODIES), st.just(b"{}")
)


@st.composite
def forms(draw: st.DrawFn, own: Sequence[str]) -> list[tuple[str, str]]:
    """Returns fields of our forms with plausible and hostile values; some come twice."""
    fields = draw(st.lists(st.sampled_from(tuple(FIELDS)), max_size=6))
    return [(name, draw(st.sampled_from(FIELDS[name]) | values(own))) for name in fields]


def encode(fields: Sequence[tuple[str, str]]) -> str:
    """Returns fields as a form or a query; lone surrogates go as the bytes that Python writes for them."""
    return urlencode([(name, value.encode("utf-8", "surrogatepass")) for name, value in fields])


@st.composite
def calls(draw: st.DrawFn, rules: Sequence[Rule], own: Sequence[str], people: Sequence[str]) -> Call:
    """Returns a request for one of the routes."""
    rule = draw(st.sampled_from([rule for rule in rules for _ in range(3 if "POST" in (rule.methods or ()) else 1)]))
    fitting = tuple(sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}))
    method = draw(st.sampled_from(fitting * 24 + METHODS))
    fitting_people = _fitting(rule.rule)
    anybody = st.lists(st.sampled_from(tuple(people)), max_size=2, unique=True).map(tuple)
    who = draw(anybody) if _seldom(draw, 4) else (draw(st.sampled_from(fitting_people)),)
    as_json = is_api(rule.rule) != _seldom(draw, 8)
    kind = "application/json" if as_json else "application/x-www-form-urlencoded"
    body = draw(_json(rule.endpoint)) if as_json else encode(_form(draw, rule.endpoint, own)).encode()
    return Call(
        endpoint=rule.endpoint,
        method=method,
        path=_path(draw, rule, own),
        query=encode(draw(forms(own))) if _seldom(draw, 4) else "",
        who=who,
        token=draw(st.sampled_from(("own",) * 24 + TOKENS)),
        origin=draw(st.sampled_from((ORIGIN,) * 32 + FOREIGN)),
        headers=(draw(_headers(own)),) if _seldom(draw, 6) else (),
        content_type=draw(st.sampled_from((kind,) * 32 + KINDS)),
        body=body if method not in {"GET", "HEAD"} or draw(st.booleans()) else b"",
    )


def _seldom(draw: st.DrawFn, of: int) -> bool:
    """Returns true about once ``of`` times."""
    return draw(st.sampled_from((False,) * (of - 1) + (True,)))


def _fitting(path: str) -> tuple[str, ...]:
    """Returns who would send a request to a path, the likelier the oftener."""
    if path.startswith("/admin"):
        return ("owner", *ROLES)
    return (("annotator",) if path.startswith("/annotate") else ("participant",)) * 3 + ("visitor",)


def _json(endpoint: str) -> st.SearchStrategy[bytes]:
    match endpoint:
        case "api.post_trial":
            return mutated(ANSWER).map(_dump) | JSON_BODIES
        case "api.post_visit":
            return mutated(VISIT).map(_dump) | JSON_BODIES
        case "annotate_api.post_stroke":
            return mutated(STROKE).map(_dump) | JSON_BODIES
        case "annotate_api.post_submission":
            return mutated(SUBMISSION).map(_dump) | JSON_BODIES
        case _:
            return JSON_BODIES


def _form(draw: st.DrawFn, endpoint: str, own: Sequence[str]) -> list[tuple[str, str]]:
    more = draw(forms(own)) if draw(st.booleans()) else []
    plain = [("csrf", HERE), *FORMS.get(endpoint, {}).items()]
    return more if _seldom(draw, 4) else [*plain, *more]


def _path(draw: st.DrawFn, rule: Rule, own: Sequence[str]) -> str:
    path = str(rule.rule)
    while "<" in path:
        start, end = path.index("<"), path.index(">")
        numbers = st.integers(-1, 12).map(str) if path[start:end].startswith("<int:") else st.nothing()
        path = path[:start] + draw(numbers | values(own)).replace("<", "") + path[end + 1 :]
    end_of_path: str = draw(st.sampled_from(("",) * 40 + ("/", "//", "/..", "\x00", "%2e%2e")))
    return path + end_of_path


def _headers(own: Sequence[str]) -> st.SearchStrategy[tuple[str, str]]:
    names = (
        "Host",
        "Cookie",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Accept-Language",
        "If-None-Match",
        "If-Modified-Since",
        "Range",
        "Accept-Encoding",
        "Content-Encoding",
        "X-HTTP-Method-Override",
        "Authorization",
        "Referer",
    )
    return st.tuples(st.sampled_from(names), values(own).filter(lambda text: len(text) < 1000))
