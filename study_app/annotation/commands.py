"""The researcher's commands for annotation tasks: ``flask --app study_app COMMAND``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import func, select
from tqdm import tqdm

from core import files, picture_sets
from study_app.annotation import conduct, exporting, registering
from study_app.annotation.conduct import Act
from study_app.annotation.tables import Annotator, Assignment, TaskPicture
from study_app.cli import Command
from study_app.researchers import ledger
from study_app.state import database


def annotation_commands(app: Flask) -> None:
    """Adds the commands to the app."""
    for command in (register_pictures, register_annotation, export_annotations, annotation_status):
        app.cli.add_command(command)
    for what in conduct.FROM:
        app.cli.add_command(_acting(what))


@click.command("register-pictures", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@with_appcontext
def register_pictures(directory: Path) -> None:
    """Register the picture set in DIRECTORY (made by core.picture_set), after reading every picture."""
    with tqdm(total=len(picture_sets.read(directory).pictures), desc="checking pictures", unit="png") as bar:
        found = registering.check_files(directory, bar.update)
    database().check()
    with database().writing() as writer:
        done = registering.register_pictures(writer, directory, found)
        ledger.write(
            writer, ledger.on_server(), "picture set registered", set=done.name, sha256=found.sha256, new=done.new
        )
    verb = "registered" if done.new else "registered already"
    click.echo(f"picture set {done.name!r}: {verb}, {len(found.pictures)} pictures")


@click.command("register-annotation", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--pictures", required=True, metavar="NAME", help="Name of the registered picture set.")
@click.option("--gold", type=click.Path(path_type=Path), help="Folder of known masks, <source_id>.png.")
@with_appcontext
def register_annotation(file: Path, pictures: str, gold: Path | None) -> None:
    """Register the annotation task in FILE (TOML); new annotators get the task registered last.

    It is frozen when its first annotator starts; a changed file then needs another name.
    """
    database().check()
    total = sum(1 for _ in gold.rglob("*.png")) if gold is not None else 0
    with database().writing() as writer, tqdm(total=total, desc="reading gold masks", unit="png", delay=2) as bar:
        done = registering.register_task(writer, file, pictures, gold, bar.update)
        ledger.write(
            writer, ledger.on_server(), "annotation task registered", task=done.name, set=pictures, new=done.new,
            sha256=files.sha256_file(file), gold=total,
        )  # fmt: skip
    click.echo(f"annotation task {done.name!r}: {'registered' if done.new else 'registered already'}")


@click.command("export-annotations", cls=Command)
@click.argument("directory", type=click.Path(path_type=Path))
@with_appcontext
def export_annotations(directory: Path) -> None:
    """Write the annotations of the current task to DIRECTORY, which must not exist yet, as an annotation set."""
    database().check()
    with database().reading() as reader, tqdm(desc="export", unit="annotation") as bar:
        row = registering.needed_task(reader)
        bar.total = reader.scalar(
            select(func.count(Assignment.id))
            .join(Annotator)
            .where(Annotator.task_id == row.id, Assignment.submitted_at.is_not(None))
        )
        record = exporting.export(reader, row, directory, bar.update)
    counts = record.counts
    with database().writing() as writer:
        ledger.write(writer, ledger.on_server(), "annotations exported", task=row.name, **counts)
    click.echo(
        f"{directory}: {counts['annotations']} annotations of {counts['annotated']} pictures by "
        f"{counts['annotators']} annotators; next: python -m core.annotations consensus {directory}"
    )


@click.command("annotation-status", cls=Command)
@with_appcontext
def annotation_status() -> None:
    """Show the current annotation task: annotators, and pictures by how many hold them."""
    database().check()
    with database().reading() as reader:
        row = registering.needed_task(reader)
        people = select(func.count(Annotator.id), func.count(Annotator.finished_at)).where(Annotator.task_id == row.id)
        begun, finished = reader.execute(people).one()
        by_count = (
            select(TaskPicture.held, func.count())
            .where(TaskPicture.task_id == row.id, TaskPicture.role == "main")
            .group_by(TaskPicture.held)
            .order_by(TaskPicture.held)
        )
        lines = [f"  {pictures:>6} pictures held by {held}" for held, pictures in reader.execute(by_count)]
    click.echo(f"task {row.name} ({conduct.standing(row)}): {begun} annotators, {finished} finished")
    for line in lines:
        click.echo(line)


def _acting(what: Act) -> click.Command:
    @with_appcontext
    def command() -> None:
        database().check()
        with database().writing() as writer:
            row = conduct.act(writer, what, by=ledger.on_server(), now=datetime.now(UTC))
        click.echo(f"annotation task {row.name!r}: {conduct.DONE[what]}")

    words = {
        "pause": "Hand out no pictures; what is open may be handed in.",
        "resume": "Hand out pictures again.",
        "close": "End the task: nothing more is stored.",
        "reopen": "Take a closing back.",
    }
    return Command(f"annotation-{what}", callback=command, help=words[what])
