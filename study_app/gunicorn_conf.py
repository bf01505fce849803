"""gunicorn's settings, as ``flask --app study_app serve`` uses them: names and meanings are gunicorn's.

Our modules are imported here, once, before the workers are forked; each makes its own app and connections. A browser
keeps its connection between two answers, so that none pays for a new one. A worker that is told to stop finishes what
it has begun. Whatever comes before our own limits (``study_app.security``) is limited here.
"""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path
from typing import Any

from study_app import shared_counts

wsgi_app = "study_app:create_app()"
worker_class = "gthread"
threads = 4  # more of them only wait for one another
workers = 2
keepalive = 75  # seconds; longer than most people look at a picture
worker_connections = 4000  # of each worker, kept open between requests
backlog = 2048
timeout = 60
graceful_timeout = 30
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
loglevel = "warning"
control_socket_disable = True
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (the workers' heartbeat; on a disk it would wait for other writes)
worker_tmp_dir = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
_SILENCE_S = 20


def on_exit(_server: Any) -> None:
    """Forgets what the workers counted; ``serve`` makes the folder anew."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shared_counts.remove_folder(Path(folder))


def when_ready(server: Any) -> None:
    """Lets the system hold new connections until their first bytes are there: a silent one takes no thread."""
    option = getattr(socket, "TCP_DEFER_ACCEPT", None)
    for listener in server.LISTENERS:
        if option is not None and listener.sock.family in (socket.AF_INET, socket.AF_INET6):
            listener.sock.setsockopt(socket.IPPROTO_TCP, option, _SILENCE_S)


def post_worker_init(_worker: Any) -> None:
    """Spares the garbage collector what lives as long as the worker: it stops all threads to look at it."""
    gc.collect()
    gc.freeze()
