"""The models of the stand-in for Poe: scripted, offline, the same at every run.

| bot's name     | what it answers                                                                |
| -------------- | ------------------------------------------------------------------------------ |
| `Echo`         | the user's last message, in one event                                          |
| `Words`        | numbered words at the pace that the message asks for, such as "20 words every  |
|                | 200 ms"; without one, 10 words every 100 ms                                    |
| `Long`         | 1,000 events at once, 60,000 characters                                        |
| `Slow`         | nothing for as long as the message asks, such as "after 2000 ms" (default      |
|                | 3 s), then a sentence                                                          |
| `Failing`      | an error that may not be retried                                               |
| `FailingMidway`| five words, then such an error                                                 |
| `Silent`       | neither text nor error, only `done`                                            |
| `NoSuchBot`    | Poe's error for a bot that does not exist                                      |
| any other name | a friendly sentence, one word every 30 ms, which names the model that it       |
|                | stands for and quotes the user's last message; with tools in the question, a   |
|                | call of the first one, in OpenAI's deltas; with results of tools, a sentence   |
|                | that quotes them                                                               |
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from poe.standin.question import Question, Tool

WORD_SECONDS = 0.03
NO_SUCH_BOT = "NoSuchBot"

_call_numbers = count(1)


@dataclass(frozen=True)
class ModelEvent:
    """One event of a model's answer: its name on the wire and its data. `status`: an error's in
    HTTP, where it isn't the usual one."""

    name: str
    data: Mapping[str, Any]
    status: int | None = None


Answer = AsyncIterator[ModelEvent]


def text(piece: str) -> ModelEvent:
    return ModelEvent("text", {"text": piece})


def error(reason: str, *, allow_retry: bool = False, status: int | None = None) -> ModelEvent:
    return ModelEvent("error", {"allow_retry": allow_retry, "text": reason}, status)


def answer(bot: str, question: Question) -> Answer:
    """The answer of the model called `bot`, at the model's own pace."""
    model = MODELS.get(bot)
    return model(question) if model else _friendly(bot, question)


def _friendly(bot: str, question: Question) -> Answer:
    if question.results:
        results = " and ".join(f"{name} gave {result}" for name, result in question.results)
        return paced(words(f"I asked the tools: {results}."))
    if question.tools:
        return _call_of(question.tools[0], question.said)
    sentence = f"Hello, I stand in for {bot} on your own machine. You said: {question.said}"
    return paced(words(sentence))


def words(whole: str) -> list[str]:
    """`whole` in pieces that end with a word each; together they are `whole`."""
    return re.findall(r"\s*\S+|\s+$", whole)


async def paced(pieces: Iterable[str], pause: float = WORD_SECONDS) -> Answer:
    """An event for each piece, with a pause between them, in seconds."""
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(pause)
        yield text(piece)


async def _echo(question: Question) -> Answer:
    yield text(question.said)


async def _words(question: Question) -> Answer:
    asked = re.search(r"(\d{1,4}) words? every (\d{1,5}) ?ms", question.said)
    total, pause_ms = map(int, asked.groups()) if asked else (10, 100)
    sentence = " ".join(f"word{number}" for number in range(1, total + 1))
    async for event in paced(words(sentence), pause_ms / 1000):
        yield event


async def _long(question: Question) -> Answer:
    for number in range(1, 1001):
        yield text(f"{number:4d} {'.' * 54}\n")


async def _slow(question: Question) -> Answer:
    asked = re.search(r"after (\d{1,6}) ?ms", question.said)
    await asyncio.sleep(int(asked[1]) / 1000 if asked else 3)
    yield text("Sorry to have kept you waiting.")


async def _failing(question: Question) -> Answer:
    yield error("This model fails, as it is meant to.")


async def _failing_midway(question: Question) -> Answer:
    async for event in paced(words("These five words come before")):
        yield event
    yield error("This model fails midway, as it is meant to.")


async def _silent(question: Question) -> Answer:
    return
    yield  # What makes this function a generator.


async def _no_such_bot(question: Question) -> Answer:
    yield error(f"Bot {NO_SUCH_BOT} does not exist.", status=404)


def _call_of(tool: Tool, said: str) -> Answer:
    return calls_of(
        [(tool.name, {name: _argument(kind, said) for name, kind in tool.properties.items()})]
    )


async def calls_of(calls: Iterable[tuple[str, Mapping[str, Any]]]) -> Answer:
    """Calls of tools, each by its name and arguments, as OpenAI's chat completions stream them:
    the arguments in two pieces."""
    for index, (name, values) in enumerate(calls):
        arguments = json.dumps(values)
        half = len(arguments) // 2
        function = {"name": name, "arguments": ""}
        head = {"id": f"call_{next(_call_numbers)}", "type": "function", "function": function}
        yield _delta({"index": index, **head})
        for piece in (arguments[:half], arguments[half:]):
            yield _delta({"index": index, "function": {"arguments": piece}})
    choice = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    yield ModelEvent("json", {"choices": [choice]})


def _delta(call: Mapping[str, Any]) -> ModelEvent:
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    return ModelEvent("json", {"choices": [choice]})


def _argument(schema: object, said: str) -> Any:
    """A value that fits a property's JSON schema: the enum's first, else one by its type."""
    known = schema if isinstance(schema, Mapping) else {}
    if known.get("enum"):
        return known["enum"][0]
    by_type = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
    return by_type.get(known.get("type", "string"), said)


MODELS: Mapping[str, Callable[[Question], Answer]] = {
    "Echo": _echo,
    "Words": _words,
    "Long": _long,
    "Slow": _slow,
    "Failing": _failing,
    "FailingMidway": _failing_midway,
    "Silent": _silent,
    NO_SUCH_BOT: _no_such_bot,
}
