"""Ports of loopback, checked before a start, which takes seconds."""

import contextlib
import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

from infra.toolchain.errors import UserError

HOST = "127.0.0.1"


def free_port(wanted: int | None, choose: str = "") -> int:
    """`wanted` if nothing listens there, or any free port for None.

    Raises UserError if `wanted` is in use, or not for this user; `choose` is how to choose another,
    for the text.
    """
    with _bound(wanted, choose) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def own_port(wanted: int, folder: Path, choose: str) -> Iterator[None]:
    """Keep `wanted` for this command while the block runs: it listens there only after seconds, and
    meanwhile another would find it free. The lock is in `folder`, which has to exist.

    Raises UserError as `free_port`, and where another command has the port.
    """
    free_port(wanted, choose)
    with open(folder / f"{wanted}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise port_in_use(wanted, choose) from None
        yield


def listening(wanted: int | None, choose: str = "") -> socket.socket:
    """A socket that listens on `wanted`, or on any free port. Raises UserError as `free_port`."""
    listener = _bound(wanted, choose)
    try:
        listener.listen()
    except OSError:  # two may be bound, where neither listens yet
        listener.close()
        raise port_in_use(wanted, choose) from None
    return listener


def _bound(wanted: int | None, choose: str) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, wanted or 0))
    except PermissionError:
        made.close()
        raise UserError(f"port {wanted} is for root alone: choose another with {choose}") from None
    except OSError:
        made.close()
        raise port_in_use(wanted, choose) from None
    return made


def port_in_use(port: int | None, choose: str) -> UserError:
    return UserError(f"port {port} is in use: stop what uses it, or choose another with {choose}")
