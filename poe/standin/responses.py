"""The forms of the stand-in's answers: streams of events, and Poe's own answers passed on."""

from collections.abc import AsyncIterator

import httpx
from starlette.responses import Response, StreamingResponse

from poe.client.sse import encode_event
from poe.standin.models import ModelEvent


def streamed(body: AsyncIterator[bytes], status: int = 200) -> Response:
    return StreamingResponse(body, status, media_type="text/event-stream")


def event_stream(event: ModelEvent, status: int = 200) -> Response:
    """A stream of one event. fastapi_poe reads it whatever the status is."""
    body = encode_event(event.name, event.data)
    return Response(body, status, media_type="text/event-stream")


def cost_refusal(status: int, reason: str) -> Response:
    return event_stream(ModelEvent("error", {"message": reason}), status)


async def closing(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.aiter_bytes():
            yield chunk
    finally:
        await reply.aclose()
