"""The researchers' pages, under ``/admin``."""

from __future__ import annotations

from study_app.admin import annotation, doors, downloads, overview, people, running, team
from study_app.admin.access import admin

__all__ = ["admin", "annotation", "doors", "downloads", "overview", "people", "running", "team"]
