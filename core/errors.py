"""What can go wrong, as one tree, and the one place where it becomes a message and an exit code.

PercepsilonError
├── ConfigError      a settings file: unknown key, wrong type, value out of range
├── DataError        pictures, labels or salience maps that cannot be used
├── RunError         a run directory that is absent, incomplete or of another schema
├── StimulusError    a stimulus set that is not what its manifest says
├── StudyError       a protocol, database or server that cannot do what was asked
├── ExportError      an export that lacks a file or a column, or contradicts itself
└── MachineError     something the machine lacks: a free port, Node, a library

Every message says what was expected, what came, where, and what to do.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence

DONE, REFUSED, USAGE = 0, 1, 2
_DISK = {
    errno.ENOSPC: "make room on the disk, then run the same command again: what was finished is kept",
    errno.EDQUOT: "your disk quota is used up; make room, then run the same command again",
    errno.EACCES: "you may not write there; choose another place or change its permissions",
    errno.EROFS: "that disk is read-only; choose another place",
}


class PercepsilonError(Exception):
    """A mistake that the user can mend; shown as one message, without a traceback."""


class ConfigError(PercepsilonError):
    """A settings file holds something that we do not understand or allow."""


class DataError(PercepsilonError):
    """Pictures, labels or salience maps cannot be used."""


class RunError(PercepsilonError):
    """A run directory is absent, incomplete or of another schema."""


class StimulusError(PercepsilonError):
    """A stimulus set is not what its manifest says."""


class StudyError(PercepsilonError):
    """A protocol, database or server cannot do what was asked."""


class ExportError(PercepsilonError):
    """An export lacks a file or a column, or contradicts itself."""


class MachineError(PercepsilonError):
    """The machine lacks something: a free port, Node, a library."""


def exit_code(main: Callable[[Sequence[str] | None], int]) -> int:
    """Runs ``main`` on the command line; returns 0 done, 1 refused (message on stderr), 130 interrupted."""
    try:
        return main(None)
    except PercepsilonError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except OSError as error:
        if error.errno not in _DISK:
            raise
        print(f"error: {error.filename or 'disk'}: {error.strerror}; {_DISK[error.errno]}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; the same command goes on from there", file=sys.stderr)
        return 130
