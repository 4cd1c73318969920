"""Why a bot.py has no bot to serve, and what to write."""

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import fastapi_poe as fp

RULE = "bot.py has to end with `bot = …`: one fastapi_poe.PoeBot, or a list of them"


def reason(bots: Sequence[Any], module: ModuleType) -> str:
    """For what `bot` of `module` is or holds, which isn't bots alone. One None: it has no `bot`."""
    wrong = next((bot for bot in bots if not isinstance(bot, fp.PoeBot)), None)
    if isinstance(wrong, type):
        return _of_class(wrong)
    if hasattr(wrong, "get_response"):
        return _of_class(type(wrong))
    if wrong is not None:
        kind = type(wrong).__name__
        return f"`bot` in bot.py holds an object of type {kind}, which isn't a bot: {RULE}"
    if names := [*_other_names(module)]:
        others = f", or write `bot = [{', '.join(names)}]`" if names[1:] else ""
        return f"the bot in bot.py has the name `{names[0]}`: rename it to `bot`{others}"
    if found := [*_own_classes(module)]:
        return _of_class(found[-1])
    return RULE


def _of_class(found: type) -> str:
    name = found.__name__
    if issubclass(found, fp.PoeBot):
        return f"bot.py defines the class {name}, but no bot: end it with `bot = {name}()`"
    remedy = f"write `class {name}(fp.PoeBot):`, and at the end `bot = {name}()`"
    return f"the class {name} in bot.py isn't a PoeBot: {remedy}"


def _other_names(module: ModuleType) -> Iterator[str]:
    """Under which names bots, or lists of them, are there."""
    for name, value in vars(module).items():
        held = value if isinstance(value, list | tuple) else [value]
        if held and all(isinstance(each, fp.PoeBot) for each in held):
            yield name


def _own_classes(module: ModuleType) -> Iterator[type]:
    """What can be meant for the bot's class: bots or, without any, what answers like one."""
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    bots = [each for each in classes if issubclass(each, fp.PoeBot)]
    yield from bots or (each for each in classes if hasattr(each, "get_response"))
