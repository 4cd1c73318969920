"""Why a start failed, in one line, without a value that could be secret."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from handler import log
from handler.log.errors import StartError, stack_of
from handler.log.places import BOTS_OWN

# Errors about names are quoted: the text of any other may hold a secret's member.
QUOTED = (ImportError, SyntaxError, NameError, AttributeError, KeyError)

logger = logging.getLogger(__name__)


@contextmanager
def explained() -> Iterator[None]:
    """Log what fails, and raise StartError in its place, whose text may be shown: for a start under
    a server that prints what it catches."""
    try:
        yield
    except BaseException as error:  # a module's import can raise anything
        text = explain(error)
        logger.critical("the bot cannot start: %s", text, exc_info=error)
        raise StartError(text) from None


def explain(error: BaseException) -> str:
    """What is wrong, where in the bot's own code, and what to do where that is known."""
    if isinstance(error, StartError):
        return str(error)
    kind = type(error).__name__
    text = f"{kind}: {error}" if _is_quoted(error) else kind
    places = [place for place in stack_of(error) if place.startswith(BOTS_OWN)]
    if not places:
        return text
    return f"{text} ({places[-1].removeprefix(BOTS_OWN)}){_advice(error)}"


def _is_quoted(error: BaseException) -> bool:
    return log.shows_texts or (isinstance(error, QUOTED) and not _names_a_value(error))


def _names_a_value(error: BaseException) -> bool:
    """Whether a dictionary's missing key is, or holds, what a variable holds: a secret's member."""
    values = (value for value in os.environ.values() if len(value) >= 8)
    return isinstance(error, KeyError) and any(value in str(error) for value in values)


def _advice(error: BaseException) -> str:
    """What to do about a failure that many bots come with."""
    if str(error) == "no running event loop":
        return ": no loop runs during imports, so write `asyncio.get_event_loop().create_task(…)`"
    if not isinstance(error, ImportError):
        return ""
    host, _, module = (error.name or "").partition(".")
    if host == "handler":
        module = module or "prompts"
        return f": modules lie next to bot.py, so write `{module}` for `handler.{module}`"
    if str(error).startswith("attempted relative import"):
        return ": bot.py isn't in a package, so write `from prompts import …` without the dot"
    if isinstance(error, ModuleNotFoundError):
        return ": a library has to be in requirements.txt, a module in the bot's folder"
    return ""
