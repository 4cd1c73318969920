"""The Runtime API's client: an invocation is answered on the connection that it came on.

A streamed answer's connection is closed after it, as AWS asks for; the next one is opened while no
user waits. Source: AWS, "Using the Lambda runtime API for custom runtimes" and "Building a custom
runtime for AWS Lambda".
"""

import asyncio
import json
import logging
import socket

from handler.log.errors import StartError
from handler.runtime import wire
from handler.runtime.http1 import Connection, Reply, encode_request
from handler.runtime.wire import Failure, Headers, Invocation

logger = logging.getLogger(__name__)

ACCEPTED = 202
# Seconds between the attempts at `next`; after the last one the process is replaced.
NEXT_RETRIES = (0.05, 0.2, 0.5, 1.0)


class RuntimeAPIError(Exception):
    """The Runtime API is unusable: the process has to be replaced."""


class NotRestored(StartError):
    """`restore/next` was refused."""


class ResponseStream:
    """One invocation's streamed answer. Bytes leave as they are written, a frame for each write.

    `head` is the request's; it goes out together with the first frame, which is known at once.
    """

    def __init__(self, connection: Connection, head: bytes) -> None:
        self._connection = connection
        self._head = head  # until it is out
        self.size = 0  # bytes of body so far, prelude included

    def write(self, data: bytes) -> None:
        """`data` is not empty. Raises `ConnectionError` when the connection is lost."""
        self.size += len(data)
        frame = wire.encode_chunk(data)
        self._connection.write(self._with_head(frame) if self._head else frame)

    @property
    def paused(self) -> bool:
        """Whether the other side lags behind, so that a writer has to `drain`."""
        return self._connection.paused

    async def drain(self) -> None:
        await self._connection.drain()

    def end(self) -> None:
        self._connection.write(self._with_head(wire.LAST_CHUNK))

    def fail(self, failure: Failure) -> None:
        """End a body that cannot be completed: the trailers mark the invocation as failed."""
        self._connection.write(self._with_head(wire.encode_last_chunk(failure.trailers)))

    def fail_now(self, failure: Failure) -> socket.socket:
        """`fail` from another thread, while the event loop is stuck. Gives where the answer will
        come. Raises `OSError`."""
        return self._connection.write_now(self._with_head(wire.encode_last_chunk(failure.trailers)))

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
        self._address, self._authority = address, authority
        self._host, _, port = authority.rpartition(":")
        if not self._host or not port.isdecimal():
            self._host, port = authority, "80"
        self._port = int(port)
        self._base = f"{'/' + prefix.strip('/') if prefix else ''}/{wire.API_VERSION}/runtime"
        self._kept: Connection | None = None  # the last request's, while it waits and afterwards

    def another(self) -> "RuntimeAPI":
        """A client of the same Runtime API, for another invocation at the same time."""
        return RuntimeAPI(self._address)

    async def next(self) -> Invocation:
        """Block until there is an invocation. Raises `RuntimeAPIError` if it keeps failing."""
        for delay in (*NEXT_RETRIES, None):
            try:
                return await self._next()
            except (OSError, ValueError) as error:
                logger.warning("`next` failed: %s", error)
                if delay is None:
                    raise RuntimeAPIError("`next` keeps failing") from error
                await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    @property
    def receives(self) -> bool:
        """Whether an invocation has begun to arrive, while `next` waits for one."""
        return self._kept is not None and self._kept.receives

    def withdraw(self) -> bool:
        """Close the connection on which `next` waits, unless an invocation has begun to arrive
        there. Gives whether it is closed, and nothing will come."""
        if self.receives:
            return False
        if self._kept:
            self._kept.close()
        return True

    async def _next(self) -> Invocation:
        # No time limit: the environment may be frozen until the next call.
        reply = await self._ask(self._request("GET", "invocation/next", []))
        if reply.status != 200:
            raise ValueError(f"status {reply.status}")
        return Invocation.parse(reply.headers, reply.body)

    async def restored(self) -> None:
        """Tell Lambda that the snapshot may be taken; returns in each environment that is restored
        from it. The connection ends here: none that the snapshot holds is used again. Raises
        `OSError` and `NotRestored`."""
        connection = await self._connection()
        try:
            # No time limit: this is where the snapshot stands still, perhaps for weeks.
            connection.write(self._request("GET", "restore/next", [("Connection", "close")]))
            reply = await connection.reply()
        finally:
            connection.close()
        if reply.status != 200:
            raise NotRestored(f"the Runtime API answered {reply.status} to `restore/next`")

    async def stream(self, invocation: Invocation) -> ResponseStream:
        """Begin a streamed answer. Raises `OSError` when the Runtime API cannot be reached."""
        head = [
            (wire.RESPONSE_MODE, "streaming"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Type", wire.INTEGRATION_RESPONSE),
            ("Trailer", f"{wire.ERROR_TYPE}, {wire.ERROR_BODY}"),
            ("Connection", "close"),
            *invocation.echo,
        ]
        request = self._request("POST", f"invocation/{invocation.request_id}/response", head)
        return ResponseStream(await self._connection(), request)

    async def respond(self, invocation: Invocation, document: object) -> bool:
        """Answer with one JSON document, for a caller that isn't a Function URL."""
        path = f"invocation/{invocation.request_id}/response"
        return await self._post(path, json.dumps(document).encode(), invocation.echo)

    async def fail(self, invocation: Invocation, failure: Failure) -> bool:
        """Report an invocation that failed before anything of its answer was sent."""
        return await self._post(*_error(invocation, failure))

    def fail_now(self, invocation: Invocation, failure: Failure, seconds: float) -> socket.socket:
        """`fail` from another thread, while the event loop is stuck, within so long. Gives where
        the answer will come. Raises `OSError`."""
        own = socket.create_connection((self._host, self._port), seconds)
        own.sendall(self._document_request(*_error(invocation, failure)))
        return own

    async def fail_init(self, failure: Failure) -> None:
        """Report a start that failed; the process ends after it."""
        await self._post("init/error", failure.document, failure.header)

    async def fail_restore(self, failure: Failure) -> None:
        """Report a restored environment that can't serve; the process ends after it."""
        await self._post("restore/error", failure.document, failure.header)

    async def _post(self, path: str, body: bytes, headers: Headers) -> bool:
        reply = await self._ask(self._document_request(path, body, headers))
        return _is_accepted(path.rpartition("/")[2], reply)

    async def _ask(self, request: bytes) -> Reply:
        self._kept = connection = await self._connection()
        try:
            connection.write(request)
            return await connection.reply()
        except BaseException:
            self._kept = None
            connection.close()
            raise

    def _document_request(self, path: str, body: bytes, headers: Headers) -> bytes:
        head = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return self._request("POST", path, [*head, *headers], body)

    def _request(self, method: str, path: str, headers: Headers, body: bytes = b"") -> bytes:
        head = [("Host", self._authority), ("User-Agent", "poe-bot-lambda"), *headers]
        return encode_request(method, f"{self._base}/{path}", head, body)

    async def _connection(self) -> Connection:
        """The one that was kept; a new one where that was closed."""
        kept, self._kept = self._kept, None
        if kept and kept.usable:
            return kept
        if kept:
            kept.close()
        loop = asyncio.get_running_loop()
        own = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        own.setblocking(False)
        try:
            # Not by `create_connection`, which takes as long again to choose among addresses.
            await loop.sock_connect(own, (self._host, self._port))
        except BaseException:
            own.close()
            raise
        # asyncio sets TCP_NODELAY where the protocol is named: a frame never waits for the next.
        _, connection = await loop.create_connection(Connection, sock=own)
        return connection


def _error(invocation: Invocation, failure: Failure) -> tuple[str, bytes, Headers]:
    """Path, body and headers of an invocation's failure."""
    path = f"invocation/{invocation.request_id}/error"
    return path, failure.document, [*failure.header, *invocation.echo]


def _is_accepted(call: str, reply: Reply) -> bool:
    if reply.status != ACCEPTED:
        logger.error("the Runtime API answered %d to `%s`", reply.status, call)
    return reply.status == ACCEPTED
