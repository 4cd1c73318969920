"""A request in OpenAI's other form, Responses, as the chat completion that asks for the same
(creator.poe.com, "OpenAI Responses API").

The stand-in keeps no conversations, so `previous_response_id` is refused. Tools of the provider's
own, such as web_search_preview, are left aside.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from poe.standin.openai_api.errors import ApiError

_PARTS = {"input_text": "text", "output_text": "text", "input_image": "image_url"}
_ROLES = {"developer": "system"}


def chat_body(body: Any) -> dict[str, Any]:
    """The chat completion that asks for the same. Raises ApiError; what else is wrong with it, the
    check of a chat completion finds."""
    if not isinstance(body, dict):
        raise ApiError(400, "body: Input should be an object")
    if body.get("previous_response_id"):
        raise ApiError(
            400,
            "previous_response_id: the stand-in forgets responses: send the whole conversation",
        )
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    items, tools = _objects("input", items), _objects("tools", body.get("tools") or [])
    chat = {
        "model": body.get("model"),
        "messages": [*_instructions(body), *_messages(items)],
        "stream": body.get("stream"),
        "max_completion_tokens": body.get("max_output_tokens"),
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "tools": [_nested(tool) for tool in tools if tool.get("type") == "function"] or None,
    }
    choice = body.get("tool_choice")
    if chat["tools"]:
        chat["tool_choice"] = _nested(choice) if isinstance(choice, dict) else choice
    return chat


def _objects(name: str, items: Any) -> list[dict[str, Any]]:
    if isinstance(items, list) and all(isinstance(item, dict) for item in items):
        return items
    raise ApiError(400, f"{name}: Input should be a list of objects")


def _instructions(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if body.get("instructions"):
        yield {"role": "system", "content": body["instructions"]}


def _messages(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for item in items:
        if item.get("type") == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            calls.append({"id": item.get("call_id"), "function": function})
            continue
        if calls:
            yield {"role": "assistant", "tool_calls": calls}
            calls = []
        if item.get("type") == "function_call_output":
            result = {"tool_call_id": item.get("call_id"), "content": item.get("output")}
            yield {"role": "tool", **result}
        elif item.get("type") in (None, "message"):
            role = item.get("role")
            yield {"role": _ROLES.get(str(role), role), "content": _content(item.get("content"))}
    if calls:
        yield {"role": "assistant", "tool_calls": calls}


def _content(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [
        part | {"type": _PARTS.get(str(part.get("type")), "file")}
        if isinstance(part, dict)
        else part
        for part in content
    ]


def _nested(function: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: function[key] for key in ("name", "parameters") if key in function}
    return {"type": "function", "function": named}
