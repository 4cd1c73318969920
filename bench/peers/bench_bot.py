"""The bot of every Python peer: as many events as the message asks for, with a pause before each.

The message: `<events> <seconds>`.
"""

import asyncio
from collections.abc import AsyncIterable

import fastapi_poe as fp


class BenchBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        events, pause = request.query[-1].content.split()
        for number in range(int(events)):
            if pause != "0":
                await asyncio.sleep(float(pause))
            yield fp.PartialResponse(text=f"token {number} ")


bot = BenchBot()
