"""What the bots of the stand-in answer, as a file in the bot's folder defines it.

Blocks with the same `bot` and `when` take turns, call by call. Otherwise the first block that fits
answers, and where none does, the stand-in's own models do.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from poe.standin.answers_file import BadAnswers, Block, parse
from poe.standin.models import Answer, ModelEvent, calls_of, error, paced
from poe.standin.question import Question
from poe.standin.uploads import AttachmentStore, guess_type


@dataclass
class _Turns:
    """Blocks that take turns: those with the same `bot` and `when`."""

    blocks: list[Block]
    made: int = 0

    def fits(self, bot: str, question: Question) -> bool:
        # A lone call of a tool would be repeated forever, in answer to its own result.
        asks_again = len(self.blocks) == 1 and self.blocks[0].tool_calls and question.results
        return self.blocks[0].fits(bot, question) and not asks_again

    def next(self) -> Block:
        block = self.blocks[self.made % len(self.blocks)]
        self.made += 1
        return block


class Answers:
    """The answers in `file`, as it is at each call; there may be none.

    `say` gets a line for each version of it that can't be used; no answers are in that one.
    """

    def __init__(
        self, file: Path, store: AttachmentStore, say: Callable[[str], object] = print
    ) -> None:
        self.file = file
        self._store = store
        self._say = say
        self._version: tuple[int, ...] | None = None
        self._turns: list[_Turns] = []

    def find(self, bot: str, question: Question) -> Answer | None:
        """The answer of the first block that fits, or none."""
        self.refresh()
        fitting = (turns for turns in self._turns if turns.fits(bot, question))
        turns = next(fitting, None)
        return self._play(turns.next()) if turns else None

    def names(self) -> list[str]:
        """The bots that the file names."""
        self.refresh()
        names = [block.bot for turns in self._turns for block in turns.blocks if block.bot]
        return [*dict.fromkeys(names)]

    def refresh(self) -> None:
        """Read the file if it changed. The turns begin again."""
        version = _version(self.file)
        if version == self._version:
            return
        self._version, self._turns = version, []
        try:
            self._turns = _grouped(parse(self.file)) if version else []
        except BadAnswers as fault:
            self._say(f"poe: {fault}. Until that is fixed, the usual stand-ins answer")

    async def _play(self, block: Block) -> Answer:
        await asyncio.sleep(block.after)
        for event in map(self._attached, block.files):
            if event:
                yield event
        async for event in paced(block.pieces, block.pause):
            yield event
        if block.tool_calls:
            async for event in calls_of((call.name, call.arguments) for call in block.tool_calls):
                yield event
        if block.error is not None:
            yield error(block.error, allow_retry=block.allow_retry, status=block.status)

    def _attached(self, name: str) -> ModelEvent | None:
        path = self.file.parent / name
        try:
            url = self._store.add(path.name, path.read_bytes())
        except OSError as unreadable:  # it was there when the answers were read
            self._say(f"poe: {path} isn't attached: {unreadable.strerror}")
            return None
        return ModelEvent(
            "file",
            {"url": url, "content_type": guess_type(path.name), "name": path.name,
             "inline_ref": None},
        )  # fmt: skip


def _grouped(blocks: Iterable[Block]) -> list[_Turns]:
    groups: dict[tuple[str | None, str | None], _Turns] = {}
    for block in blocks:
        key = (block.bot, block.when.pattern if block.when else None)
        groups.setdefault(key, _Turns([])).blocks.append(block)
    return [*groups.values()]


def _version(file: Path) -> tuple[int, ...] | None:
    """What changes with the file's content; None where it is missing."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
