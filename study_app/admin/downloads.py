"""Exports from the page: ask for one, see how far it is, take it away."""

from __future__ import annotations

from pathlib import Path

from flask import Response, send_file

from core import files
from study_app.admin.access import admin, current, go, member, needs, page
from study_app.refusals import Refusal
from study_app.researchers import exports, ledger
from study_app.state import database, settings


def _folder() -> Path:
    """Returns the folder of this database's exports; several may share an instance directory."""
    return settings().instance / "exports" / files.sha256_bytes(settings().database_url.encode())[:12]


@admin.get("/exports")
@needs("researcher")
def downloads() -> Response:
    """Exports of the last day."""
    return page("exports.html", jobs=exports.jobs(_folder()))


@admin.post("/exports")
@needs("researcher")
def begin_export() -> Response:
    """Begins an export of the current study."""
    protocol = current()
    with database().writing() as writer:
        ledger.write(writer, member().email, "export", protocol=protocol.name)
    exports.start(_folder(), database(), protocol.name)
    return go("downloads")


@admin.get("/exports/live")
@needs("researcher", by_itself=True)
def export_progress() -> Response:
    """How far the exports are, as part of a page."""
    return page("exports_live.html", jobs=exports.jobs(_folder()))


@admin.get("/exports/<name>.zip")
@needs("researcher")
def download(name: str) -> Response:
    """The zip of an export; the ledger says who took it."""
    path = exports.archive(_folder(), name)
    if path is None:
        raise Refusal(404, "not found", "no such export, or it is not done yet; exports are kept for a day")
    with database().writing() as writer:
        ledger.write(writer, member().email, "export downloaded", export=name)
    return send_file(path.resolve(), as_attachment=True, download_name=f"{path.stem}-{name[:15]}.zip")
