"""A bot that runs in the local Lambda next to the stand-in for Poe: its starts and its packages."""

import asyncio
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from commands.terminal.log_lines import LogPrinter
from commands.terminal.text import continued
from infra.package.bot_folder import BotFolder
from infra.package.build import build
from infra.package.target import Target
from infra.toolchain.errors import UserError
from infra.toolchain.private import private_folder
from local.aws_lambda.service import InitError, LocalLambda
from local.changes import Changes
from poe.standin.declared import BadSettings
from poe.standin.standin import PoeStandIn

POES_PATIENCE = 5  # seconds until the first byte of an answer
_INDENT = "  "


@dataclass(frozen=True)
class RunningBot:
    """A bot under way. `remedy` tells what to do about a variable that the bot lacks, by its name;
    the text follows the error."""

    function: LocalLambda
    poe: PoeStandIn
    lines: LogPrinter
    remedy: Callable[[str], str] = lambda name: ""

    async def start(self) -> None:
        """Start the bot, and let Poe know its settings. Raises UserError."""
        began = time.monotonic()
        try:
            with self.lines.without_failed_starts():
                self.poe.prepare()  # while the bot starts, on another processor
                await self.function.warm()
        except InitError as error:
            missing = re.match(r"KeyError: '([A-Z][A-Z0-9_]*)'", error.message)
            remedy = self.remedy(missing[1]) if missing else ""
            raise UserError(f"the bot doesn't start: {error.message}{remedy}") from None
        if remark := slow_start(time.monotonic() - began):
            print(f"warning: {remark}")
        try:
            await self.poe.refresh_settings()
        except BadSettings as error:
            print(f"warning: {continued(str(error), _INDENT)}")

    async def follow(self, changes: Changes, packages: "Packages") -> None:
        """Build and start the bot again after each change, for ever. Raises UserError where the
        folder can't be watched."""
        while True:
            await changes.next()
            began = time.monotonic()
            try:
                package = await packages.build()
                await self.function.replace(replace(self.function.config, package=package))
                await self.start()
            except UserError as error:
                print(f"error: {continued(str(error), _INDENT)}")
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


def slow_start(seconds: float) -> str:
    """A remark on a start that Poe would not wait for, or nothing."""
    if seconds < POES_PATIENCE:
        return ""
    return (
        f"the start took {seconds:.1f} s, and Poe waits {POES_PATIENCE} s for an answer: import and"
        " load less at the start"
    )
