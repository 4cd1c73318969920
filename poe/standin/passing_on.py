"""Calls that go on to Poe itself, with the key that `make run` was given for it."""

from collections.abc import AsyncIterator, Iterable

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

# RFC 9110, 7.6.1: about one connection, not about the message.
_OF_ONE_CONNECTION = frozenset(
    [b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"]
)
_OF_THE_BOT = frozenset([b"host", b"authorization", b"content-length"])


async def pass_on(request: Request, key: str, client: httpx.AsyncClient) -> Response:
    """Poe's own answer to `request`, byte for byte as it arrives; `key` replaces the bot's.

    Raises httpx.HTTPError where Poe can't be reached.
    """
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["raw_path"].decode("latin-1")
    # Not by the client's `build_request`, which would add headers and cookies of its own.
    onward = httpx.Request(
        request.method,
        f"https://api.poe.com{path}{'?' if query else ''}{query}",
        headers=[
            *_kept(request.scope["headers"], _OF_ONE_CONNECTION | _OF_THE_BOT),
            (b"authorization", f"Bearer {key}".encode()),
        ],
        content=await request.body(),
        extensions={"timeout": client.timeout.as_dict()},
    )
    return passed_on(await client.send(onward, stream=True))


def passed_on(reply: httpx.Response) -> Response:
    """The reply as it arrives, with its headers; compressed if it is."""
    response = StreamingResponse(_body(reply), reply.status_code)
    response.raw_headers = _kept(reply.headers.raw, _OF_ONE_CONNECTION)
    return response


def _kept(
    headers: Iterable[tuple[bytes, bytes]], left_out: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    return [(name.lower(), value) for name, value in headers if name.lower() not in left_out]


async def _body(reply: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in reply.aiter_raw():
            yield chunk
    finally:
        await reply.aclose()
