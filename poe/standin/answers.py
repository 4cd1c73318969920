"""What the bots of the stand-in answer, as a file in the bot's folder tells it: poe_answers.toml.

    [[answer]]
    bot = "GPT-4"                  # which bot; without it, every bot
    when = "plan"                  # a regular expression found in the user's last message; optional
    json = {steps = ["buy", "cook"]}

Blocks with the same `bot` and `when` take turns, call by call. Otherwise the first block that fits
answers, and where none does, the stand-in's own models do.
"""

import asyncio
import json
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

from infra.toolchain.errors import UserError
from infra.toolchain.json_file import read_text
from poe.standin.models import WORD_SECONDS, Answer, ModelEvent, calls_of, error, paced, words
from poe.standin.question import Question
from poe.standin.uploads import AttachmentStore, guess_type

Seconds = Annotated[float, Field(ge=0, le=600)]


class BadAnswers(UserError):
    """The file can't be used: the text says where, and what is wrong."""


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class ToolCall(_Table):
    name: str
    arguments: dict[str, Any] = {}


class Block(_Table):
    """One answer. What it has is sent in this order: files, text or JSON, tool calls, the error."""

    bot: str | None = None
    when: re.Pattern[str] | None = None
    text: str | list[str] | None = None
    data: Annotated[Any, Field(alias="json")] = None
    tool_calls: list[ToolCall] = []
    files: list[str] = []
    error: str | None = None
    allow_retry: bool = True
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    after: Seconds = 0
    pause: Seconds = WORD_SECONDS

    @model_validator(mode="after")
    def _answers(self) -> Self:
        if self.text is not None and self.data is not None:
            raise ValueError("give either text or json")
        if not {"text", "data", "tool_calls", "files", "error"} & self.model_fields_set:
            raise ValueError("there is no text, json, tool_calls, files or error in it")
        return self

    @property
    def pieces(self) -> list[str]:
        if isinstance(self.text, list):
            return self.text
        whole = (
            json.dumps(self.data, ensure_ascii=False, default=str)
            if self.data is not None
            else self.text
        )
        return words(whole or "")

    def fits(self, bot: str, question: Question) -> bool:
        return self.bot in (None, bot) and (
            self.when is None or self.when.search(question.said) is not None
        )


class _File(_Table):
    answer: list[Block] = []


@dataclass
class _Turns:
    """Blocks that take turns: those with the same `bot` and `when`."""

    blocks: list[Block]
    made: int = 0

    def fits(self, bot: str, question: Question) -> bool:
        # A lone call of a tool would be made again and again in answer to its own result.
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
            self._say(f"poe: {fault}. Until then, the stand-in's own models answer")

    async def _play(self, block: Block) -> Answer:
        await asyncio.sleep(block.after)
        for name in block.files:
            yield self._attached(name)
        async for event in paced(block.pieces, block.pause):
            yield event
        if block.tool_calls:
            async for event in calls_of((call.name, call.arguments) for call in block.tool_calls):
                yield event
        if block.error is not None:
            yield error(block.error, allow_retry=block.allow_retry, status=block.status)

    def _attached(self, name: str) -> ModelEvent:
        path = self.file.parent / name
        url = self._store.add(path.name, path.read_bytes())
        return ModelEvent(
            "file",
            {"url": url, "content_type": guess_type(path.name), "name": path.name,
             "inline_ref": None},
        )  # fmt: skip


def parse(file: Path) -> list[Block]:
    """The blocks of the file. Raises BadAnswers."""
    try:
        blocks = _File.model_validate(tomllib.loads(read_text(file))).answer
    except tomllib.TOMLDecodeError as invalid:
        raise BadAnswers(f"{file} isn't TOML: {invalid}") from None
    except ValidationError as invalid:
        raise BadAnswers(
            f"{file}: {'; '.join(_fault(each) for each in invalid.errors())}"
        ) from None
    except UserError as unreadable:
        raise BadAnswers(str(unreadable)) from None
    except (OSError, ValueError, RecursionError) as unusable:  # gone by now; 1,000 brackets
        raise BadAnswers(f"{file} can't be used ({type(unusable).__name__})") from None
    for number, block in enumerate(blocks, 1):
        for name in block.files:
            if not (file.parent / name).is_file():
                raise BadAnswers(f"{file}: answer {number}: there is no file {name} in its folder")
    return blocks


def _fault(fault: "ErrorDetails") -> str:
    """ "answer 2: txt: Extra inputs are not permitted", without the value."""
    place = [part for part in fault["loc"] if part != "answer"]
    if place and isinstance(place[0], int):
        place[0] = f"answer {place[0] + 1}"
    return ": ".join([*map(str, place), fault["msg"].removeprefix("Value error, ")])


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
