"""Where the server finds its database and its files: a frozen record made from the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server needs to know of its surroundings.

    Attributes:
        database_url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``.
        instance: directory for what the server keeps beside the code; made when it is first needed.
        session_days: how long a participant's cookie lives.
    """

    database_url: str
    instance: Path
    session_days: int = 30


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings of ``DATABASE_URL``; without it, SQLite in ``instance/percepsilon.sqlite``."""
    values = os.environ if environment is None else environment
    instance = ROOT / "instance"
    url = values.get("DATABASE_URL") or f"sqlite:///{instance / 'percepsilon.sqlite'}"
    return Settings(database_url=url, instance=instance)


@cache
def app_version() -> str:
    """Returns the version of this checkout, from its ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])
