"""The study server: consent, a detection task in the browser, answers that are not lost, and their export.

``detection`` says what a protocol may hold, ``models`` and ``staff`` what the database holds. ``scheduling`` makes
plans and hands out places, ``participants`` is all that happens to one, behind ``pages`` and ``api``; ``researchers``
is what their pages in ``admin`` do; ``export`` writes the data, ``robots`` take part. ``annotation`` is the other kind
of study, in which people paint. What every request passes is in ``security``.
"""

from __future__ import annotations

from flask import Flask
from jinja2 import StrictUndefined

from study_app import cli, compression, health, languages, logs, refusals, security, state
from study_app.admin import admin
from study_app.annotation.api import annotate_api
from study_app.annotation.commands import annotation_commands
from study_app.annotation.pages import annotate
from study_app.api import api
from study_app.pages import pages
from study_app.participants.step_pages import step_pages
from study_app.researchers import staff_commands
from study_app.settings import ROOT, Settings, from_environment


def create_app(settings: Settings | None = None) -> Flask:
    """Returns the study server's WSGI app; ``settings`` come from the environment unless given."""
    settings = settings or from_environment()
    app = Flask("study_app", template_folder=str(ROOT / "templates"), instance_path=str(settings.instance.resolve()))
    app.jinja_env.undefined = StrictUndefined
    state.attach(app, settings)
    logs.register(app, settings.log)
    health.register(app)
    languages.register(app)
    security.register(app)
    compression.register(app)
    refusals.register(app)
    app.register_blueprint(pages)
    app.register_blueprint(step_pages)
    app.register_blueprint(api)
    app.register_blueprint(admin)
    app.register_blueprint(annotate)
    app.register_blueprint(annotate_api)
    cli.register(app)
    staff_commands.register(app)
    annotation_commands(app)
    return app
