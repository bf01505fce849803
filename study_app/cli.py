"""The researcher's commands: ``flask --app study_app COMMAND``."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select
from tqdm import tqdm

from core import files, manifest
from core.errors import PercepsilonError
from study_app import export, registration, retention, serving
from study_app.export import export_rows
from study_app.models import Participant, PlannedTrial, Protocol, Response, Session, StimulusRow
from study_app.participants import arrivals
from study_app.researchers import conduct, ledger
from study_app.scheduling import protocol_check
from study_app.scheduling.power import Effect
from study_app.scheduling.power import Settings as PowerSettings
from study_app.scheduling.protocol_check import Asked
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
    for command in (
        init_db,
        register_set,
        register_protocol,
        protocol_commands,
        links,
        serve,
        status,
        retain,
        export_study,
    ):
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
        sha256 = stimuli.record.manifest_sha256
        ledger.write(writer, ledger.on_server(), "stimulus set registered", set=done.name, sha256=sha256, new=done.new)
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
        ledger.write(
            writer, ledger.on_server(), "protocol registered", protocol=done.name, set=set_name, new=done.new,
            sha256=files.sha256_file(file),
        )  # fmt: skip
    click.echo(f"protocol {done.name!r}: {'registered' if done.new else 'registered already'}")


@click.group("protocol")
def protocol_commands() -> None:
    """Look at a protocol before anybody takes part."""


@protocol_commands.command("check", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--set", "set_name", required=True, metavar="NAME", help="Name of the registered stimulus set to show.")
@click.option("--participants", type=click.IntRange(1), help="How many; the protocol's places without it, or 40.")
@click.option("--ratio", type=float, help="Simulate the power for this ratio of two models' thresholds, such as 1.5.")
@click.option("--dprime", type=float, help="Simulate the power for this difference of two models' d′ at every ε.")
@click.option("--simulations", default=2000, show_default=True, type=click.IntRange(1), help="Simulated studies.")
@click.option("--alpha", default=0.05, show_default=True, type=float, help="Level of the test, two-sided.")
@click.option("--seed", default=1, show_default=True, type=int, help="Of the simulation.")
@with_appcontext
def check_protocol(
    file: Path,
    set_name: str,
    participants: int | None,
    ratio: float | None,
    dprime: float | None,
    simulations: int,
    alpha: float,
    seed: int,
) -> None:
    """Show what the protocol in FILE asks of participants and of a stimulus set, or all that is wrong with it."""
    effect = (
        None
        if ratio is None and dprime is None
        else Effect(ratio=1.0 if ratio is None else ratio, dprime=dprime or 0.0)
    )
    asked = Asked(participants, effect, PowerSettings(alpha=alpha, simulations=simulations, seed=seed))
    database().check()
    with database().reading() as reader:
        stimuli = registration.find_set(reader, set_name)
        checked, design = protocol_check.read(
            registration.read_source(file),
            file.name,
            lambda wanted: registration.usable(reader, stimuli.id, wanted.region, wanted.attack),
        )
    with tqdm(total=simulations, desc="simulating", unit="study", delay=3, leave=False) as bar:
        for line in protocol_check.report(checked, design, asked, progress=bar.update):
            click.echo(line)


@click.command("links", cls=Command)
@click.argument("number", type=click.IntRange(1, 100_000))
@click.option("--label", required=True, help="What they are for, such as the name of a course; never a person's name.")
@click.option("--days", type=click.IntRange(1), help="They expire after so many days; without it, never.")
@click.option("--address", default="http://127.0.0.1:8000", show_default=True, help="The study's own address.")
@with_appcontext
def links(number: int, label: str, days: int | None, address: str) -> None:
    """Make NUMBER one-time links for the current protocol, one on a line; they are shown this once and not kept."""
    database().check()
    now = datetime.now(UTC)
    with database().writing() as writer:
        protocol = conduct.current(writer)
        expires_at = None if days is None else now + timedelta(days=days)
        tokens = arrivals.make_links(writer, protocol, number=number, label=label, expires_at=expires_at)
        ledger.write(writer, ledger.on_server(), "links made", protocol=protocol.name, label=label, number=number)
    for token in tokens:
        click.echo(f"{address.rstrip('/')}/?link={token}")


@click.command("retention", cls=Command)
@with_appcontext
def retain() -> None:
    """Delete what is kept no longer: platform ids past their days, stale arrivals, expired sessions. Once a day."""
    database().check()
    with database().writing() as writer:
        counts = retention.forget(writer, datetime.now(UTC))
        ledger.write(writer, ledger.on_server(), "retention", **counts)
    for name, count in counts.items():
        click.echo(f"{count:>8} {name}")


@click.command("serve", cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="Processes.")
@click.option("--threads", default=4, show_default=True, type=click.IntRange(1), help="Threads of each process.")
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
    with database().writing() as writer:
        ledger.write(writer, ledger.on_server(), "export", **counts)
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
