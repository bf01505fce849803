"""The researcher's commands: ``flask --app study_app COMMAND``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select
from tqdm import tqdm

from core import manifest
from core.errors import PercepsilonError
from study_app import export, export_rows, registration, serving
from study_app.models import Participant, PlannedTrial, Protocol, Response, Session, StimulusRow
from study_app.state import database


class Command(click.Command):
    """A command whose refusals are one message and exit code 1, never a traceback."""

    def invoke(self, context: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(context)
        except PercepsilonError as error:
            raise click.ClickException(str(error)) from None


def register(app: Flask) -> None:
    """Adds the commands to the app."""
    for command in (init_db, register_set, register_protocol, serve, status, export_study):
        app.cli.add_command(command)


@click.command("init-db", cls=Command)
@with_appcontext
def init_db() -> None:
    """Make the database, or bring its schema up to date.

    The database is DATABASE_URL, or SQLite in instance/ without it. Doing it twice is harmless.
    """
    database().migrate()
    click.echo("database ready")


@click.command("register-set", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@with_appcontext
def register_set(directory: Path) -> None:
    """Register the stimulus set in DIRECTORY, after checking the hash of its manifest and of every picture."""
    stimuli = manifest.read_set(directory)
    registration.check_pictures(stimuli)
    database().check()
    with database().writing() as writer:
        done = registration.register_set(writer, stimuli)
    verb = "registered" if done.new else "registered already"
    click.echo(f"stimulus set {done.name!r}: {verb}, {len(stimuli.stimuli)} pictures")


@click.command("register-protocol", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "set_name", required=True, metavar="NAME", help="Name of the registered stimulus set to show.")
@with_appcontext
def register_protocol(file: Path, set_name: str) -> None:
    """Register the protocol in FILE (TOML); new participants follow the protocol registered last.

    It is frozen when its first participant starts; a changed file then needs another name.
    """
    database().check()
    with database().writing() as writer:
        done = registration.register_protocol(writer, file, set_name)
    click.echo(f"protocol {done.name!r}: {'registered' if done.new else 'registered already'}")


@click.command("serve", cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=8, show_default=True, type=click.IntRange(1), help="Threads of each process.")
@with_appcontext
def serve(host: str, port: int, workers: int, threads: int) -> None:
    """Serve the study with gunicorn until it is interrupted."""
    serving.check_ready(database())
    serving.check_port(host, port)
    click.echo(f"serving on http://{host}:{port} (Ctrl-C stops it)")
    serving.become_gunicorn(host=host, port=port, workers=workers, threads=threads)


@click.command("export", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@with_appcontext
def export_study(directory: Path) -> None:
    """Write the data of the current protocol to DIRECTORY, which must not exist yet."""
    database().check()
    with database().reading() as reader, tqdm(desc="export", unit="row", unit_scale=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        counts = export.export(reader, directory, progress=show)
    click.echo(f"{directory}: {counts['trials']} trials, {counts['participants']} participants")


@click.command("status", cls=Command)
@with_appcontext
def status() -> None:
    """Show the current protocol's sessions by state, and its answered main trials by source model and ε."""
    database().check()
    with database().reading() as reader:
        protocol = registration.current_protocol(reader)
        if protocol is None:
            click.echo("no protocol is registered")
            return
        statuses = export_rows.statuses(reader, protocol)
        cells = Counter((run, eps) for run, eps in reader.execute(_cell_query(protocol)))
    frozen = f"frozen {protocol.frozen_at:%Y-%m-%d %H:%M} UTC" if protocol.frozen_at else "not frozen yet"
    click.echo(f"protocol {protocol.name} ({frozen})")
    for name, count in sorted(statuses.items()):
        click.echo(f"  {name:<12} {count:>6}")
    for (run, eps), count in sorted(cells.items(), key=lambda item: (item[0][0] or "", item[0][1])):
        click.echo(f"  {run or 'unperturbed':<24} ε = {eps:<3} {count:>6} trials")


def _cell_query(protocol: Protocol) -> Any:
    return (
        select(StimulusRow.run, StimulusRow.eps_asked)
        .join(PlannedTrial, PlannedTrial.stimulus_id == StimulusRow.id)
        .join(
            Response,
            (PlannedTrial.session_id == Response.session_id) & (PlannedTrial.trial_index == Response.trial_index),
        )
        .join(Session, Response.session_id == Session.id)
        .join(Participant, Session.participant_id == Participant.id)
        .where(export_rows.exported(protocol), PlannedTrial.phase == "main", PlannedTrial.catch.is_(None))
    )
