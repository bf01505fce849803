"""Exports from the page: made in the background, taken away as a zip, and without any platform's id."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from study_app.models import (
    Arrival,
    Participant,
    Protocol,
)
from study_app.researchers import exports
from study_app.staff import Action
from tests.staff_site import Staff, database_of, exclude, member, participant_of, play
from tests.study_site import Visitor

PLATFORM_ID = "5f1c3f0aaa77bbcc00119922"


def wait_for_export(researcher: Staff) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = researcher.text("/admin/exports/live")
        if "Download" in text:
            return text.split('href="')[1].split('"')[0]
        assert "problem" not in text, text
        time.sleep(0.1)
    return pytest.fail("no export within a minute")


def link(app, visitor: Visitor) -> None:
    """Makes the visitor somebody whom a platform sent."""
    with database_of(app).writing() as writer:
        participant = writer.scalar(select(Participant).where(Participant.public_id == participant_of(app, visitor)))
        known = writer.scalar(select(Arrival).where(Arrival.participant_id == participant.id))
        if known is None:
            known = Arrival(protocol_id=participant.protocol_id, participant_id=participant.id, token_sha256="0" * 64,
                            arrived_at=datetime.now(UTC), platform="prolific")  # fmt: skip
            writer.add(known)
        known.platform, known.platform_id = "prolific", PLATFORM_ID
        known.platform_study, known.platform_session = f"study-{PLATFORM_ID}", f"session-{PLATFORM_ID}"


def test_an_export_is_made_in_the_background_and_taken_away_as_a_zip(site):
    play(site, lambda run, eps: True)
    researcher = member(site, "researcher")
    researcher.post("/admin/previews")
    assert researcher.post("/admin/exports").location == "/admin/exports"
    with researcher.get(wait_for_export(researcher)) as response:
        assert response.status_code == 200
        assert response.headers["Content-Disposition"].startswith("attachment; filename=small-")
        zipped = response.data
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        trials = archive.read("small/data/table-trials_data.csv").decode().splitlines()
        assert json.loads(archive.read("small/dataset_description.json"))["@type"] == "Dataset"
    assert "small/data/table-trials_data.parquet" in names
    assert len(trials) == 1 + 10
    with database_of(site).reading() as reader:
        acts = list(reader.scalars(select(Action.action).order_by(Action.sequence)))
    assert acts[-2:] == ["export", "export downloaded"]
    assert researcher.get("/admin/exports/20260101-000000-00000000.zip").status_code == 404


def test_an_export_that_fails_says_why(site):
    with database_of(site).writing() as writer:
        for row in writer.scalars(select(Protocol)):
            row.set.directory = "/nowhere"
    researcher = member(site, "researcher")
    researcher.post("/admin/exports")
    deadline = time.monotonic() + 60
    while "beginning" in (text := researcher.text("/admin/exports/live")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "/nowhere" in text


def test_an_export_whose_worker_ended_counts_as_interrupted_and_is_forgotten_after_a_day(tmp_path):
    place = tmp_path / "20260101-120000-0123abcd"
    place.mkdir()
    (place / "progress.json").write_text('{"done": 3, "total": 12}')
    job = exports.job(tmp_path, place.name)
    assert (job.state, job.share) == ("running", 0.25)
    old = time.time() - 2 * exports.SILENT_S
    for path in (place, place / "progress.json"):
        os.utime(path, (old, old))
    assert exports.job(tmp_path, place.name).state == "interrupted"
    exports.forget_old(tmp_path)
    assert place.exists()
    os.utime(place, (time.time() - 2 * exports.KEPT_S,) * 2)
    exports.forget_old(tmp_path)
    assert exports.jobs(tmp_path) == []


@pytest.mark.parametrize("name", ["..", "../../etc", "20260101-000000-0000000g"])
def test_only_an_exports_own_name_leads_to_a_file(tmp_path, name):
    assert exports.job(tmp_path, name) is None
    assert exports.archive(tmp_path, name) is None


def test_no_page_and_no_export_names_a_platforms_id(site):
    someone = play(site, lambda run, eps: True)
    link(site, someone)
    owner = member(site, "owner")
    exclude(site, someone, owner)
    owner.post("/admin/exports")
    with owner.get(wait_for_export(owner)) as response:
        zipped = response.data
    paths = ["/admin/", "/admin/live", "/admin/participants", f"/admin/participants/{participant_of(site, someone)}",
             "/admin/exports", "/admin/ledger", "/admin/team", "/admin/account"]  # fmt: skip
    for path in paths:
        assert PLATFORM_ID not in owner.text(path), path
    assert PLATFORM_ID not in owner.client.get("/metrics").text
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        for name in archive.namelist():
            assert PLATFORM_ID.encode() not in archive.read(name), name
