"""A strict double of Lambda's Runtime API that keeps every frame as it arrived."""

import asyncio
import base64
import json
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11

PREFIX = "/2018-06-01/runtime/"


@dataclass
class Request:
    """What the runtime sent: its head, and its body frame by frame."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    frames: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    @property
    def kind(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def body(self) -> bytes:
        return b"".join(self.frames)

    @property
    def prelude(self) -> dict[str, Any]:
        return json.loads(self.frames[0])

    @property
    def error(self) -> dict[str, Any]:
        """The document in the trailers."""
        return json.loads(base64.b64decode(self.trailers["lambda-runtime-function-error-body"]))


class RuntimeAPIDouble:
    """Hands out the events that a test gives it, and answers 202."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.requests: list[Request] = []
        self.connections = 0
        self.polls = 0  # connections on which `next` was asked
        self.status = 202
        self.read_bodies = asyncio.Event()  # cleared: the answer's body is left in the socket
        self.read_bodies.set()
        self.close_after_next = False
        self.next_status = 200
        self.headers: dict[str, str] = {}
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._answered: asyncio.Queue[Request] = asyncio.Queue()

    async def invoke(self, event: Any) -> Request:
        """The runtime's answer to `event`, whole."""
        self._events.put_nowait(event if isinstance(event, bytes) else json.dumps(event).encode())
        return await asyncio.wait_for(self._answered.get(), 20)

    async def asked_for_the_next(self) -> None:
        """Wait until the runtime is done with the last invocation, its line included. For streamed
        answers: each ends its connection, so that `next` is asked on another one."""
        while self.polls <= len(self.requests):
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            yield f"{host}:{port}{self.prefix}"
        finally:
            # What is on its way here gets a task that begins, and so one that closes it.
            await asyncio.sleep(0.01)
            server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        polled = False
        self.connections += 1
        try:
            while (request := await self._head(reader)) is not None:
                if request.kind == "next":
                    self.polls += not polled
                    polled = True
                    await self._next(writer)
                    if self.close_after_next:
                        return
                    continue
                self.requests.append(request)
                await self._body(reader, request)
                writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\n\r\n{}" % self.status)
                await writer.drain()
                self._answered.put_nowait(request)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        parser = h11.Connection(h11.SERVER)  # refuses a malformed head
        parser.receive_data(head)
        event = parser.next_event()
        assert isinstance(event, h11.Request)
        path = event.target.decode()
        assert path.startswith(self.prefix + PREFIX), path
        headers = {name.decode(): value.decode() for name, value in event.headers}
        return Request(event.method.decode(), path.removeprefix(self.prefix + PREFIX), headers)

    async def _next(self, writer: asyncio.StreamWriter) -> None:
        if self.next_status != 200:
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % self.next_status)
            return
        event = await self._events.get()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:f:live",
            "Content-Length": str(len(event)),
            **self.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + event)

    async def _body(self, reader: asyncio.StreamReader, request: Request) -> None:
        await self.read_bodies.wait()
        if request.headers.get("transfer-encoding") != "chunked":
            length = int(request.headers["content-length"])
            request.frames.append(await reader.readexactly(length))
        else:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                request.frames.append(await reader.readexactly(size))
                assert await reader.readexactly(2) == b"\r\n"
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                name, _, value = line.decode().strip().partition(": ")
                assert name in request.headers["trailer"], "a trailer that was not announced"
                request.trailers[name.lower()] = value
        request.complete = True


def closed_address() -> str:
    """`host:port`, where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def function_url_event(
    method: str = "POST",
    path: str = "/",
    headers: dict[str, str] | None = None,
    body: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A Function URL's event, payload version 2.0."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.eu-west-1.on.aws", **(headers or {})},
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.1"},
            "requestId": str(uuid.uuid4()),
        },
        "isBase64Encoded": False,
        **({} if body is None else {"body": body}),
        **more,
    }
