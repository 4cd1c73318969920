"""What authors write by mistake, and what to write instead: for errors whose traceback points at
fastapi_poe, which uses the outcome, or whose text explains too little.

A hint names functions, types and variables of the bot's code, and quotes nothing else.
"""

import inspect
import re
from types import FrameType
from typing import Any

import fastapi_poe as fp

from handler.log.errors import frames_of
from handler.log.explain import READ_ONLY, is_read_only, missing_variable
from handler.log.places import is_of_bot, place

WRITE = "write `yield fp.PartialResponse(text=…)`"
WRITE_SETTINGS = "write `return fp.SettingsResponse(…)`"


def slip_of(bot: fp.PoeBot, error: BaseException) -> str:
    """What is wrong, and what to do; empty where `error` explains itself."""
    if name := missing_variable(error):
        return (
            f"the variable {name} isn't set: add it to secrets.json for local runs, and run"
            f" `make set-secret NAME={name}` for Lambda"
        )
    if is_read_only(error):
        return READ_ONLY
    frames = [*frames_of(error)]
    if not frames or any(is_of_bot(frame.f_code.co_filename) for frame in frames):
        return ""
    if isinstance(error, AttributeError) and error.obj is bot and _is_own(type(bot).__init__):
        return f"{_named(type(bot).__init__)} doesn't call `super().__init__()`: begin with that"
    if any(frame.f_code.co_name == "handle_settings" for frame in frames):
        return _of_settings(_own_method(bot, "get_settings"), error, frames[-1])
    return _of_answer(_own_method(bot, "get_response"), error, frames[-1])


def _of_answer(method: Any, error: BaseException, last: FrameType) -> str:
    if method is None:
        return ""
    named = _named(method)
    if isinstance(error, AttributeError) and "event" in last.f_locals:
        return f"{named} yields {_kind(last.f_locals['event'])} values: {WRITE}"
    if not isinstance(error, TypeError):
        return ""
    if _is_of_call(error):
        return f"{named} can't be called with what Poe sends: {_form(method, 'request')}"
    if inspect.isgeneratorfunction(method):
        return f"{named} isn't asynchronous: {_form(method, 'request')}"
    if not inspect.isasyncgenfunction(method):
        return f"{named} doesn't yield: {WRITE}, also in place of `return`"
    return ""


def _of_settings(method: Any, error: BaseException, last: FrameType) -> str:
    if method is None:
        return ""
    named = _named(method)
    if isinstance(error, AttributeError) and "settings" in last.f_locals:
        return f"{named} returns {_kind(last.f_locals['settings'])} values: {WRITE_SETTINGS}"
    if not isinstance(error, TypeError):
        return ""
    if _is_of_call(error):
        return f"{named} can't be called with what Poe sends: {_form(method, 'setting')}"
    if inspect.isasyncgenfunction(method):
        return f"{named} yields: {WRITE_SETTINGS}"
    if not inspect.iscoroutinefunction(method):
        return f"{named} isn't asynchronous: {_form(method, 'setting')}"
    return ""


def _is_of_call(error: TypeError) -> bool:
    """Whether a function was called with other arguments than it takes."""
    return re.search(r"\(\) (takes|missing|got an unexpected) ", str(error)) is not None


def _form(method: Any, argument: str) -> str:
    context = ", context" if method.__name__.endswith("_with_context") else ""
    return f"write `async def {method.__name__}(self, {argument}{context})`"


def _own_method(bot: fp.PoeBot, name: str) -> Any:
    """The method of this name, or the one with a context, that the bot's author wrote, without
    its decorators."""
    methods = (getattr(bot, each) for each in (name, f"{name}_with_context"))
    functions = (inspect.unwrap(getattr(method, "__func__", method)) for method in methods)
    return next(filter(_is_own, functions), None)


def _is_own(function: Any) -> bool:
    return inspect.isfunction(function) and is_of_bot(function.__code__.co_filename)


def _named(function: Any) -> str:
    code = function.__code__
    return f"{code.co_name} ({place(code.co_filename)}:{code.co_firstlineno})"


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
