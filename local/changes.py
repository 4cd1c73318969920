"""Changes in a bot's folder that need a new package."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from watchfiles import Change, awatch

from infra.package.bot_folder import BotFolder
from infra.toolchain.errors import UserError

# They don't ship, but what they name does. Our own lock isn't among them.
REQUIREMENTS = ("requirements*.txt", "requirements*.in", "pyproject.toml")


class Changes:
    """Notes changes of what ships from `async with` on, so that one during a build is not missed.

    async with Changes(bot) as changes:
        await build()
        while True:
            await changes.next()
            await build()
    """

    def __init__(self, bot: BotFolder) -> None:
        self._bot = bot
        self._noted = asyncio.Event()
        self._failure: Exception | None = None
        self._tasks = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._watch(self._bot.path, recursive=True)
        if self._bot.bot_file and not self._bot.bot_file.is_relative_to(self._bot.path):
            # Its folder: editors put a new file in the place of the old one.
            self._watch(self._bot.bot_file.parent, recursive=False)
        await asyncio.sleep(0)  # a watch begins in its task's first step
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._tasks.aclose()

    async def next(self) -> None:
        """Return at once if anything changed since the last call, else when it does.

        Raises UserError where this machine can't watch the folder.
        """
        await self._noted.wait()
        if self._failure:
            raise UserError(
                f"changes of {self._bot.path} can't be watched ({self._failure}): raise this"
                " machine's limit of file watches, and run the same command again"
            ) from None
        self._noted.clear()

    def _watch(self, folder: Path, *, recursive: bool) -> None:
        task = asyncio.create_task(self._note(folder, recursive))
        self._tasks.push_async_callback(_cancelled, task)

    async def _note(self, folder: Path, recursive: bool) -> None:
        try:
            async for _ in awatch(folder, watch_filter=self._filter, recursive=recursive):
                self._noted.set()
        except (OSError, RuntimeError) as error:  # such as the limit of inotify
            self._failure = error
            self._noted.set()

    def _filter(self, change: Change, path: str) -> bool:
        return self.affect(Path(path))

    def affect(self, file: Path) -> bool:
        """Whether a change of `file` changes the package."""
        names_libraries = file.parent.resolve() == self._bot.path.resolve() and any(
            file.match(name) for name in REQUIREMENTS
        )
        return names_libraries or self._bot.ships(file)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
