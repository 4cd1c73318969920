"""The forms of the stand-in's answers to fastapi_poe's client: streams of events."""

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from poe.client.sse import encode_event
from poe.standin.models import Answer, ModelEvent


def streamed(answer: Answer) -> Response:
    return StreamingResponse(_encoded(answer), media_type="text/event-stream")


async def _encoded(answer: Answer) -> AsyncIterator[bytes]:
    async for event in answer:
        yield encode_event(event.name, event.data)
    yield encode_event("done", {})


def event_stream(event: ModelEvent, status: int = 200) -> Response:
    """A stream of one event. fastapi_poe reads it whatever the status is."""
    body = encode_event(event.name, event.data)
    return Response(body, status, media_type="text/event-stream")


def cost_refusal(status: int, reason: str) -> Response:
    return event_stream(ModelEvent("error", {"message": reason}), status)
