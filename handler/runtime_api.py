"""The Runtime API's client: one keep-alive connection for `next`, one of its own for each answer.

h11 writes the heads and reads the replies; body frames are written by hand, which costs 10 % less
CPU for each event. Source: AWS, "Using the Lambda runtime API for custom runtimes".
"""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h11

from handler import wire
from handler.wire import Failure, Headers, Invocation

logger = logging.getLogger(__name__)

ACCEPTED = 202
LAST_WORD_SECONDS = 0.2  # for each step of what is told while the event loop is stuck
LARGEST_HEAD = 64 * 1024  # bytes: a client context may be long
# Seconds between the attempts at `next`; after the last one the process gives its place up.
NEXT_RETRIES = (0.05, 0.2, 0.5, 1.0)


class RuntimeAPIError(Exception):
    """The Runtime API cannot be used any more: the process has to be replaced."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, a request after another. A lost one raises `ConnectionError`."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        self._transport: asyncio.Transport
        self._lost = False
        self.paused = False  # the other side takes bytes more slowly than they are written
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        self._changed.set()

    def eof_received(self) -> None:
        self._http.receive_data(b"")
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._http.receive_data(b"")
        self._changed.set()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket at once."""
        if self._lost:
            raise ConnectionResetError("the Runtime API closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        while self.paused and not self._lost:
            await self._change()

    def encode(self, event: h11.Event) -> bytes:
        """What is to be written for `event`, which counts as sent."""
        return self._http.send(event) or b""

    def send(self, event: h11.Event) -> None:
        if data := self.encode(event):
            self.write(data)

    async def reply(self) -> Reply:
        """The whole answer to the request that was sent."""
        response = await self._event()
        while isinstance(response, h11.InformationalResponse):
            response = await self._event()
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        return Reply(response.status_code, list(response.headers), bytes(body))

    async def _event(self) -> Any:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                await self._change()
        except h11.RemoteProtocolError as error:
            raise ConnectionResetError("the Runtime API's answer broke off") from error
        if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise ConnectionResetError("the Runtime API closed the connection")
        return event

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def reusable(self) -> bool:
        """After a reply: ready for the next request."""
        return not self._lost and self._http.states == {
            h11.CLIENT: h11.DONE,
            h11.SERVER: h11.DONE,
        }

    def reuse(self) -> None:
        self._http.start_next_cycle()

    def close(self) -> None:
        self._transport.close()

    def write_now(self, data: bytes) -> None:
        """Write from another thread, while the event loop is stuck; wait for the answer a moment.

        Raises `OSError` where a frame is only half out: nothing can be told any more then.
        """
        if self._transport.get_write_buffer_size():
            raise BlockingIOError("a frame is only half out")
        with socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as own:
            own.settimeout(LAST_WORD_SECONDS)
            own.sendall(data)
            own.recv(1)


class ResponseStream:
    """One invocation's streamed answer. Bytes leave as they are written, a frame for each write.

    `head` is the request's; it goes out together with the first frame, which is known at once.
    """

    def __init__(self, connection: Connection, head: bytes) -> None:
        self._connection = connection
        self._head = head  # until it is out
        self.size = 0  # bytes of body so far, prelude included

    async def write(self, data: bytes) -> None:
        """`data` is not empty. Raises `ConnectionError` when nobody takes the answer any more."""
        self.size += len(data)
        self._connection.write(self._with_head(wire.encode_chunk(data)))
        if self._connection.paused:
            await self._connection.drain()

    def end(self) -> None:
        self._connection.write(self._with_head(wire.LAST_CHUNK))

    def fail(self, failure: Failure) -> None:
        """End a body that cannot be completed: the trailers mark the invocation as failed."""
        self._connection.write(self._with_head(wire.encode_last_chunk(failure.trailers)))

    def fail_now(self, failure: Failure) -> None:
        """`fail` from another thread, while the event loop is stuck. Raises `OSError`."""
        self._connection.write_now(self._with_head(wire.encode_last_chunk(failure.trailers)))

    def _with_head(self, frame: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + frame

    async def accepted(self) -> bool:
        """Wait for the answer to the whole; anything but 202 is logged."""
        try:
            return _is_accepted("response", await self._connection.reply())
        finally:
            self._connection.close()


class RuntimeAPI:
    """`address`: `host:port`, perhaps with a path after it, as `AWS_LAMBDA_RUNTIME_API` has it."""

    def __init__(self, address: str) -> None:
        authority, _, prefix = address.partition("/")
        self._authority = authority
        self._host, _, port = authority.rpartition(":")
        if not self._host or not port.isdecimal():
            self._host, port = authority, "80"
        self._port = int(port)
        self._base = f"{'/' + prefix.strip('/') if prefix else ''}/{wire.API_VERSION}/runtime"
        self._polling: Connection | None = None

    async def next(self) -> Invocation:
        """Block until there is an invocation. Raises `RuntimeAPIError` when none can be had."""
        for delay in (*NEXT_RETRIES, None):
            try:
                return await self._next()
            except (OSError, ValueError) as error:
                self._hang_up()
                logger.warning("`next` failed: %s", error)
                if delay is None:
                    raise RuntimeAPIError("`next` fails again and again") from error
                await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    async def _next(self) -> Invocation:
        if self._polling and self._polling.lost:  # closed since the last invocation
            self._hang_up()
        if self._polling is None:
            self._polling = await self._connect()
        self._polling.send(self._request("GET", "invocation/next", []))
        self._polling.send(h11.EndOfMessage())
        # No time limit: the environment may be frozen for as long as nobody calls.
        reply = await self._polling.reply()
        if self._polling.reusable:
            self._polling.reuse()
        else:
            self._hang_up()
        if reply.status != 200:
            raise ValueError(f"status {reply.status}")
        return Invocation.parse(reply.headers, reply.body)

    def _hang_up(self) -> None:
        if self._polling:
            self._polling.close()
        self._polling = None

    async def stream(self, invocation: Invocation) -> ResponseStream:
        """Begin a streamed answer. Raises `OSError` when the Runtime API cannot be reached."""
        connection = await self._connect()
        head = [
            (wire.RESPONSE_MODE, "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", wire.INTEGRATION_RESPONSE),
            ("Trailer", f"{wire.ERROR_TYPE}, {wire.ERROR_BODY}"),
            ("Connection", "close"),
            *invocation.echo,
        ]
        request = self._request("POST", f"invocation/{invocation.request_id}/response", head)
        return ResponseStream(connection, connection.encode(request))

    async def respond(self, invocation: Invocation, document: object) -> bool:
        """Answer with one JSON document, for a caller that is no Function URL."""
        return await self._post(
            f"invocation/{invocation.request_id}/response",
            json.dumps(document).encode(),
            invocation.echo,
        )

    async def fail(self, invocation: Invocation, failure: Failure) -> bool:
        """Report an invocation that failed before anything of its answer was sent."""
        path = f"invocation/{invocation.request_id}/error"
        return await self._post(path, failure.document, self._error_head(invocation, failure))

    def fail_now(self, invocation: Invocation, failure: Failure) -> None:
        """`fail` from another thread, while the event loop is stuck. Raises `OSError`."""
        path = f"invocation/{invocation.request_id}/error"
        request = self._document_request(
            path, failure.document, self._error_head(invocation, failure)
        )
        with socket.create_connection((self._host, self._port), LAST_WORD_SECONDS) as own:
            own.sendall(b"".join(filter(None, map(h11.Connection(h11.CLIENT).send, request))))
            own.recv(1)

    async def fail_init(self, failure: Failure) -> None:
        """Report a start that failed; the process ends after it."""
        await self._post("init/error", failure.document, failure.header)

    async def _post(self, path: str, body: bytes, headers: Headers) -> bool:
        connection = await self._connect()
        try:
            for event in self._document_request(path, body, headers):
                connection.send(event)
            return _is_accepted(path.rpartition("/")[2], await connection.reply())
        finally:
            connection.close()

    def _document_request(self, path: str, body: bytes, headers: Headers) -> list[h11.Event]:
        head = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *headers,
        ]
        return [self._request("POST", path, head), h11.Data(body), h11.EndOfMessage()]

    @staticmethod
    def _error_head(invocation: Invocation, failure: Failure) -> Headers:
        return [*failure.header, *invocation.echo]

    def _request(self, method: str, path: str, headers: Headers) -> h11.Request:
        return h11.Request(
            method=method,
            target=f"{self._base}/{path}",
            headers=[("Host", self._authority), ("User-Agent", "poe-bot-lambda"), *headers],
        )

    async def _connect(self) -> Connection:
        # asyncio sets TCP_NODELAY: a frame never waits for the one after it.
        _, connection = await asyncio.get_running_loop().create_connection(
            Connection, self._host, self._port
        )
        return connection


def _is_accepted(call: str, reply: Reply) -> bool:
    if reply.status != ACCEPTED:
        logger.error("the Runtime API answered %d to `%s`", reply.status, call)
    return reply.status == ACCEPTED
