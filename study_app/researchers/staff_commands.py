"""Commands for accounts, the ledger and backups: ``flask --app study_app researcher | audit | backup``."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click
from flask import Flask
from flask.cli import with_appcontext
from sqlalchemy import select
from sqlalchemy.orm import Session as DatabaseSession

from core.errors import StudyError
from study_app import backup as backups
from study_app.cli import Command
from study_app.researchers import accounts, ledger, passwords
from study_app.staff import ROLES, Researcher
from study_app.state import database

PASSWORD = "PERCEPSILON_PASSWORD"  # noqa: S105  (the name of an environment variable)


def register(app: Flask) -> None:
    """Adds the commands to the app."""
    for command in (researcher, audit, backup):
        app.cli.add_command(command)


@click.group("researcher")
def researcher() -> None:
    """Accounts of the researchers' pages under /admin."""


@researcher.command("add", cls=Command)
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the account may do.")
@with_appcontext
def add(email: str, role: str) -> None:
    """Make an account for EMAIL; the password is asked for, or taken from PERCEPSILON_PASSWORD."""
    email = accounts.normal_email(email)
    database().check()
    hashed = passwords.accept(_password(), email)
    with database().writing() as writer:
        accounts.add(writer, email, hashed, role, actor=ledger.on_server(), now=datetime.now(UTC))
    click.echo(f"{email}: {role}")


@researcher.command("list", cls=Command)
@with_appcontext
def list_accounts() -> None:
    """Show all accounts."""
    database().check()
    with database().reading() as reader:
        for each in reader.scalars(select(Researcher).order_by(Researcher.email)):
            click.echo(f"{each.email:<40} {each.role:<12} {'disabled' if each.disabled_at else 'active'}")


@researcher.command("disable", cls=Command)
@click.argument("email")
@with_appcontext
def disable(email: str) -> None:
    """Disable the account of EMAIL and sign it out everywhere."""
    database().check()
    with database().writing() as writer:
        accounts.disable(writer, _account(writer, email), actor=ledger.on_server(), now=datetime.now(UTC))
    click.echo(f"{email}: disabled")


@researcher.command("reset-password", cls=Command)
@click.argument("email")
@with_appcontext
def reset_password(email: str) -> None:
    """Give the account of EMAIL another password and sign it out everywhere."""
    email = accounts.normal_email(email)
    database().check()
    with database().reading() as reader:
        _account(reader, email)
    hashed = passwords.accept(_password(), email)
    with database().writing() as writer:
        accounts.change_password(writer, _account(writer, email), hashed, actor=ledger.on_server())
    click.echo(f"{email}: password changed")


def _account(session: DatabaseSession, email: str) -> Researcher:
    found = accounts.by_email(session, accounts.normal_email(email))
    if found is None:
        raise StudyError(f"{email}: no such account; make it with: flask --app study_app researcher add")
    return found


def _password() -> str:
    if (given := os.environ.get(PASSWORD)) is not None:
        return given
    asked: str = click.prompt("Password (at least 15 characters)", hide_input=True, confirmation_prompt=True)
    return asked


@click.group("audit")
def audit() -> None:
    """The log of what researchers and commands did."""


@audit.command("verify", cls=Command)
@click.option("--head", metavar="HASH", help="A hash noted earlier, which the chain must still hold.")
@with_appcontext
def verify(head: str | None) -> None:
    """Check the chain of hashes: no action was changed, taken out or moved."""
    database().check()
    with database().reading() as reader:
        chain = ledger.verify(reader, head)
    click.echo(f"the chain of {chain.actions} actions is whole; its last hash is {chain.head}")


@click.command("backup", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@with_appcontext
def backup(file: Path) -> None:
    """Write a copy of the database to FILE, while the study runs.

    SQLite: a database file, checked. PostgreSQL: pg_dump's custom format, for pg_restore.
    """
    size = backups.backup(database(), file)
    with database().writing() as writer:
        ledger.write(writer, ledger.on_server(), "backup", file=file.name)
    click.echo(f"{file}: {size / 1e6:.1f} MB")
