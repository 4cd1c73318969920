"""The log of a process, set up once, by its entry: before anything of the bot's or of a library's
can write."""

import logging
import sys
import threading
import warnings

from handler import log
from handler.log import others, output, records

logger = logging.getLogger(__name__)


def set_up(level: str, *, shows_texts: bool = False) -> None:
    """Bring everything that is written under the log's rules.

    level        Lambda's, such as "INFO"
    shows_texts  whether to show texts that may hold keys and messages (see `handler.log`)
    """
    log.shows_texts = shows_texts
    records.configure(level)
    output.take_over(others.printed, records.taken, by_line=shows_texts)
    warnings.showwarning = others.warned
    sys.excepthook = lambda kind, error, trace: _uncaught(error, "the main thread")
    threading.excepthook = lambda thrown: _uncaught(thrown.exc_value, "a thread")
    sys.unraisablehook = lambda thrown: _uncaught(thrown.exc_value, "a clean-up")


def keep() -> None:
    """Hold on to all that after the bot's import, which may have set up logging and streams."""
    records.keep()
    output.keep()


def _uncaught(error: BaseException | None, where: str) -> None:
    """Python itself would print it, with its text."""
    logger.error("an uncaught exception in %s", where, exc_info=error)
