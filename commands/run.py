"""`make run`: the bot as Lambda would run it, with all that it needs around it.

The real package in a local Lambda behind a Function URL, its key in a real Secrets Manager API,
Poe answered for by the stand-in; built and started anew when the bot changes.
"""

import argparse
import asyncio
import os
import re
import secrets
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

from watchfiles import Change, awatch

from commands.arguments import Parser, number, port
from commands.command import run_command
from commands.terminal.log_lines import Lines
from infra.aws.secret_members import KEY
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.errors import UserError
from infra.toolchain.folders import BUILD
from infra.toolchain.pythons import runtime_python
from local.aws_lambda.service import FunctionConfig, InitError, LocalLambda
from local.secrets_file import SECRETS_FILE, read_members, with_keys
from local.secrets_manager import secret
from poe.client.access import DEFAULT_URL
from poe.client.served_bot import ServedBot, declared_bots, keep_keys
from poe.page.server import ChatPage, file_client
from poe.standin.declared import BadSettings
from poe.standin.standin import PoeStandIn

HOST = "127.0.0.1"
PORT = 9000
KEY_FILE = BUILD / "run" / "access-key"
LEAST_MEMORY, MOST_MEMORY = 128, 10_240  # MB, Lambda's
DEFAULT_MEMORY = 512
KEY_LENGTH = 32  # characters, as Poe's own


def main(arguments: Sequence[str] | None = None) -> None:
    """Raises UserError."""
    parser = Parser(prog="make run", description=__doc__)
    parser.add_argument("--port", type=port, default=PORT, help=f"of the Function URL ({PORT})")
    parser.add_argument("--bot-file", help="takes the place of the folder's bot.py")
    parser.add_argument(
        "--memory",
        type=number("MEMORY", LEAST_MEMORY, MOST_MEMORY, " MB"),
        metavar="MB",
        help="as Lambda would give it, with its share of CPU",
    )
    parser.add_argument(
        "--secrets",
        type=Path,
        default=SECRETS_FILE,
        help="holds further members of the bot's secret (%(default)s)",
    )
    asyncio.run(_run(parser.parse_args(arguments)))


async def _run(options: argparse.Namespace) -> None:
    port, memory = options.port, options.memory
    began = time.monotonic()
    _require_free(port)
    bot = BotFolder.at(None, options.bot_file)
    declared = declared_bots(bot.file)
    members = secret_members(options.secrets, [bot.key_name for bot in declared])
    packages = Packages(BUILD / "run" / str(port), bot)
    bots = [ServedBot(f"http://{HOST}:{port}{b.path}", members[b.key_name]) for b in declared]
    async with AsyncExitStack() as stack:
        stack.callback(packages.remove)
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
        lines = Lines(print)
        function = await stack.enter_async_context(
            LocalLambda(config, host=HOST, port=port, on_line=lines)
        )
        bench = Bench(function, poe, packages, lines)
        await bench.start()
        _greet(bots, page.url, time.monotonic() - began)
        await bench.follow_changes()


@dataclass(frozen=True)
class Bench:
    """What a change of the bot touches."""

    function: LocalLambda
    poe: PoeStandIn
    packages: "Packages"
    lines: Lines

    async def start(self) -> None:
        """Start the bot, and let Poe know its settings. Raises UserError."""
        try:
            with self.lines.without_failed_starts():
                self.poe.prepare()  # while the bot starts, on another processor
                await self.function.warm()
        except InitError as error:
            cure = _cure(error.message)
            raise UserError(f"the bot does not start: {error.message}{cure}") from None
        try:
            await self.poe.refresh_settings()
        except BadSettings as error:
            print(f"warning: {error}")

    async def follow_changes(self) -> None:
        packages = self.packages
        async for _ in awatch(
            *packages.watched, watch_filter=packages.is_changed_by, raise_interrupt=False
        ):
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
        self._bot = bot
        self._numbers = count(1)
        self.remove()  # what a run left that could not clean up

    @property
    def watched(self) -> list[Path]:
        return [self._bot.path, *([self._bot.bot_file] if self._bot.bot_file else [])]

    def is_changed_by(self, change: Change, path: str) -> bool:
        return self._bot.ships(Path(path))

    async def build(self) -> Path:
        """Raises UserError."""
        output = self.folder / f"package-{next(self._numbers)}"
        return await asyncio.to_thread(build, self._bot, Target.here(), output)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def access_key(file: Path, given: str | None) -> str:
    """The key that is kept in `file`, from run to run: a tunnel's bot on Poe goes on working.

    `given` (POE_ACCESS_KEY) replaces it: the key of Poe's form, for a bot that is there already.
    """
    if given is not None and len(given.strip()) != KEY_LENGTH:
        raise UserError(f"POE_ACCESS_KEY has to be {KEY_LENGTH} characters long, as Poe shows it")
    kept = file.read_text().strip() if file.exists() else ""
    key = (given or kept).strip()
    if len(key) != KEY_LENGTH:
        key = secrets.token_hex(KEY_LENGTH // 2)
    if key != kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(f"{key}\n")
    return key


def secret_members(file: Path, key_names: Sequence[str]) -> dict[str, str]:
    """The secret's members: those in `file`, and an access key for every bot. Raises UserError."""
    members = read_members(file)
    members[KEY] = access_key(KEY_FILE, os.environ.get(KEY, members.get(KEY)))
    return with_keys(members, members[KEY], key_names)


def _cure(message: str) -> str:
    """What to do about a variable that the bot misses, if that is what keeps it from starting."""
    missing = re.match(r"KeyError: '([A-Z][A-Z0-9_]*)'", message)
    if missing is None:
        return ""
    return (
        f'. Put {missing[1]} into {SECRETS_FILE.name}, as {{"{missing[1]}": "…"}}, and start '
        "`make run` again"
    )


def _require_free(port: int) -> None:
    """Raise UserError before the seconds of a start, if the port is in use."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
    except (OSError, OverflowError):
        raise UserError(
            f"port {port} is in use: end what uses it, or choose another with `make run PORT=9001`"
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
    print("It reloads when a file of the bot's folder changes. Ctrl-C ends everything.\n")


if __name__ == "__main__":
    sys.exit(run_command(main, interrupted="Stopped.", runs_until_stopped=True))
