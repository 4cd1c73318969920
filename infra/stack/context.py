"""Where a deployment's choices come from: `cdk.json` of the host, over it the bot's own, over both
what was given on the command line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.package.bot_folder import BotFolder
from infra.stack.options import ContextError, Options
from infra.stack.stack_name import stack_name
from infra.toolchain.folders import ROOT
from infra.toolchain.json_file import parse_object, read_text

FILE = "cdk.json"

Context = Mapping[str, Any]


def options_for(bot: BotFolder, given: Context) -> Options:
    """What is chosen for `bot`; `given`, as `-c name=value` gives it, takes precedence.

    Without a stack's name it is named after the folder. Raises UserError.
    """
    context = context_for(bot, given)
    stack = context.get("stack") or stack_name(bot)
    return Options.from_context({**context, "stack": stack})


def context_for(bot: BotFolder, given: Context) -> dict[str, Any]:
    """Raises UserError."""
    return {**in_file(ROOT / FILE), **in_file(bot.path / FILE), **given}


def given_to_the_cdk(merged: Context) -> dict[str, Any]:
    """What of the context that the CDK's command line passes on was given there. It has merged
    the host's file into it: a value that equals the file's is taken for the file's."""
    hosts = in_file(ROOT / FILE)
    return {name: value for name, value in merged.items() if hosts.get(name) != value}


def in_file(file: Path) -> dict[str, Any]:
    """The context that `file`, a cdk.json, has; nothing without such a file. Raises UserError."""
    try:
        text = read_text(file)
    except FileNotFoundError:
        return {}
    context = parse_object(text, file).get("context", {})
    if not isinstance(context, dict):
        raise ContextError(f'"context" in {file} isn\'t a JSON object: write {{"memory": 1024}}')
    return context
