"""`make run`: the bot as Lambda would run it, with all that it needs around it.

The real package in a local Lambda behind a Function URL, its key behind a Secrets Manager's API,
Poe answered for by the stand-in; built and started again when the bot changes.
"""

import argparse
import asyncio
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

from commands.arguments import Parser, chosen_bot, number, port
from commands.command import exit_with
from commands.terminal.log_lines import LogPrinter
from infra.aws.secret_members import KEY
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD
from infra.toolchain.pythons import runtime_python
from local.aws_lambda.service import FunctionConfig, InitError, LocalLambda
from local.changes import Changes
from local.secrets_file import kept_key, misplaced, read_members, secrets_file, with_keys
from local.secrets_manager import secret
from poe.client.access import DEFAULT_URL, kept_key_file
from poe.client.served_bot import ServedBot, declared_bots, keep_keys
from poe.page.server import ChatPage, file_client
from poe.standin.declared import BadSettings
from poe.standin.standin import PoeStandIn

HOST = "127.0.0.1"
PORT = 9000
LEAST_MEMORY, MOST_MEMORY = 128, 10_240  # MB, Lambda's
DEFAULT_MEMORY = 512
POES_PATIENCE = 5  # seconds until the first byte of an answer


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make run", description=__doc__)
    parser.add_argument("--port", type=port, default=PORT, help=f"of the Function URL ({PORT})")
    parser.add_bot()
    parser.add_argument(
        "--memory",
        type=number("MEMORY", LEAST_MEMORY, MOST_MEMORY, " MB"),
        metavar="MB",
        help="as Lambda would give it, with its share of CPU",
    )
    asyncio.run(_run(parser.parse_args(arguments)))


async def _run(options: argparse.Namespace) -> None:
    port, memory = options.port, options.memory
    began = time.monotonic()
    _require_free(port)
    bot = chosen_bot(options)
    if remark := misplaced(bot):
        print(f"warning: {remark}", file=sys.stderr)
    declared = declared_bots(bot.file)
    members = _secret(bot, [each.key_name for each in declared])
    packages = Packages(BUILD / "run" / str(port), bot)
    bots = [ServedBot(f"http://{HOST}:{port}{b.path}", members[b.key_name]) for b in declared]
    async with AsyncExitStack() as stack:
        stack.callback(packages.remove)
        changes = await stack.enter_async_context(Changes(bot))
        keep_keys(packages.folder / "access-keys.json", declared, members)
        poe = PoeStandIn(
            access_key=bots[0].key,
            settings=bots[0].settings,
            more_bots={bot.key: bot.settings for bot in bots[1:]},
            api_key=os.environ.get("POE_API_KEY"),
            folder=packages.folder / "poe",
            on_line=print,
        )
        made, package, python, _ = await asyncio.gather(
            stack.enter_async_context(secret(members)),
            packages.build(),
            asyncio.to_thread(runtime_python),
            stack.enter_async_context(poe),
        )
        config = FunctionConfig(
            package,
            python,
            environment=made.environment | poe.environment,
            memory_mb=memory or DEFAULT_MEMORY,
            cpu_share=memory is not None,
        )
        files = partial(file_client, poe)
        page = ChatPage(bots, folder=packages.folder / "page", files=files, port=port + 1)
        # Left after the Lambda, when no answer is under way any more.
        await stack.enter_async_context(page)
        lines = LogPrinter(print)
        function = await stack.enter_async_context(
            LocalLambda(config, host=HOST, port=port, on_line=lines)
        )
        running = RunningBot(function, poe, packages, lines)
        await running.start()
        _greet(bots, page.url, time.monotonic() - began)
        print(f"It reloads when a file in {bot.path} changes. Press Ctrl-C to stop everything.\n")
        await running.follow(changes)


@dataclass(frozen=True)
class RunningBot:
    """A bot under way, with what a change of it touches."""

    function: LocalLambda
    poe: PoeStandIn
    packages: "Packages"
    lines: LogPrinter

    async def start(self) -> None:
        """Start the bot, and let Poe know its settings. Raises UserError."""
        began = time.monotonic()
        try:
            with self.lines.without_failed_starts():
                self.poe.prepare()  # while the bot starts, on another processor
                await self.function.warm()
        except InitError as error:
            remedy = _remedy(error.message, secrets_file(self.packages.bot))
            raise UserError(f"the bot doesn't start: {error.message}{remedy}") from None
        if remark := slow_start(time.monotonic() - began):
            print(f"warning: {remark}")
        try:
            await self.poe.refresh_settings()
        except BadSettings as error:
            print(f"warning: {error}")

    async def follow(self, changes: Changes) -> None:
        """Build and start the bot again after each change, for ever. Raises UserError where the
        folder can't be watched."""
        while True:
            await changes.next()
            began = time.monotonic()
            try:
                package = await self.packages.build()
                await self.function.replace(replace(self.function.config, package=package))
                await self.start()
            except UserError as error:
                print(f"error: {error}")
            else:
                print(f"Reloaded in {time.monotonic() - began:.1f} s.")


class Packages:
    """One package after another, each in a folder of its own: an environment that still answers
    keeps the one that it began with."""

    def __init__(self, folder: Path, bot: BotFolder) -> None:
        self.folder = folder
        self.bot = bot
        self._numbers = count(1)
        self.remove()  # what a run left that could not clean up

    async def build(self) -> Path:
        """Raises UserError."""
        output = self.folder / f"package-{next(self._numbers)}"
        return await asyncio.to_thread(build, self.bot, Target.here(), output)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _secret(bot: BotFolder, key_names: Sequence[str]) -> dict[str, str]:
    """The secret's members: those of secrets.json, and an access key for every bot.

    POE_ACCESS_KEY in the environment takes precedence. Raises UserError and BadMember.
    """
    members = read_members(secrets_file(bot))
    given = os.environ.get(KEY, members.get(KEY))
    members[KEY] = kept_key(kept_key_file(bot), given)
    return with_keys(members, members[KEY], key_names)


def _remedy(message: str, secrets: Path) -> str:
    """What to do about a variable that the bot misses, if that is what keeps it from starting."""
    missing = re.match(r"KeyError: '([A-Z][A-Z0-9_]*)'", message)
    if missing is None:
        return ""
    return f'. Add {missing[1]} to {secrets}, as {{"{missing[1]}": "…"}}, and run `make run` again'


def slow_start(seconds: float) -> str:
    """A remark on a start that Poe would not wait for, or nothing."""
    if seconds < POES_PATIENCE:
        return ""
    return (
        f"the start took {seconds:.1f} s, and Poe waits {POES_PATIENCE} s for an answer: import and"
        " load less at the start"
    )


def _require_free(port: int) -> None:
    """Raise UserError before the seconds of a start, if the port is in use."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError):
        raise UserError(
            f"port {port} is in use: stop what uses it, or choose another with `make run PORT=9001`"
        ) from None


def _greet(bots: Sequence[ServedBot], page: str, seconds: float) -> None:
    bot_or_bots = "bot runs" if len(bots) == 1 else "bots run"
    print(f"\nYour {bot_or_bots} on a local Lambda (ready in {seconds:.1f} s).\n")
    for bot in bots:
        chat = "make chat" if bot.url == DEFAULT_URL else f"make chat URL={bot.url}"
        print(
            f"  URL         {bot.url}\n"
            f"  Access key  {bot.key}\n"
            f"  Next        {chat}        (in another terminal)\n"
        )
    print(f"  Chat page   {page}        (in a browser)\n")


if __name__ == "__main__":
    exit_with(main, interrupted="Stopped.", runs_until_stopped=True)
