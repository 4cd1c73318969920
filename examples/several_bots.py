"""Several bots from one deployment: each on a path of its own, with the key that Poe gave it.

The keys are further members of the secret: `make set-secret NAME=ECHO_ACCESS_KEY`. `make run`
creates them itself and prints each bot's URL: `make chat URL=http://127.0.0.1:9000/echo`.
"""

import os
from collections.abc import AsyncIterable

import fastapi_poe as fp


class EchoBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text=request.query[-1].content)


class ReverseBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text=request.query[-1].content[::-1])


bot = [
    EchoBot(path="/echo", access_key=os.environ["ECHO_ACCESS_KEY"]),
    ReverseBot(path="/reverse", access_key=os.environ["REVERSE_ACCESS_KEY"]),
]
