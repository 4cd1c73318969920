"""The HTTP request around a message: its headers, and Lambda's own view of the invocation."""

from collections.abc import AsyncIterable

import fastapi_poe as fp


class CuriousBot(fp.PoeBot):
    async def get_response_with_context(
        self, request: fp.QueryRequest, context: fp.RequestContext
    ) -> AsyncIterable[fp.PartialResponse]:
        http = context.http_request
        sender, address = (
            http.headers.get(name, "?") for name in ("user-agent", "x-forwarded-for")
        )
        yield fp.PartialResponse(text=f"{sender} asks me from {address}. ")
        # Only on Lambda, or a local one; uvicorn has no such thing.
        if invocation := http.scope.get("aws.context"):
            seconds = invocation.get_remaining_time_in_millis() / 1000
            yield fp.PartialResponse(text=f"Lambda gives this answer {seconds:.0f} seconds.")


bot = CuriousBot()
