"""A bot's answer as a chat completion, whole or in chunks."""

import json
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from poe.standin.models import Answer, ModelEvent
from poe.standin.openai_api.errors import ApiError, error_object
from poe.standin.openai_api.request import ChatRequest

Delta = dict[str, Any]

_CHARACTERS_PER_TOKEN = 4


def tokens(text: str) -> int:
    """About as many as a model would count."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


class Completion:
    """One answer: either `whole` or, after `begin`, `chunks` or `deltas`, once.

    `begin` and `whole` raise ApiError where the bot answers with an error. At the end, `reason`
    and `usage` are why it ended and what it took.
    """

    def __init__(self, request: ChatRequest, answer: Answer) -> None:
        self._request = request
        self._deltas = self._limited(answer)
        self._first: Delta | None = None
        self._used = 0
        self.reason = "stop"
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": request.model,
        }

    async def whole(self) -> dict[str, Any]:
        content = ""
        calls: list[dict[str, Any]] = []
        async for delta in self.deltas():
            content += delta.get("content", "")
            for piece in delta.get("tool_calls", []):
                _add(calls, piece)
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if calls:
            message |= {"content": content or None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": self.reason, "logprobs": None}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self.usage(),
        }

    async def begin(self) -> None:
        """Wait for the answer's first piece: only before it can the status report an error."""
        self._first = await anext(self._deltas, None)

    async def deltas(self) -> AsyncIterator[Delta]:
        """The answer's pieces, the first one included. Raises ApiError."""
        if self._first:
            yield self._first
        async for delta in self._deltas:
            yield delta

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer as server-sent events; an error midway is the last of them."""
        yield self._chunk({"role": "assistant", "content": ""})
        try:
            async for delta in self.deltas():
                yield self._chunk(delta)
        except ApiError as error:
            yield _event(error_object(error.status, str(error)))
            return
        yield self._chunk({}, self.reason)
        options = self._request.stream_options
        if options and options.include_usage:
            yield _event(self._chunk_head() | {"choices": [], "usage": self.usage()})
        yield b"data: [DONE]\n\n"

    async def _limited(self, answer: Answer) -> AsyncIterator[Delta]:
        """The deltas of the answer, up to the most tokens that were asked for."""
        async for event in answer:
            delta = _delta(event)
            if not delta:
                continue
            cost = tokens(delta.get("content", "") or json.dumps(delta))
            if self._request.limit is not None and self._used + cost > self._request.limit:
                self.reason = "length"
                return
            self._used += cost
            if "tool_calls" in delta:
                self.reason = "tool_calls"
            yield delta

    def _chunk(self, delta: Delta, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return _event(self._chunk_head() | {"choices": [choice]})

    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}

    def usage(self) -> dict[str, int]:
        asked = sum(tokens(message.text) for message in self._request.messages)
        return {
            "prompt_tokens": asked,
            "completion_tokens": self._used,
            "total_tokens": asked + self._used,
        }


def _delta(event: ModelEvent) -> Delta:
    """What an event adds to the answer, or nothing. Raises ApiError for an error."""
    match event.name:
        case "text":
            return {"content": event.data["text"]}
        case "json":
            delta: Delta = event.data["choices"][0]["delta"]
            return delta
        case "file":
            return {"content": f"\n\n[{event.data['name']}]({event.data['url']})"}
        case "error":
            raise ApiError(event.status or 500, event.data["text"])
        case _:
            return {}


def _add(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    """Add one delta of a tool's call to the calls so far."""
    if piece["index"] == len(calls):
        head = {key: value for key, value in piece.items() if key != "index"}
        calls.append(head | {"function": dict(piece["function"])})
    else:
        calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()
