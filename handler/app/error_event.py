"""What Poe and the log learn about a bot's exception."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import fastapi_poe as fp

from handler import log
from handler.log import lines
from handler.log.errors import traceback_of

logger = logging.getLogger(__name__)


class _AsItIs(str):
    """A text whose lines survive fastapi_poe, which sends the `repr` of what it gets."""

    __repr__ = str.__str__


def error_event_of(bot: fp.PoeBot) -> Callable[..., Any]:
    """The bot's `error_event`, whose event has an exception's type and where to look in the log,
    instead of its text, which can hold a key or another user's message."""
    error_event = bot.error_event

    def without_exception_text(
        text: str | None = None, *, raw_response: object = None, **more: Any
    ) -> Any:
        if isinstance(raw_response, BaseException):
            raw_response = _explained(bot, raw_response)
        return error_event(text, raw_response=raw_response, **more)

    return without_exception_text


def _explained(bot: fp.PoeBot, error: BaseException) -> str:
    """The event's text for `error`; the whole of it with `log.shows_texts`."""
    mistake = _logged_slip(bot, error)
    if log.shows_texts:
        return _AsItIs("\n\n".join(filter(None, (mistake, traceback_of(error)))))
    return f"{type(error).__name__}, request {lines.request_id.get()}"


@contextmanager
def slips_logged(bot: fp.PoeBot) -> Iterator[None]:
    """For requests whose answer has no place for an error: the log has the slip behind it."""
    try:
        yield
    except Exception as error:
        _logged_slip(bot, error)
        raise


def _logged_slip(bot: fp.PoeBot, error: BaseException) -> str:
    from handler.app.slips import slip_of  # not at the start: most bots never need it

    if slip := slip_of(bot, error):
        logger.error("%s", slip)
    return slip
