"""Starts gunicorn in place of the current process, after everything that can be checked was checked."""

from __future__ import annotations

import errno
import os
import socket
import sys

from core.errors import MachineError, StudyError
from study_app import health, shared_counts
from study_app.annotation.registering import current_task
from study_app.database import Database
from study_app.registration import current_protocol
from study_app.settings import ROOT

VENDOR = ROOT / "study_app" / "static" / "vendor"


def check_port(host: str, port: int) -> None:
    """Returns if the port can be listened on.

    Raises:
        MachineError: it is taken, not allowed, or the host is not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
            raise MachineError(
                f"cannot listen on {host}:{port}: {reason}; stop that program or choose another with --port"
            ) from None


def check_ready(database: Database) -> None:
    """Returns if the study can be served.

    Raises:
        StudyError: the database is absent or out of date, or neither a protocol nor an annotation task is registered.
        MachineError: the browser's files were not built.
    """
    database.check()
    with database.reading() as reader:
        if current_protocol(reader) is None and current_task(reader) is None:
            raise StudyError(
                "no protocol is registered; do it with: flask --app study_app register-protocol FILE --set NAME (or an "
                "annotation task: register-annotation FILE --pictures NAME)"
            )
    if not (VENDOR / "jspsych.js").is_file():
        raise MachineError(
            f"{VENDOR / 'jspsych.js'}: no such file; build the browser's files (needs Node) with: "
            "npm --prefix study_app/frontend ci && npm --prefix study_app/frontend run build"
        )


def become_gunicorn(*, host: str, port: int, workers: int, threads: int) -> None:
    """Replaces the process by gunicorn. Each worker makes its own app, and with it its own connections."""
    sys.stdout.flush()
    if not os.environ.get(health.SHARED):
        os.environ[health.SHARED] = str(shared_counts.make_folder())
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    os.chdir(ROOT)  # where our modules are found, from whichever directory the command was called
    settings = ["--config", str(ROOT / "study_app" / "gunicorn_conf.py")]
    options = ["--bind", bind, "--workers", str(workers), "--threads", str(threads)]
    command = [sys.executable, "-m", "gunicorn", *settings, *options]
    os.execv(sys.executable, command)  # noqa: S606  (no shell; the arguments are checked)
