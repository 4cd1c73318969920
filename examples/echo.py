"""The smallest bot: it repeats the last message, without other bots or keys."""

from collections.abc import AsyncIterable

import fastapi_poe as fp


class EchoBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text=request.query[-1].content)


bot = EchoBot()
