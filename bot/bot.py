"""Your bot: the one file to edit. The last line names the bot that is served."""

from collections.abc import AsyncIterable

import fastapi_poe as fp

# The bot on Poe that answers. Any name that Poe shows works the same, newer models included.
MODEL = "GPT-3.5-Turbo"


class GPT35TurboBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        async for message in fp.stream_request(request, MODEL, request.access_key):
            yield message

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={MODEL: 1})


bot = GPT35TurboBot()
