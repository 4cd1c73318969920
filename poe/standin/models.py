"""The models of the stand-in for Poe: scripted, offline, the same at every run.

| bot's name     | what it answers                                                                |
| -------------- | ------------------------------------------------------------------------------ |
| `Echo`         | the user's last message, in one event                                          |
| `Words`        | numbered words at the pace that the message asks for, such as "20 words every  |
|                | 200 ms"; without one, 10 words every 100 ms                                    |
| `Long`         | 1,000 events at once, 60,000 characters                                        |
| `Slow`         | nothing for as long as the message says, such as "after 2000 ms" (default      |
|                | 3 s), then a sentence                                                          |
| `Failing`      | an error that may not be retried                                               |
| `FailingMidway`| five words, then such an error                                                 |
| `Silent`       | neither text nor error, only `done`                                            |
| `NoSuchBot`    | Poe's error for a bot that does not exist                                      |
| any other name | a friendly sentence, one word every 30 ms, which names the model that it       |
|                | stands for and quotes the user's last message; with `tools` in the query, a    |
|                | call of the first one, in OpenAI's deltas; with `tool_results`, a sentence     |
|                | that quotes them                                                               |
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi_poe.types import QueryRequest, ToolDefinition

WORD_SECONDS = 0.03


@dataclass(frozen=True)
class ModelEvent:
    """One event of a model's answer: its name on the wire and its data."""

    name: str
    data: Mapping[str, Any]


Answer = AsyncIterator[ModelEvent]


def text(piece: str) -> ModelEvent:
    return ModelEvent("text", {"text": piece})


def error(reason: str, *, allow_retry: bool = False) -> ModelEvent:
    return ModelEvent("error", {"allow_retry": allow_retry, "text": reason})


async def answer(bot: str, query: QueryRequest) -> Answer:
    """The whole answer of the model called `bot`, `done` included, at the model's own pace."""
    model = MODELS.get(bot)
    async for event in model(query) if model else _friendly(bot, query):
        yield event
    yield ModelEvent("done", {})


def last_message(query: QueryRequest) -> str:
    """What the user said last; empty if the query has no message by a user."""
    return next((m.content for m in reversed(query.query) if m.role == "user"), "")


def _friendly(bot: str, query: QueryRequest) -> Answer:
    said = last_message(query)
    if query.tool_results:
        results = " and ".join(f"{r.name} gave {r.content}" for r in query.tool_results)
        return _word_by_word(f"I asked the tools: {results}.", WORD_SECONDS)
    if query.tools:
        return _call_of(query.tools[0], said)
    sentence = f"Hello, I stand in for {bot} on your own machine. You said: {said}"
    return _word_by_word(sentence, WORD_SECONDS)


async def _word_by_word(sentence: str, seconds: float) -> Answer:
    for number, word in enumerate(re.findall(r"\s*\S+", sentence)):
        if number:
            await asyncio.sleep(seconds)
        yield text(word)


async def _echo(query: QueryRequest) -> Answer:
    yield text(last_message(query))


async def _words(query: QueryRequest) -> Answer:
    asked = re.search(r"(\d{1,4}) words? every (\d{1,5}) ?ms", last_message(query))
    count, pause_ms = map(int, asked.groups()) if asked else (10, 100)
    sentence = " ".join(f"word{number}" for number in range(1, count + 1))
    async for event in _word_by_word(sentence, pause_ms / 1000):
        yield event


async def _long(query: QueryRequest) -> Answer:
    for number in range(1, 1001):
        yield text(f"{number:4d} {'.' * 54}\n")


async def _slow(query: QueryRequest) -> Answer:
    asked = re.search(r"after (\d{1,6}) ?ms", last_message(query))
    await asyncio.sleep(int(asked[1]) / 1000 if asked else 3)
    yield text("Sorry to have kept you waiting.")


async def _failing(query: QueryRequest) -> Answer:
    yield error("This model fails, as it is meant to.")


async def _failing_midway(query: QueryRequest) -> Answer:
    async for event in _word_by_word("These five words come before", WORD_SECONDS):
        yield event
    yield error("This model fails midway, as it is meant to.")


async def _silent(query: QueryRequest) -> Answer:
    return
    yield  # What makes this function a generator.


async def _no_such_bot(query: QueryRequest) -> Answer:
    yield error("Bot NoSuchBot does not exist.")


async def _call_of(tool: ToolDefinition, said: str) -> Answer:
    """A call of one tool, its arguments in two pieces, as OpenAI's chat completions stream it."""
    properties = tool.function.parameters.properties
    arguments = json.dumps({name: _argument(kind, said) for name, kind in properties.items()})
    half = len(arguments) // 2
    name = {"name": tool.function.name, "arguments": ""}
    yield _delta({"index": 0, "id": "call_1", "type": "function", "function": name})
    for piece in (arguments[:half], arguments[half:]):
        yield _delta({"index": 0, "function": {"arguments": piece}})
    yield ModelEvent("json", {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})


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


MODELS: Mapping[str, Callable[[QueryRequest], Answer]] = {
    "Echo": _echo,
    "Words": _words,
    "Long": _long,
    "Slow": _slow,
    "Failing": _failing,
    "FailingMidway": _failing_midway,
    "Silent": _silent,
    "NoSuchBot": _no_such_bot,
}
