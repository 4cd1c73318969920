"""A bot that runs in the local Lambda next to the stand-in for Poe: its starts and its packages."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from urllib.parse import urljoin

from commands import slow_start
from commands.slow_start import MEASURING
from commands.terminal.log_lines import LogPrinter, StartedBot
from commands.terminal.text import continued
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.errors import UserError
from infra.toolchain.private import private_folder
from local.access_keys import AccessKeys
from local.aws_lambda.invocation import InitTimeout
from local.aws_lambda.service import FunctionConfig, InitError, LocalLambda
from local.changes import Changes
from poe.client.served_bot import ServedBot
from poe.standin.declared import BadSettings
from poe.standin.standin import PoeStandIn

_INDENT = "  "


@dataclass(frozen=True)
class RunningBot:
    """The bots of one file, under way.

    keys        where their access keys are, by the names of the secret's members
    on_bots     gets the bots after each start, which shows which there are
    remedy      what to do about a variable that is missing, by its name; follows the error
    on_change   called when a change is about to be built and started
    on_failure  gets the reason if that fails, as the terminal shows it
    """

    function: LocalLambda
    poe: PoeStandIn
    lines: LogPrinter
    keys: AccessKeys
    on_bots: Callable[[Sequence[ServedBot]], object]
    remedy: Callable[[str], str] = lambda name: ""
    on_change: Callable[[], object] = lambda: None
    on_failure: Callable[[str], object] = lambda reason: None
    _measuring: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def start(self, package: Path | None = None) -> None:
        """Start the bots, with another package where one is given, and let Poe know their
        settings. Raises UserError, and then what ran before goes on."""
        config = self.function.config
        if package:
            config = replace(config, package=package)
        with self.lines.without_failed_starts():
            self.poe.prepare()  # while the bot starts, on another processor
            bots = await self._start_with_keys(config)
        self.poe.serve({bot.key: bot.settings for bot in bots})
        self.on_bots(bots)
        try:
            await self.poe.refresh_settings()
        except BadSettings as error:
            print(f"warning: {continued(str(error), _INDENT)}")

    async def _start_with_keys(self, config: FunctionConfig) -> list[ServedBot]:
        """Start the bots, with a key created for each that needs one. Raises UserError."""
        created: dict[str, InitError] = {}
        while error := await self._failed_start(config):
            missing = filter(None, [missing_variable(error), *missing_settings(error)])
            name = next(filter(self.keys.create, missing), None)
            if name is None:
                raise self._failure(error)
            created[name] = error
        bots = self.lines.bots
        used = {bot.key_name for bot in bots if bot.key_name}
        self.keys.keep(used)
        for name, error in created.items():
            if name not in used:  # so the bot wants it for something else
                raise self._failure(error)
            print(f"{name} isn't in secrets.json: an access key was created for local runs.")
        return self._served()

    def _served(self) -> list[ServedBot]:
        url, bots = self.function.url, self.lines.bots
        return [ServedBot(urljoin(url, bot.path), self.keys.value(bot.key_name)) for bot in bots]

    def use_keys(self, keys: Mapping[str, str]) -> None:
        """The secret has these keys now, by the names of its members. An environment that runs may
        call Poe with an old one until it reads the secret again."""
        before = self._served()
        self.keys.members = {**self.keys.members, **keys}
        after = self._served()
        if after != before:
            self.poe.serve({bot.key: bot.settings for bot in (*before, *after)})
            self.on_bots(after)

    async def _failed_start(self, config: FunctionConfig) -> InitError | None:
        began = time.monotonic()
        self.lines.bots = [StartedBot()]
        if error := await failed_start(self.function, config):
            return error
        waits = not self.function.config.snapstart  # a user, for a start
        if waits and time.monotonic() - began >= slow_start.SLOW:
            self._measure_start()
        return None

    def _failure(self, error: InitError) -> UserError:
        name = missing_variable(error)
        remedy = self.remedy(name) if name else ""
        return UserError(f"{failure(error, self.lines)}{remedy}")

    def _measure_start(self) -> None:
        """Say what its imports took, once that is measured; the bot serves meanwhile."""

        async def measure() -> None:
            if remark := await slow_start.remark(self.function.config):
                print(f"warning: {remark}")

        for earlier in self._measuring:
            earlier.cancel()
        task = asyncio.create_task(measure())
        self._measuring.add(task)
        task.add_done_callback(self._measuring.discard)

    async def follow(self, changes: Changes, packages: "Packages") -> None:
        """Build and start the bot again after each change, for ever; while that fails, the bot
        goes on as it was. Raises UserError where the folder can't be watched."""
        while True:
            await changes.next()
            began = time.monotonic()
            self.on_change()
            try:
                await self.start(await packages.build())
            except UserError as error:
                print(f"error: {continued(str(error), _INDENT)}")
                print("The bot runs as it was before this change, until that is fixed.")
                self.on_failure(str(error))
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
        private_folder(folder)

    async def build(self) -> Path:
        """Raises UserError."""
        output = self.folder / f"package-{next(self._numbers)}"
        return await asyncio.to_thread(build, self._bot, Target.here(), output, deployable=False)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


async def failed_start(function: LocalLambda, config: FunctionConfig) -> InitError | None:
    """Start the function with `config`: why it doesn't start, or None. Raises UserError, with what
    takes longest, for a start that takes too long."""
    try:
        await function.warm(config)
    except InitTimeout as error:
        print(f"The start takes too long. Measuring its imports (up to {MEASURING:g} s)")
        slowest = await slow_start.remark(config)
        reasons = "; ".join(filter(None, (error.message, slowest)))
        raise UserError(f"the bot doesn't start: {reasons}") from None
    except InitError as error:
        return error
    return None


def failure(error: InitError, lines: LogPrinter) -> str:
    """Why the bot doesn't start, in the line that every command shows."""
    return f"the bot doesn't start: {lines.rename(error.message)}"


def missing_variable(error: InitError) -> str:
    """The name of the variable whose absence keeps the bot from starting, or nothing."""
    reason = r"KeyError: '|the bot on path .*: there is no access key: set "
    found = re.match(rf"(?:{reason})([A-Z][A-Z0-9_]*)\b", error.message)
    return found[1] if found else ""


def missing_settings(error: InitError) -> list[str]:
    """The variables that a class of pydantic-settings may miss: it names its own fields."""
    return [name.upper() for name in re.findall(r"^(\w+)\n +Field required", error.message, re.M)]
