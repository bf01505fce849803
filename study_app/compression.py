"""Sends the browser's own files compressed, and no pages: they hold a secret token beside what others may have sent."""

from __future__ import annotations

import gzip
from functools import lru_cache

from flask import Flask, Response, request

LEAST_BYTES = 1000  # less is not worth it
KINDS = ("text/css", "text/javascript", "application/javascript", "image/svg+xml")


def register(app: Flask) -> None:
    """Compresses static files on their way out, for browsers that take it."""
    app.after_request(compress)


def compress(response: Response) -> Response:
    """Returns the response, compressed if it is a static text that is sent whole."""
    if request.endpoint != "static" or response.mimetype not in KINDS:
        return response
    response.vary.add("Accept-Encoding")
    if response.status_code != 200 or not request.accept_encodings.quality("gzip"):
        return response
    response.direct_passthrough = False
    plain = response.get_data()
    if len(plain) >= LEAST_BYTES:
        response.set_data(_gzip(plain))
        response.headers["Content-Encoding"] = "gzip"
        _mark(response)
    return response


def _mark(response: Response) -> None:
    """Makes the tag a weak one: it names the contents, not the bytes that are sent."""
    tag, _ = response.get_etag()
    if tag is not None:
        response.set_etag(tag, weak=True)


@lru_cache(maxsize=64)
def _gzip(plain: bytes) -> bytes:
    return gzip.compress(plain, compresslevel=9, mtime=0)
