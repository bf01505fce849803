"""The folder in which a server's workers count together: made when it starts, and gone when it ends, however it ends.

A server that is stopped removes its own folder (``gunicorn_conf.py``). One that is killed cannot: the next one to start
does. Whether a folder's server lives is told by a lock on the folder, which all its processes hold and the system drops
with the last of them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "percepsilon-metrics-"


def make_folder() -> Path:
    """Returns a new folder that is held as long as this process lives, or one that it starts or turns into.

    Folders that nobody holds any more are removed.
    """
    _remove_orphans()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = os.open(folder, os.O_RDONLY)
        os.set_inheritable(descriptor, True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.is_dir():  # else another server that starts took it for an orphan before it was held
            return folder
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Removes a folder if it is one that ``make_folder`` made; an operator's own stays."""
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _remove_if_orphan(folder)


def _remove_if_orphan(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone meanwhile, or somebody else's
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove_folder(folder)
    except BlockingIOError:  # its server lives
        pass
    finally:
        os.close(descriptor)
