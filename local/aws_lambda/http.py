"""HTTP/1.1 served over asyncio streams, with h11 keeping the protocol.

Both servers of the local Lambda need what web frameworks hide: every chunk as it arrives, trailers,
a peer that went away, a body cut short on purpose.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from http.client import responses

import h11

Headers = Iterable[tuple[str, str]]

# Anyone on this machine can connect: those that send nothing don't keep a descriptor for long.
FIRST_REQUEST_S = 10.0
MOST_SILENT = 100

_READ_SIZE = 65536


class Disconnected(Exception):
    """The peer has gone, or what it sent wasn't HTTP; this connection can't be used any more."""


class TruncatedBody(Exception):
    """The peer closed the connection, or broke its framing, before the end of its body."""


class BodyTooLarge(Exception):
    """The body is larger than allowed. It was read to its end, so that an answer can be sent."""


class ServerConnection:
    """One accepted connection: requests come out of it, one after another, answers go in."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head_limit: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=head_limit)
        self._method = b""
        self.trailers: dict[str, str] = {}

    @property
    def peer_host(self) -> str:
        return str(self._writer.get_extra_info("peername")[0])

    @property
    def peer_has_closed(self) -> bool:
        """Whether the peer will send nothing more (known without reading)."""
        return self._reader.at_eof() or self._writer.is_closing()

    async def next_request(self) -> h11.Request | None:
        """The head of the next request, or None when the peer has closed the connection.

        A request that isn't HTTP is answered with 400 and raises Disconnected.
        """
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self.respond(error.error_status_hint, [("connection", "close")], b"")
            raise Disconnected from error
        return event if isinstance(event, h11.Request) else None

    async def body(self) -> AsyncIterator[bytes]:
        """Piece by piece as it arrives; `trailers` is set when it ends. Raises TruncatedBody."""
        while True:
            try:
                event = await self._next_event()
            except (h11.RemoteProtocolError, Disconnected) as error:
                raise TruncatedBody from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.trailers = by_name(event.headers)
                return
            else:
                raise TruncatedBody

    async def read_body(self, limit: int) -> bytes:
        """The whole body, at most `limit` bytes; else BodyTooLarge."""
        body, size = bytearray(), 0
        async for data in self.body():
            size += len(data)
            if size <= limit:
                body += data
        if size > limit:
            raise BodyTooLarge
        return bytes(body)

    async def discard_body(self) -> None:
        """Read what is left of the body, if anything is; a truncated one is as good as read."""
        if self._h11.their_state is h11.SEND_BODY:
            with suppress(TruncatedBody):
                async for _ in self.body():
                    pass

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer, in one write; a HEAD request gets the head of it."""
        head = _response(status, [*headers, ("content-length", str(len(body)))])
        data = h11.Data(data=b"" if self._method == b"HEAD" else body)
        await self._send(head, data, h11.EndOfMessage())

    async def start_response(self, status: int, headers: Headers) -> None:
        """The head alone; the body that follows is chunked (for HTTP/1.0, until the close)."""
        await self._send(_response(status, headers))

    async def send(self, data: bytes) -> None:
        """Pass on body bytes at once; returns when the peer keeps up."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    def start_next_cycle(self) -> bool:
        """Get ready for the next request; False when this connection must close instead."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        self.trailers = {}
        return True

    def close(self) -> None:
        """Close after what is already written has gone: a body without its end is thereby cut."""
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _next_event(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                self._h11.receive_data(await self._reader.read(_READ_SIZE))
            except ConnectionError as error:
                raise Disconnected from error
        if isinstance(event, h11.Request):
            self._method = event.method
        return event

    async def _send(self, *events: h11.Event) -> None:
        data = b"".join(self._h11.send(event) or b"" for event in events)
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError as error:
            raise Disconnected from error


def by_name(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers or trailers by name in lower case; what comes twice is joined (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name, value = raw_name.decode().lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _response(status: int, headers: Headers) -> h11.Response:
    reason = responses.get(status, "").encode()
    return h11.Response(status_code=status, reason=reason, headers=list(headers))


Handler = Callable[[ServerConnection, h11.Request], Awaitable[None]]


class HttpServer:
    """Accepts connections and hands every request to `handler`, one at a time per connection.

    The handler reads the body and answers; a connection that it leaves with half an answer is
    closed, which cuts the body for the client.
    """

    def __init__(self, handler: Handler, *, head_limit: int = 65536) -> None:
        self._handler = handler
        self._head_limit = head_limit
        self._server: asyncio.Server | None = None
        self._closed = False
        self._connections: dict[asyncio.Task[None], ServerConnection] = {}
        self._silent: deque[ServerConnection] = deque()  # those without a request yet

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError (with errno) if the port is unavailable."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop every connection with what it was doing."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        tasks = dict(self._connections)
        for task, connection in tasks.items():
            task.cancel()
            connection.abort()  # a task that has not begun yet would not
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ServerConnection(reader, writer, self._head_limit)
        if self._closed:  # meanwhile: it was on its way here
            connection.abort()
            return
        if len(self._silent) == MOST_SILENT:
            self._silent.popleft().abort()
        self._silent.append(connection)
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            request = await self._first_request(connection)
            while request is not None:
                await self._handler(connection, request)
                if not connection.start_next_cycle():
                    break
                request = await connection.next_request()
        except (Disconnected, TruncatedBody):
            pass
        finally:
            connection.close()

    async def _first_request(self, connection: ServerConnection) -> h11.Request | None:
        try:
            async with asyncio.timeout(FIRST_REQUEST_S):
                return await connection.next_request()
        except TimeoutError:
            raise Disconnected from None
        finally:
            with suppress(ValueError):  # aborted
                self._silent.remove(connection)
