"""The file that defines what the bots of the stand-in answer: poe_answers.toml in a bot's folder.

[[answer]]
bot = "GPT-4"                  # which bot; without it, every bot
when = "plan"                  # a regular expression found in the user's last message; optional
json = {steps = ["buy", "cook"]}
"""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

from infra.toolchain.errors import UserError
from infra.toolchain.json_file import read_text
from poe.standin.models import WORD_SECONDS, words
from poe.standin.question import Question

Seconds = Annotated[float, Field(ge=0, le=600)]


class BadAnswers(UserError):
    """The file can't be used: the text names the place and the mistake."""


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


def parse(file: Path) -> list[Block]:
    """The blocks of the file. Raises BadAnswers."""
    try:
        blocks = _File.model_validate(tomllib.loads(read_text(file))).answer
    except tomllib.TOMLDecodeError as invalid:
        raise BadAnswers(f"{file} isn't TOML: {invalid}") from None
    except ValidationError as invalid:
        raise BadAnswers(f"{file}: {_fault(invalid.errors()[0])}") from None
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
    """Where it is and what is wrong, such as "answer 2: text: Input should be a valid string"."""
    match fault["loc"]:
        case ("answer", int(number), *place):
            where = [f"answer {number + 1}", *_shown(place)]
        case place:
            return f"`{place[0]}` isn't known here: begin each answer with [[answer]]"
    if fault["type"] == "extra_forbidden":
        *where, name = where
        table = Block if len(where) == 1 else ToolCall
        return f"{': '.join(where)}: `{name}` isn't one of {', '.join(_keys(table))}"
    return ": ".join([*where, fault["msg"].removeprefix("Value error, ")])


def _keys(table: type[_Table]) -> list[str]:
    return [field.alias or name for name, field in table.model_fields.items()]


def _shown(place: Iterable[object]) -> list[str]:
    """Without the names of types, which pydantic gives where a value may have one of several."""
    return [str(part) for part in place if part not in ("str", "list[str]")]
