"""Another bot on Poe answers: the bot of Poe's guide "Accessing other bots on Poe".

`server_bot_dependencies` declares how often it is called for one message of a user. Poe refuses
every call beyond that ("… called on bot that has 0 or undefined call count in settings"), and so
does `make run`, which prints what to declare.
"""

from collections.abc import AsyncIterable

import fastapi_poe as fp

MODEL = "GPT-3.5-Turbo"


class GPT35TurboBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        async for message in fp.stream_request(request, MODEL, request.access_key):
            yield message

    async def get_settings(self, setting: fp.SettingsRequest) -> fp.SettingsResponse:
        return fp.SettingsResponse(server_bot_dependencies={MODEL: 1})


bot = GPT35TurboBot()
