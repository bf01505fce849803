"""Where the server finds its database and its files: a frozen record made from the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast, get_args

from core.errors import ConfigError

LogForm = Literal["quiet", "text", "json"]
TOKEN_LENGTH = 24
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the server needs to know of its surroundings.

    Attributes:
        database_url: ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``.
        instance: directory for what the server keeps beside the code; made when it is first needed.
        session_days: how long a participant's cookie lives.
        trusted_proxies: how many proxies stand in front and state the client's scheme and address in
            ``X-Forwarded-Proto`` and ``X-Forwarded-For``; 0: none, and these headers are not believed.
        consents_per_minute: more than these are turned away for a while, whoever sends them; 0: without limit.
        metrics_token: with which ``/metrics`` may be read from elsewhere; empty: from this machine alone.
        log: ``text`` or ``json``: a line on stderr for each request; ``quiet``: for what goes wrong alone.
    """

    database_url: str
    instance: Path
    session_days: int = 30
    trusted_proxies: int = 0
    consents_per_minute: int = 600
    metrics_token: str = ""
    log: LogForm = "quiet"

    def __post_init__(self) -> None:
        if self.log not in get_args(LogForm):
            raise ConfigError(f"PERCEPSILON_LOG: expected quiet, text or json, got {self.log!r}")
        if 0 < len(self.metrics_token) < TOKEN_LENGTH:
            raise ConfigError(
                f"PERCEPSILON_METRICS_TOKEN: expected at least {TOKEN_LENGTH} characters, got {len(self.metrics_token)}"
            )


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings in the environment.

    ``DATABASE_URL`` (without it, SQLite in ``instance/percepsilon.sqlite``), ``PERCEPSILON_PROXIES``,
    ``PERCEPSILON_CONSENTS_PER_MINUTE``, ``PERCEPSILON_METRICS_TOKEN`` and ``PERCEPSILON_LOG``.

    Raises:
        ConfigError: a value is none of those that we allow.
    """
    values = os.environ if environment is None else environment
    instance = ROOT / "instance"
    url = values.get("DATABASE_URL") or f"sqlite:///{instance / 'percepsilon.sqlite'}"
    return Settings(
        database_url=url,
        instance=instance,
        trusted_proxies=_number(values, "PERCEPSILON_PROXIES", Settings.trusted_proxies),
        consents_per_minute=_number(values, "PERCEPSILON_CONSENTS_PER_MINUTE", Settings.consents_per_minute),
        metrics_token=values.get("PERCEPSILON_METRICS_TOKEN", ""),
        log=cast("LogForm", values.get("PERCEPSILON_LOG") or Settings.log),
    )


def _number(values: Mapping[str, str], name: str, default: int) -> int:
    text = values.get(name) or str(default)
    if not text.isdecimal():
        raise ConfigError(f"{name}: expected a whole number of at least 0, got {text!r}")
    return int(text)


@cache
def app_version() -> str:
    """Returns the version of this checkout, from its ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])
