"""Why a start failed, in one line, without a value that could be secret."""

import os

from handler.log.errors import StartError
from handler.log.lines import stack_of
from handler.log.places import BOTS_OWN

# Errors about names are quoted: the text of any other may hold a secret's member.
QUOTED = (ImportError, SyntaxError, NameError, AttributeError, KeyError)


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
    return isinstance(error, QUOTED) and not _names_a_value(error)


def _names_a_value(error: BaseException) -> bool:
    """Whether a dictionary's missing key is, or holds, what a variable holds: a secret's member."""
    values = (value for value in os.environ.values() if len(value) >= 8)
    return isinstance(error, KeyError) and any(value in str(error) for value in values)


def _advice(error: BaseException) -> str:
    """For imports that were right in another place."""
    if not isinstance(error, ImportError):
        return ""
    if (error.name or "").startswith("handler."):
        module = str(error.name).removeprefix("handler.")
        return f": modules lie next to bot.py now, write `from {module} import …`"
    if str(error).startswith("attempted relative import"):
        return ": bot.py is in no package, write `from module import …` for `from .module import …`"
    return ""
