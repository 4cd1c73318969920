"""Function calling as a loop of your own, which remembers from one message to the next.

Poe keeps the last `DataResponse` of an answer and sends it back as that message's `metadata`.
Variables don't last: another environment may serve the next message.
"""

import json
from collections.abc import AsyncIterable

import fastapi_poe as fp

MODEL = "GPT-4o"
MOST_ROUNDS = 4


def opening_hours(museum: str) -> str:
    return "10 to 18" if "art" in museum.lower() else "9 to 17"


TOOL = fp.ToolDefinition.model_validate(
    {
        "type": "function",
        "function": {
            "name": opening_hours.__name__,
            "description": "When a museum is open.",
            "parameters": {"type": "object", "properties": {"museum": {"type": "string"}}},
        },
    }
)


class MuseumBot(fp.PoeBot):
    async def get_response(
        self, request: fp.QueryRequest
    ) -> AsyncIterable[fp.PartialResponse | fp.DataResponse]:
        known = _remembered(request)
        request.tool_calls, request.tool_results = [], []
        for _ in range(MOST_ROUNDS):
            calls: dict[int, fp.ToolCallDefinition] = {}
            async for message in fp.stream_request(
                request, MODEL, request.access_key, tools=[TOOL]
            ):
                _gather(calls, message)
                if message.text:
                    yield message
            if not calls:
                break
            for call in calls.values():
                question = call.function.arguments
                if question not in known:
                    yield fp.PartialResponse(text="*Looking that up …*\n\n")
                    known[question] = opening_hours(**json.loads(question))
                request.tool_calls.append(call)
                request.tool_results.append(_result(call, known[question]))
        yield fp.DataResponse(metadata=json.dumps(known))

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={MODEL: MOST_ROUNDS})


def _remembered(request: fp.QueryRequest) -> dict[str, str]:
    """What the last answer's DataResponse held; nothing at a conversation's beginning."""
    kept = [message.metadata for message in request.query if message.metadata]
    return json.loads(kept[-1]) if kept else {}


def _gather(calls: dict[int, fp.ToolCallDefinition], message: fp.PartialResponse) -> None:
    """A call comes in pieces: the first has its name, the others more of its arguments."""
    for piece in message.tool_calls:
        if piece.index in calls:
            calls[piece.index].function.arguments += piece.function.arguments
        else:
            calls[piece.index] = fp.ToolCallDefinition.model_validate(piece.model_dump())


def _result(call: fp.ToolCallDefinition, content: str) -> fp.ToolResultDefinition:
    return fp.ToolResultDefinition(
        role="tool", tool_call_id=call.id, name=call.function.name, content=content
    )


bot = MuseumBot()
