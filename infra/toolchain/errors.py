"""The base of every error that a user can fix."""

import errno
import os


class UserError(Exception):
    """One line for the terminal: what is wrong, then what to do.

    Its text never contains a key, a secret's member or a message.
    """


FULL_DISK = (
    "the disk is full: make room, for instance by `make clean`, which removes what earlier builds"
    " have kept"
)


def tells_of_full_disk(text: str) -> bool:
    """Whether a program's or an exception's words are about a disk that is full."""
    return "ENOSPC" in text or os.strerror(errno.ENOSPC) in text
