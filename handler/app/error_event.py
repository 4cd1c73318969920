"""What Poe and the log get to know of a bot's exception."""

import inspect
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any

import fastapi_poe as fp

from handler import log
from handler.log import lines
from handler.log.errors import stack_of, traceback_of
from handler.log.places import BOTS_OWN, is_of_bot, place

logger = logging.getLogger(__name__)

WRITE = "write `yield fp.PartialResponse(text=…)`"


class _AsItIs(str):
    """A text whose lines survive fastapi_poe, which sends the `repr` of what it gets."""

    __repr__ = str.__str__


def error_event_of(bot: fp.PoeBot) -> Callable[..., Any]:
    """The bot's `error_event`, whose event has an exception's type and where to look in the log,
    in place of its text, which can hold a key or another user's message."""
    error_event = bot.error_event

    def without_exception_text(
        text: str | None = None, *, raw_response: object = None, **more: Any
    ) -> Any:
        if isinstance(raw_response, BaseException):
            raw_response = _explained(bot, raw_response)
        return error_event(text, raw_response=raw_response, **more)

    return without_exception_text


def _explained(bot: fp.PoeBot, error: BaseException) -> str:
    """What the event says of `error`; with `log.shows_texts` all of it."""
    if mistake := _mistake(bot, error):
        logger.error("%s", mistake)
    if log.shows_texts:
        return _AsItIs("\n\n".join(filter(None, (mistake, traceback_of(error)))))
    return f"{type(error).__name__}, request {lines.request_id.get()}"


def _mistake(bot: fp.PoeBot, error: BaseException) -> str:
    """What is wrong with how the bot answers, and what to write, for mistakes that a traceback
    doesn't point at: they fail in fastapi_poe, where the outcome is used. Nothing where the bot's
    own code raised `error`. It names a type and a place, and quotes nothing."""
    method = _own_method(bot)
    if method is None or any(line.startswith(BOTS_OWN) for line in stack_of(error)):
        return ""
    code = method.__code__
    named = f"{code.co_name} ({place(code.co_filename)}:{code.co_firstlineno})"
    if isinstance(error, TypeError) and not inspect.isasyncgenfunction(method):
        return f"{named} doesn't yield: {WRITE}, also in place of `return`"
    variables = _variables_of_query(error)
    if isinstance(error, AttributeError) and "event" in variables:
        return f"{named} yields {type(variables['event']).__name__} values: {WRITE}"
    return ""


def _own_method(bot: fp.PoeBot) -> Any:
    """The bot's function that answers, without its decorators."""
    methods: tuple[Callable[..., Any], ...] = (bot.get_response, bot.get_response_with_context)
    functions = (inspect.unwrap(getattr(method, "__func__", method)) for method in methods)
    own = (each for each in functions if inspect.isfunction(each))
    return next((each for each in own if is_of_bot(each.__code__.co_filename)), None)


def _variables_of_query(error: BaseException) -> dict[str, Any]:
    """Those of fastapi_poe's `handle_query`, if that is what raised `error`."""
    trace: TracebackType | None = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    frame = trace.tb_frame if trace else None
    return frame.f_locals if frame and frame.f_code.co_name == "handle_query" else {}
