"""A bot's answer in OpenAI's other form, Responses, whole or in events."""

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from poe.standin.openai_api.completion import Completion, Delta
from poe.standin.openai_api.errors import ApiError

Event = dict[str, Any]


class ModelResponse:
    """A completion in this form: either `whole` or, after the completion's `begin`, `events`."""

    def __init__(self, completion: Completion, model: str) -> None:
        self._completion = completion
        self._output: list[dict[str, Any]] = []
        self._head = {
            "id": _new("resp"),
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
        }

    async def whole(self) -> dict[str, Any]:
        """Raises ApiError where the bot answers with an error."""
        async for delta in self._completion.deltas():
            for _ in self._add(delta):
                pass
        for _ in self._end():
            pass
        return self._response()

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events; an error midway ends them with `response.failed`."""
        number = 0
        async for event in self._events():
            data = json.dumps(event | {"sequence_number": number})
            number += 1
            yield f"event: {event['type']}\ndata: {data}\n\n".encode()

    async def _events(self) -> AsyncIterator[Event]:
        yield {"type": "response.created", "response": self._response("in_progress")}
        try:
            async for delta in self._completion.deltas():
                for event in self._add(delta):
                    yield event
        except ApiError as error:
            failed = self._response("failed")
            failed["error"] = {"code": "server_error", "message": str(error)}
            yield {"type": "response.failed", "response": failed}
            return
        for event in self._end():
            yield event
        response = self._response()
        yield {"type": f"response.{response['status']}", "response": response}

    def _add(self, delta: Delta) -> Iterator[Event]:
        if content := delta.get("content"):
            yield from self._text(content)
        for call in delta.get("tool_calls", []):
            yield from self._call(call)

    def _text(self, content: str) -> Iterator[Event]:
        if not self._output or self._output[-1]["type"] != "message":
            yield from self._begin({"id": _new("msg"), "type": "message", "role": "assistant"})
            part = {"type": "output_text", "text": "", "annotations": []}
            self._output[-1]["content"] = [part]
            yield self._about("response.content_part.added", content_index=0, part=dict(part))
        self._output[-1]["content"][0]["text"] += content
        yield self._about("response.output_text.delta", content_index=0, delta=content, logprobs=[])

    def _call(self, call: Mapping[str, Any]) -> Iterator[Event]:
        function = call["function"]
        if "id" in call:
            head = {"id": _new("fc"), "type": "function_call", "call_id": call["id"]}
            yield from self._begin(head | {"name": function["name"], "arguments": ""})
        if function["arguments"]:
            self._output[-1]["arguments"] += function["arguments"]
            yield self._about("response.function_call_arguments.delta", delta=function["arguments"])

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        yield from self._end()
        self._output.append(item | {"status": "in_progress"})
        shown: dict[str, Any] = {"content": []} if item["type"] == "message" else {}
        yield self._about("response.output_item.added", item=self._output[-1] | shown)

    def _end(self) -> Iterator[Event]:
        """End the item that is under way, if there is one."""
        if not self._output:
            return
        item = self._output[-1]
        item["status"] = "completed"
        if item["type"] == "message":
            part = item["content"][0]
            yield self._about(
                "response.output_text.done", content_index=0, text=part["text"], logprobs=[]
            )
            yield self._about("response.content_part.done", content_index=0, part=part)
        else:
            yield self._about(
                "response.function_call_arguments.done",
                name=item["name"],
                arguments=item["arguments"],
            )
        yield self._about("response.output_item.done", item=item)

    def _about(self, kind: str, **more: Any) -> Event:
        """An event about the item that is under way."""
        index = len(self._output) - 1
        event = {"type": kind, "output_index": index, **more}
        return event if "item" in more else event | {"item_id": self._output[index]["id"]}

    def _response(self, status: str | None = None) -> dict[str, Any]:
        cut = self._completion.reason == "length"
        usage = self._completion.usage()
        return self._head | {
            "status": status or ("incomplete" if cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "output": self._output,
            "usage": None
            if status
            else {
                "input_tokens": usage["prompt_tokens"],
                "output_tokens": usage["completion_tokens"],
                "total_tokens": usage["total_tokens"],
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        }


def _new(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(12)}"
