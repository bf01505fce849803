"""What the app carries from request to request: its settings and its database."""

from __future__ import annotations

from flask import Flask, current_app

from study_app.database import Database
from study_app.settings import Settings

_SETTINGS, _DATABASE = "percepsilon_settings", "percepsilon_database"


def attach(app: Flask, settings: Settings) -> None:
    """Gives the app its settings and its (not yet opened) database."""
    app.extensions[_SETTINGS] = settings
    app.extensions[_DATABASE] = Database(settings.database_url)


def settings() -> Settings:
    """Returns the settings of the current app."""
    found: Settings = current_app.extensions[_SETTINGS]
    return found


def database() -> Database:
    """Returns the database of the current app."""
    found: Database = current_app.extensions[_DATABASE]
    return found
