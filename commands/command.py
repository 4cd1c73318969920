"""How every command runs: what may end it, what it prints then, and its exit status."""

import contextlib
import errno
import io
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NoReturn

from commands.terminal.text import visible
from infra.aws.secret_members import BadMember
from infra.toolchain.errors import UserError

STDOUT = 1  # its descriptor
FAILED = 1
BY_SIGNAL = 128  # and the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM

# What only the user can change: a full disk, a folder that may not be read or written.
THE_MACHINES = {
    errno.EACCES, errno.EDQUOT, errno.EMFILE, errno.ENOSPC, errno.EPERM, errno.EROFS,
}  # fmt: skip

_received: list[int] = []  # the signals like SIGTERM that the command under way got

Main = Callable[[Sequence[str] | None], int | None]


def exit_with(main: Main, *, interrupted: str = "", runs_until_stopped: bool = False) -> NoReturn:
    """End this process with the exit status of `run_command`.

    A second Ctrl-C while Python ends is ignored: it would show a traceback, or change the status.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # which `run_command` restores when it is done
    status = run_command(main, interrupted=interrupted, runs_until_stopped=runs_until_stopped)
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(not thread.daemon for thread in others):
        # Ctrl-C three times in a moment ends an event loop before it has ended its threads, and
        # Python would wait for them for ever.
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def run_command(
    main: Main,
    arguments: Sequence[str] | None = None,
    *,
    interrupted: str = "",
    runs_until_stopped: bool = False,
) -> int:
    """Run `main` with `arguments` (by default this process's); the exit status.

    A UserError is one line on stderr, and so is a BadMember (the function's own, which has no
    UserError) or an error of the machine. Ctrl-C, SIGTERM, SIGHUP and Ctrl-D at a prompt end it
    alike: `main` cleans up, then `interrupted` is printed. Where it `runs_until_stopped`, Ctrl-C is
    its regular end, with status 0, and so is a reader of its output that leaves.
    """
    _set_up_streams()
    with _every_end_like_ctrl_c() as received:
        try:
            status = main(arguments) or 0
        except (UserError, BadMember) as error:
            print(f"error: {visible(str(error))}", file=sys.stderr)
            status = FAILED
        except (KeyboardInterrupt, EOFError):
            print(f"\n{interrupted}".rstrip(), file=sys.stderr)
            status = 0 if runs_until_stopped else BY_SIGNAL + signal.SIGINT
        except BrokenPipeError:
            if not _reader_has_left():
                raise
            status = 0 if runs_until_stopped else BY_SIGNAL + signal.SIGPIPE
        except OSError as error:
            if error.errno not in THE_MACHINES:
                raise
            print(f"error: {_in_words(error)}", file=sys.stderr)
            status = FAILED
    return BY_SIGNAL + received[0] if received else status


def is_ending() -> bool:
    """Whether SIGTERM or SIGHUP came: then a KeyboardInterrupt is meant for the whole command."""
    return bool(_received)


def _set_up_streams() -> None:
    """Lines go out at once into a pipe, too. What can't be decoded or encoded, such as half of an
    emoji, is replaced."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


@contextlib.contextmanager
def _every_end_like_ctrl_c() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP do what Ctrl-C does, in an event loop too; gives those that came."""
    received = _received
    received.clear()

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if received[1:]:  # make passes on what its whole group gets: the clean-up goes on
            return
        on_ctrl_c = signal.getsignal(signal.SIGINT)  # the event loop's, if one runs
        assert callable(on_ctrl_c)
        on_ctrl_c(signal.SIGINT, frame)

    # A script's background job starts with Ctrl-C ignored; `nohup` ignores SIGHUP on purpose.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: end}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        handlers[signal.SIGHUP] = end
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_words(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _reader_has_left() -> bool:
    """Whether stdout is what broke. If so it leads nowhere from now on, so that Python's last
    flush does not fail as well."""
    watched = select.poll()
    watched.register(STDOUT, 0)  # errors are always reported
    if not watched.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return True
