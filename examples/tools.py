"""Function calling, done by fastapi_poe: the model asks for a function, fastapi_poe runs it once
and gives the model what it returned. That makes two calls of the model for one message."""

import random
from collections.abc import AsyncIterable

import fastapi_poe as fp

MODEL = "GPT-4o"


def roll_dice(number: int) -> list[int]:
    return [random.randint(1, 6) for _ in range(number)]


ROLL_DICE = fp.ToolDefinition.model_validate(
    {
        "type": "function",
        "function": {
            "name": roll_dice.__name__,
            "description": "Roll dice with six sides.",
            "parameters": {
                "type": "object",
                "properties": {"number": {"type": "integer", "description": "How many dice."}},
                "required": ["number"],
            },
        },
    }
)


class DiceBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        async for message in fp.stream_request(
            request,
            MODEL,
            request.access_key,
            tools=[ROLL_DICE],
            tool_executables=[roll_dice],
        ):
            yield message

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={MODEL: 2})


bot = DiceBot()
