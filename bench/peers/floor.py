"""The least that any host can do for this bot: import fastapi_poe, ask, write each event.

No key, no check, no error is caught and nothing else runs: what a real host adds to this
can be saved, the rest can't. As a program, it answers a Runtime API, with as many slots as that
wants; `app` is the same for a web server.
"""

import asyncio
import gc
import json
import os
import socket
from collections.abc import AsyncIterator

gc.disable()

import fastapi_poe as fp  # noqa: E402
from bench_bot import bot  # noqa: E402
from starlette.requests import Request  # noqa: E402

NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
RESPONSE = (
    b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


async def _events(body: bytes, scope: dict) -> AsyncIterator[bytes]:
    query = fp.QueryRequest.model_validate(json.loads(body) | {"access_key": "", "api_key": ""})
    context = fp.RequestContext(http_request=Request(scope))
    async for event in bot.handle_query(query, context):
        yield f"event: {event.event}\r\ndata: {event.data}\r\n\r\n".encode()


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for event in _events(body, scope):
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def answer_invocations() -> None:
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    while True:
        with socket.create_connection((host, int(port))) as api:
            api.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            api.sendall(NEXT)
            event = json.loads(_body(api))
            api.sendall(RESPONSE)
            async for each in _events(event["body"].encode(), {"type": "http"}):
                api.sendall(b"%x\r\n%b\r\n" % (len(each), each))
            api.sendall(b"0\r\n\r\n")
            _body(api)


async def answer_in_a_slot() -> None:
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    while True:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(NEXT)
        head = await reader.readuntil(b"\r\n\r\n")
        event = json.loads(await reader.readexactly(int(head.rpartition(b" ")[2])))
        writer.write(RESPONSE)
        async for each in _events(event["body"].encode(), {"type": "http"}):
            writer.write(b"%x\r\n%b\r\n" % (len(each), each))
        writer.write(b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def answer_in_slots(count: int) -> None:
    await asyncio.gather(*(answer_in_a_slot() for _ in range(count)))


def _body(api: socket.socket) -> bytes:
    """Of an answer whose length stands at the end of its head, as the bench's does."""
    data = api.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.rpartition(b" ")[2])
    while len(body) < size:
        body += api.recv(65536)
    return body


if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    slots = int(os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY", "0"))
    asyncio.run(answer_in_slots(slots) if slots else answer_invocations())
