"""Why a start failed, in one line, without a value that could be secret."""

import errno
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from handler import log
from handler.log.errors import StartError, below_package, frames_of, stack_of
from handler.log.places import BOTS_OWN, is_of_bot

# Errors about names are quoted: the text of any other may hold a secret's member.
QUOTED = (ImportError, SyntaxError, NameError, AttributeError, KeyError)

READ_ONLY = (
    "on Lambda only /tmp can be written to, and each environment has its own: keep what has to last"
    " in a database"
)

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
    text = below_package(f"{kind}: {error}") if _is_quoted(error) else kind
    places = [place for place in stack_of(error) if place.startswith(BOTS_OWN)]
    if not places:
        return text
    return f"{text} ({places[-1].removeprefix(BOTS_OWN)}){_advice(error)}"


def _is_quoted(error: BaseException) -> bool:
    return log.shows_texts or (isinstance(error, QUOTED) and not _names_a_value(error))


def _names_a_value(error: BaseException) -> bool:
    """Whether a dictionary's missing key is, holds, or is a part of what a variable holds: a
    secret's member."""
    if not isinstance(error, KeyError):
        return False
    missing = str(error.args[0] if error.args else "")
    words = (word for value in os.environ.values() for word in value.split())
    return any(
        len(word) >= 8 and (word in missing or (len(missing) >= 8 and missing.strip() in word))
        for word in words
    )


def missing_variable(error: BaseException) -> str:
    """The variable that the bot's code asks `os.environ` for and that isn't set; empty for other
    errors. Its name stands in that code, so it can't be a secret or a message."""
    name = error.args[0] if isinstance(error, KeyError) and error.args else None
    if not (isinstance(name, str) and re.fullmatch(r"[A-Z][A-Z0-9_]*", name)):
        return ""
    *_, caller, last = [None, None, *frames_of(error)]
    in_environ = last and last.f_locals.get("self") is os.environ
    if not (in_environ and caller and is_of_bot(caller.f_code.co_filename)):
        return ""
    return name if name in caller.f_code.co_consts else ""


def _advice(error: BaseException) -> str:
    """What to do about a failure that many bots come with."""
    if str(error) == "no running event loop":
        return ": no loop runs during imports, so write `asyncio.get_event_loop().create_task(…)`"
    if not log.shows_texts and (name := missing_variable(error)):  # `make run` shows what to do
        return f": run `make set-secret NAME={name}`"
    if is_read_only(error):
        return f": {READ_ONLY}"
    return _advice_on_import(error) if isinstance(error, ImportError) else ""


def is_read_only(error: BaseException) -> bool:
    """Whether the bot has tried to write to a place that Lambda doesn't let it."""
    return isinstance(error, OSError) and error.errno == errno.EROFS


def _advice_on_import(error: ImportError) -> str:
    package, _, module = (error.name or "").partition(".")
    if package == "handler":
        module = module or "prompts"
        return f": modules lie next to bot.py, so write `{module}` for `handler.{module}`"
    if str(error).startswith("attempted relative import"):
        return ": bot.py isn't in a package, so write `from prompts import …` without the dot"
    if not isinstance(error, ModuleNotFoundError):
        return ""
    if found := sys.modules.get(package):
        own = is_of_bot(getattr(found, "__file__", None) or "")
        version = "" if own else ", in the version that requirements.lock has"
        return f": {package} has no such module{version}"
    return (
        f": if {package} is a library, add it to requirements.txt by its name on PyPI; if it's"
        f" yours, put {package}.py into the bot's folder"
    )
