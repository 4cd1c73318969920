"""`make run`: the bot as Lambda would run it, with all that it needs around it.

The real package in a local Lambda behind a Function URL, its key behind a Secrets Manager's API,
Poe answered for by the stand-in; built and started again when the bot changes.
"""

import argparse
import asyncio
import errno
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from commands.arguments import Parser, chosen_bot, number, port
from commands.command import exit_with
from commands.running_bot import Packages, RunningBot
from commands.terminal.log_lines import LogPrinter
from commands.terminal.sources import with_own_names
from commands.terminal.text import say
from infra.aws.secret_members import KEY
from infra.package.bot_folder import BotFolder
from infra.toolchain.folders import BUILD
from infra.toolchain.private import private_folder
from infra.toolchain.pythons import runtime_python
from local.access_keys import AccessKeys
from local.aws_lambda.service import FunctionConfig, LocalLambda
from local.changes import Changes
from local.ports import HOST, own_port, port_in_use
from local.secrets_file import kept_key, misplaced, read_members, secrets_file
from local.secrets_manager import secret
from poe.client.access import DEFAULT_URL, kept_key_file
from poe.client.run_notes import RunNotes, keep_notes
from poe.client.served_bot import ServedBot, keep_keys
from poe.page.files import Files, file_client
from poe.page.server import ChatPage
from poe.page.token import NAME as TOKEN_FILE
from poe.page.token import kept_token
from poe.standin.standin import ANSWERS, PoeStandIn

API_KEY = "POE_API_KEY"
PASSED_ON = ("BOT_BLOCK_LIMIT",)  # to the function, when they are set
FOLDERS = BUILD / "run"
"""Has a folder for each port that a bot is served on."""
PORT = 9000
ANOTHER_PORT = "`make run PORT=9001`"
LEAST_MEMORY, MOST_MEMORY = 128, 10_240  # MB, Lambda's
DEFAULT_MEMORY = 512
MOST_CONCURRENCY = 1000


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
    parser.add_argument(
        "--snapstart", action="store_true", help="each start passes a snapshot, as with SnapStart"
    )
    parser.add_argument(
        "--concurrency",
        type=number("CONCURRENCY", 1, MOST_CONCURRENCY),
        default=1,
        help="messages at once in one process, as on Managed Instances (1)",
    )
    options = parser.parse_args(arguments)
    with own_port(options.port, private_folder(FOLDERS), ANOTHER_PORT):
        asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> None:
    """Until Ctrl-C. Raises UserError and BadMember."""
    began = time.monotonic()
    bot = chosen_bot(options)
    if remark := misplaced(bot):
        print(f"warning: {remark}", file=sys.stderr)
    keys = _keys(bot)
    packages = Packages(FOLDERS / str(options.port), bot)
    async with AsyncExitStack() as stack:
        stack.callback(packages.remove)
        changes = await stack.enter_async_context(Changes(bot))
        poe = _stand_in(bot, keys, packages.folder / "poe")
        served, package, python, _ = await asyncio.gather(
            stack.enter_async_context(secret(keys.members)),
            packages.build(),
            asyncio.to_thread(runtime_python),
            stack.enter_async_context(poe),
        )
        keys.on_change = served.put
        shown = {"BOT_DEBUG": "1"}  # errors with their texts: this is the author's own terminal
        shown |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        config = _config(options, package, python, served.environment | poe.environment | shown)
        page = _page(bot, poe, packages.folder, options.port + 1)
        # Left after the Lambda, when no answer is under way any more.
        await stack.enter_async_context(page)
        lines = LogPrinter(print, partial(with_own_names, bot=bot))
        function = LocalLambda(config, host=HOST, port=options.port, on_line=lines)
        try:
            await stack.enter_async_context(function)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise port_in_use(options.port, ANOTHER_PORT) from None  # since the command began
        offered = Offered(page, packages.folder, bot)
        remedy = partial(_remedy, secrets_file(bot))
        running = RunningBot(
            function, poe, lines, keys, offered, remedy, page.state.starting, offered.failed
        )
        await running.start()
        _greet(offered.bots, page.address, _manner(options), time.monotonic() - began)
        print(f"It reloads when a file in {bot.path} changes. Press Ctrl-C to stop everything.\n")
        await running.follow(changes, packages)


def _keys(bot: BotFolder) -> AccessKeys:
    """The secret's members: those of secrets.json, and an access key for every bot.

    POE_ACCESS_KEY in the environment takes precedence; POE_API_KEY there is for a bot that has no
    other. Raises UserError and BadMember.
    """
    members = _persons_key() | read_members(secrets_file(bot))
    kept = kept_key_file(bot)
    members[KEY] = kept_key(kept, os.environ.get(KEY, members.get(KEY)))
    return AccessKeys(members, kept.with_name("access-key-names.json"))


def _persons_key() -> dict[str, str]:
    """The key on Poe that this run was given in its environment, by its name; or nothing."""
    key = os.environ.get(API_KEY, "").strip()
    return {API_KEY: key} if key else {}


def _stand_in(bot: BotFolder, keys: AccessKeys, folder: Path) -> PoeStandIn:
    return PoeStandIn(
        access_key=keys.value(KEY),
        api_key=_persons_key().get(API_KEY),
        personal_key=keys.members.get(API_KEY, "").strip() or None,
        answers=bot.path / ANSWERS,
        folder=folder,
        on_line=say,
    )


def _config(
    options: argparse.Namespace, package: Path, python: Path, environment: dict[str, str]
) -> FunctionConfig:
    return FunctionConfig(
        package,
        python,
        environment=environment,
        memory_mb=options.memory or DEFAULT_MEMORY,
        cpu_share=options.memory is not None,
        snapstart=options.snapstart,
        concurrency=options.concurrency,
    )


def _page(bot: BotFolder, poe: PoeStandIn, folder: Path, port: int) -> ChatPage:
    token = kept_token(kept_key_file(bot).with_name(TOKEN_FILE))
    files = Files(partial(file_client, poe), own=[f"http://{HOST}:{port - 1}"])
    return ChatPage(
        [],
        token=token,
        folder=folder / "page",
        files=files,
        port=port,
        name=str(bot.file),
        rename=partial(with_own_names, bot=bot),
    )


def _remedy(secrets: Path, name: str) -> str:
    hint = " (the stand-in for Poe takes any value)" if name == API_KEY else ""
    return f'. Add {name} to {secrets}, as {{"{name}": "…"}}{hint}, and run `make run` again'


@dataclass
class Offered:
    """The bots that run, for the page, `make chat` and the user. A change brings others."""

    page: ChatPage
    folder: Path
    bot: BotFolder
    bots: Sequence[ServedBot] = ()

    def __call__(self, bots: Sequence[ServedBot]) -> None:
        self.page.serve(bots)
        keep_keys(self.folder / "access-keys.json", bots)
        self._note()
        new = [bot for bot in bots if bot not in self.bots]
        if self.bots and new:
            print("\n" + "\n".join(map(_introduction, new)))
        self.bots = bots

    def failed(self, problem: str) -> None:
        """Let the page and `make chat` know why the last change isn't served."""
        self.page.state.broken(problem)
        self._note(problem)

    def _note(self, problem: str = "") -> None:
        keep_notes(self.folder, RunNotes(str(self.bot.path), str(self.bot.file), problem))


def _manner(options: argparse.Namespace) -> str:
    """How it runs where that isn't as usual, for the middle of a sentence."""
    if options.concurrency > 1:
        return f", up to {options.concurrency} messages at once in one process"
    return ", each start from an imitated snapshot" if options.snapstart else ""


def _greet(bots: Sequence[ServedBot], page: str, manner: str, seconds: float) -> None:
    bot_or_bots = "bot runs" if len(bots) == 1 else "bots run"
    print(f"\nYour {bot_or_bots} on a local Lambda{manner} (ready in {seconds:.1f} s).\n")
    print("\n".join(map(_introduction, bots)))
    print(f"  Chat page   {page}        (in a browser)\n")
    if _persons_key():
        print(f"Calls to other bots go to Poe, and {API_KEY}'s owner pays for them.")


def _introduction(bot: ServedBot) -> str:
    chat = "make chat" if bot.url == DEFAULT_URL else f"make chat URL={bot.url}"
    return (
        f"  URL         {bot.url}\n"
        f"  Access key  {bot.key}\n"
        f"  Next        {chat}        (in another terminal)\n"
    )


if __name__ == "__main__":
    exit_with(main, interrupted="Stopped.", runs_until_stopped=True)
