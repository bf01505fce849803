"""The browser's own files are sent compressed to who takes it; everything else is sent as it is."""

from __future__ import annotations

import gzip

import pytest

from tests.study_site import close, make_app

ACCEPTS = {"Accept-Encoding": "gzip"}


@pytest.fixture
def client(tmp_path):
    app = make_app(f"sqlite:///{tmp_path / 'study.sqlite'}")
    yield app.test_client()
    close(app)


def test_a_script_is_compressed_for_a_browser_that_takes_it(client):
    plain = client.get("/static/outbox.js", buffered=True)
    packed = client.get("/static/outbox.js", headers=ACCEPTS, buffered=True)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 2
    assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"


def test_a_compressed_file_that_the_browser_has_is_not_sent_again(client):
    tag = client.get("/static/outbox.js", headers=ACCEPTS, buffered=True).headers["ETag"]
    assert tag.startswith("W/")
    again = client.get("/static/outbox.js", headers={**ACCEPTS, "If-None-Match": tag}, buffered=True)
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("path", ["/static/favicon.svg", "/static/no-such-file.js", "/api/v1/state"])
def test_what_is_small_missing_or_no_file_is_sent_as_it_is(client, path):
    assert "Content-Encoding" not in client.get(path, headers=ACCEPTS, buffered=True).headers
