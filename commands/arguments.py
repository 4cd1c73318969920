"""A command's options, each with the variable of `make` that it comes from."""

import argparse
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from infra.package.bot_folder import BotFolder
from infra.stack.context import options_for
from infra.toolchain.errors import UserError


class Parser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        if value := re.fullmatch(r"unrecognized arguments: ([a-z_]+=.*)", message):
            raise UserError(f'{value[1]} needs a -c before it: ARGS="-c {value[1]}"')
        raise UserError(message)

    def add_folder(self) -> None:
        """BOT_DIR, and CALLER: where the user's make runs, if that is not this process's folder."""
        self.add_argument("--bot-dir", metavar="FOLDER", help="the bot's (default: bot/)")
        self.add_argument("--caller", metavar="FOLDER", help="where relative paths begin")

    def add_bot(self) -> None:
        self.add_folder()
        self.add_argument("--bot-file", metavar="FILE", help="takes the place of its bot.py")

    def add_stack(self) -> None:
        self.add_argument("--stack", metavar="NAME", help="(default: named after the bot's folder)")


def number(variable: str, low: int, high: int, unit: str = "") -> Callable[[str], int]:
    """For `type=`: a whole number from `low` to `high`. `variable` and `unit` are for the error."""

    def check(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise UserError(f"{variable}={text} is invalid: use {low} to {high}{unit}")
        return int(text)

    return check


port = number("PORT", 1, 65_535)


def chosen_bot(options: argparse.Namespace) -> BotFolder:
    """Raises PackageError where its folder or its file doesn't exist."""
    return BotFolder.at(options.bot_dir, options.bot_file, options.caller)


def chosen_folder(options: argparse.Namespace) -> BotFolder:
    """For commands that don't need a bot in it. Raises PackageError."""
    return BotFolder.without_bot(options.bot_dir, options.caller)


def chosen_stack(options: argparse.Namespace) -> str:
    """The name as given, as in the bot's cdk.json, or after its folder. Raises UserError."""
    given = {"stack": options.stack} if options.stack else {}
    return options_for(chosen_folder(options), given).stack


def chosen_file(name: str, options: argparse.Namespace) -> Path:
    """A file that an argument names: where the user's make runs or, if it's not there, in the bot's
    folder. Raises PackageError."""
    file = Path(options.caller or "", name)
    if options.bot_dir and not file.exists():
        in_folder = chosen_folder(options).path / name
        return in_folder if in_folder.exists() else file
    return file


def same_bot(options: argparse.Namespace) -> str:
    """The variables that let another `make` mean the same bot and stack, as text for a shell."""
    variables = {
        "BOT_DIR": None if options.caller else options.bot_dir,
        "BOT_FILE": getattr(options, "bot_file", None),
        "STACK": options.stack,
    }
    return "".join(f" {name}={shlex.quote(v)}" for name, v in variables.items() if v)
