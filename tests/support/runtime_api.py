"""A double of Lambda's Runtime API that keeps every frame as it arrived.

It refuses what the local Lambda's refuses, by the same rules, and the test that caused it fails.
"""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import h11

from local.aws_lambda.answer import INTEGRATION_RESPONSE, PreludeParser
from local.aws_lambda.answer_form import check_trailers, is_streamed
from local.aws_lambda.http import by_name
from local.aws_lambda.invocation import MalformedAnswer
from local.aws_lambda.runtime_state import Refused, calls_of

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
    def id(self) -> str:
        """The invocation's."""
        return self.path.split("/")[1]

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


class Asked(bytes):
    """An event whose answer is awaited, and what its headers have of their own."""

    headers: dict[str, str]
    answer: asyncio.Future[Request]


class RuntimeAPIDouble:
    """Hands out the events that a test gives it, and answers 202.

    `violations` has what the runtime did wrong. What is left there at the end fails the test.
    """

    def __init__(self, prefix: str = "", concurrency: int = 1, *, snapstart: bool = False) -> None:
        self.prefix = prefix
        self.waiting = 0  # calls of `next`
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0  # of these
        self.polls = 0  # connections on which `next` was asked
        self.status = 202
        self.read_bodies = asyncio.Event()  # cleared: the answer's body is left in the socket
        self.read_bodies.set()
        self.close_after_next = False
        self.next_status = 200  # of `next` and of `restore/next`
        self.before_snapshot = asyncio.Event()  # set where the snapshot would be taken
        self.restored_at = 0.0  # by time.perf_counter, as `polled_at`
        self.polled_at = 0.0
        self._restored = asyncio.Event()
        self.headers: dict[str, str] = {}
        self.violations: list[str] = []
        self._calls = calls_of(concurrency, snapstart=snapstart)
        self._pollers: set[asyncio.StreamReader] = set()  # which wait
        self._asked: dict[str, asyncio.Future[Request]] = {}  # answers that `ask` waits for
        self._ended = 0  # connections that have to be closed by the runtime, since it said so
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._answered: asyncio.Queue[Request | None] = asyncio.Queue()

    async def invoke(self, event: Any) -> Request:
        """The runtime's answer to `event`, whole."""
        self._events.put_nowait(event if isinstance(event, bytes) else json.dumps(event).encode())
        answer = await asyncio.wait_for(self._answered.get(), 20)
        assert answer, self.violations
        return answer

    async def restore(self) -> None:
        """Let the runtime go on from its snapshot, once it has come to it. Of the connections that
        are open by then none may be used again."""
        await asyncio.wait_for(self.before_snapshot.wait(), 20)
        self._restored.set()

    async def ask(self, event: Any, **headers: str) -> Request:
        """The runtime's answer to `event`, one of several at once. Fails at once, as AWS does,
        where no `next` waits."""
        assert self.waiting > self._events.qsize(), "no idle runtimes"
        asked = Asked(json.dumps(event).encode())
        asked.headers, asked.answer = headers, asyncio.get_running_loop().create_future()
        self._events.put_nowait(asked)
        return await asyncio.wait_for(asked.answer, 20)

    async def idle(self, slots: int) -> None:
        """Wait until so many calls of `next` wait."""
        async with asyncio.timeout(20):
            while self.waiting < slots:
                await asyncio.sleep(0.001)

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
        await self.ends()
        if self._ended:
            self.violations.append(f"{self._ended} connections are open after their answers")
        assert not self.violations, self.violations

    async def ends(self) -> None:
        """Give the runtime a moment to close the connections of its whole answers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self._ended:
                    await asyncio.sleep(0.001)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        polled, of_snapshot = False, not self._restored.is_set()
        while (request := await self._head(reader)) is not None:
            if of_snapshot and self._restored.is_set():
                self._violation(f"{request.path} on a connection of the snapshot's")
            try:
                if request.path == "restore/next":
                    await self._restore_next(writer)
                elif request.kind == "next":
                    self.polls += not polled
                    polled = True
                    await self._next(reader, writer)
                else:
                    await self._take(reader, request)
                    await _reply(writer, self.status, b"{}")
                    asked = self._asked.pop(request.id, None)
                    if asked is None:
                        self._answered.put_nowait(request)
                    elif not asked.done():
                        asked.set_result(request)
            except Refused as refusal:
                self._violation(f"{request.path}: {refusal}")
                await _reply(writer, refusal.status, json.dumps(refusal.document).encode())
            if request.kind == "next" and self.close_after_next:
                return
            if request.headers.get("connection") == "close":
                return await self._end(reader)

    async def _head(self, reader: asyncio.StreamReader) -> Request | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(head)
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError as error:
            self._violation(f"not HTTP: {error}")
            return None
        assert isinstance(event, h11.Request)
        path = event.target.decode()
        if not path.startswith(self.prefix + PREFIX):
            self._violation(f"{path} is not part of the Runtime API")
            return None
        path = path.removeprefix(self.prefix + PREFIX)
        return Request(event.method.decode(), path, by_name(event.headers))

    async def _next(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.next_status != 200:
            writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % self.next_status)
            return
        gone = next((poller for poller in self._pollers if poller.at_eof()), None)
        self._calls.next(again=gone is not None)
        self._pollers.discard(gone) if gone else None
        self._pollers.add(reader)
        self.waiting += 1
        self.polled_at = time.perf_counter()
        try:
            event = await self._events.get()
        finally:
            self.waiting -= 1
        if reader.at_eof():
            self._events.put_nowait(event)
            return
        self._pollers.discard(reader)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:f:live",
            "Lambda-Runtime-Invocation-Id": str(uuid.uuid4()),
            "Content-Length": str(len(event)),
            **self.headers,
            **(event.headers if isinstance(event, Asked) else {}),
        }
        if isinstance(event, Asked):
            self._asked[headers["Lambda-Runtime-Aws-Request-Id"]] = event.answer
        self._calls.hand_out(
            headers["Lambda-Runtime-Aws-Request-Id"], headers["Lambda-Runtime-Invocation-Id"]
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + event)

    async def _restore_next(self, writer: asyncio.StreamWriter) -> None:
        if self.next_status != 200:
            return await _reply(writer, self.next_status, b"")
        self._calls.wait_for_restore()
        self.before_snapshot.set()
        await self._restored.wait()
        self._calls.restore()
        self.restored_at = time.perf_counter()
        await _reply(writer, 200, b"")

    async def _take(self, reader: asyncio.StreamReader, request: Request) -> None:
        """The runtime's answer or error. Raises Refused."""
        match request.method, request.path.split("/"):
            case "POST", ["init", "error"]:
                self._calls.fail_init()
            case "POST", ["restore", "error"]:
                self._calls.fail_restore()
            case "POST", ["invocation", request_id, "response" | "error"]:
                self._calls.answer(request_id, request.headers)
            case _:
                raise Refused(404, "NotFound", f"{request.method} {request.path} is unknown")
        self.requests.append(request)
        try:
            await self._body(reader, request)
        finally:
            if request.path not in ("init/error", "restore/error"):
                self._calls.answered(request.id)
        _check_form(request)
        request.complete = True

    async def _body(self, reader: asyncio.StreamReader, request: Request) -> None:
        await self.read_bodies.wait()
        if request.headers.get("transfer-encoding") != "chunked":
            length = int(request.headers["content-length"])
            request.frames.append(await reader.readexactly(length))
            return
        while size := int(await reader.readuntil(b"\r\n"), 16):
            request.frames.append(await reader.readexactly(size))
            assert await reader.readexactly(2) == b"\r\n"
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode().strip().partition(": ")
            request.trailers[name.lower()] = value

    async def _end(self, reader: asyncio.StreamReader) -> None:
        """After `Connection: close` the runtime sends nothing more, and closes the connection."""
        self._ended += 1
        try:
            if await reader.read(1):
                self._violation("a request on a connection after `Connection: close`")
        finally:
            self._ended -= 1

    def _violation(self, what: str) -> None:
        self.violations.append(what)
        self._answered.put_nowait(None)


def _check_form(request: Request) -> None:
    """Raises Refused."""
    streamed = is_streamed(request.headers)
    check_trailers(request.headers, request.trailers)
    if request.kind == "response" and not streamed:
        _check_json(request)
    if streamed and request.headers.get("content-type") == INTEGRATION_RESPONSE:
        _check_prelude(request)


def _check_json(request: Request) -> None:
    try:
        json.loads(request.body)
    except ValueError:
        raise Refused(400, "Runtime.MalformedAnswer", "the answer isn't JSON") from None


def _check_prelude(request: Request) -> None:
    """One that failed may have broken off in its prelude."""
    parser = PreludeParser()
    try:
        if not any(parser.feed(frame) for frame in request.frames) and not request.trailers:
            parser.end()
    except MalformedAnswer as error:
        raise Refused(400, "Runtime.MalformedAnswer", str(error)) from None


async def _reply(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
    await writer.drain()


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
