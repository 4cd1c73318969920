"""A prompt bot: a system message of your own goes ahead of the conversation."""

from collections.abc import AsyncIterable

import fastapi_poe as fp

MODEL = "GPT-3.5-Turbo"
PROMPT = fp.ProtocolMessage(
    role="system",
    content="You are a lighthouse keeper. Answer in one sentence, and mention the weather.",
)


class LighthouseBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        request.query = [PROMPT, *request.query]
        async for message in fp.stream_request(request, MODEL, request.access_key):
            yield message

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(
            server_bot_dependencies={MODEL: 1},
            introduction_message="The lamp is lit. What brings you here?",
        )


bot = LighthouseBot()
