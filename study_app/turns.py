"""Turns at writing to an SQLite file: one thread at a time, each process's threads in the order in which they asked.

SQLite lets who finds the file locked sleep and ask again, up to 100 ms later and in no order: under load some wait for
seconds while others pass. Here a thread waits for its turn awake at the moment it comes: a queue within the process,
and before the others a lock on a file beside the database, which the system takes back from a process that is killed.
Who does not take turns (a backup, SQLite's shell) is still kept apart by SQLite's own lock.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from core.errors import StudyError


class BusyError(StudyError):
    """No turn came in time; the same request may be sent again."""


class Turns:
    """The turns of this process's threads, before those of other processes at the same ``path``.

    Attributes:
        path: of the file whose lock says which process writes; made when it is first needed.
        patience_s: after which a thread gives up its place in the queue.
    """

    def __init__(self, path: Path, patience_s: float) -> None:
        self.path, self.patience_s = path, patience_s
        self._guard = Lock()
        self._taken = False
        self._waiting: deque[Lock] = deque()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds the turn within the block.

        Raises:
            BusyError: it did not come within ``patience_s``.
        """
        self._take()
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            finally:
                os.close(file)  # and with it the lock
        finally:
            self._pass_on()

    def _take(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            ticket = Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        if not ticket.acquire(timeout=self.patience_s):
            self._leave(ticket)

    def _leave(self, ticket: Lock) -> None:
        with self._guard:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                raise BusyError(f"{self.path}: expected a turn at writing within {self.patience_s:g} s; try again")

    def _pass_on(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
