"""As much of an HTTP/1.1 client as the Runtime API takes: heads, and bodies however framed.

By hand, although h11 is in the package: a user waits for it, at a start for the import and
in an invocation for the parsing. Source: RFC 9112.
"""

import asyncio
import os
import re
import select
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

END_OF_HEAD = b"\r\n\r\n"
LARGEST_HEAD = 64 * 1024  # bytes: a client context may be long
LARGEST_BODY = 64 * 1024 * 1024  # bytes: ten times Lambda's limit for an event

STATUS_LINE = re.compile(rb"HTTP/1\.(?P<minor>[01]) (?P<status>[1-5]\d\d)(?: [^\r\n]*)?")
FIELD_LINE = re.compile(rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[^\r\n\0]*)")
BODYLESS_STATUS = {204, 304}

Headers = Sequence[tuple[str, str]]

# Where the event loop puts what arrives. One is enough for all connections: `buffer_updated` takes
# it from there before any other connection is read.
_ARRIVING = memoryview(bytearray(LARGEST_HEAD))
_NOTHING = memoryview(b"")


class Malformed(ConnectionError):
    """What came isn't HTTP, so that nothing after it on this connection can be understood."""


class Reply(NamedTuple):
    """`headers`: by name in lower case; of several with one name, the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes | bytearray


def encode_request(method: str, target: str, headers: Headers, body: bytes = b"") -> bytes:
    """A request; `headers` include how its body is framed. Nothing in it may hold a CR or LF."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection(asyncio.BufferedProtocol):
    """One connection, a request after another. A lost one raises `ConnectionError`.

    A body is read into its place: an event may have megabytes, and many may arrive at once.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._missing = _NOTHING  # of a body: where the rest of it goes
        self._lost = False
        self._reusable = True  # by what the last reply said
        self._in_chunks = False  # a reply's body comes in them, and has begun
        self.paused = False  # the other side takes bytes more slowly than they are written
        self._changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, _: int) -> memoryview:
        return self._missing or _ARRIVING

    def buffer_updated(self, size: int) -> None:
        if self._missing:
            self._missing = self._missing[size:]
        else:
            self._received += _ARRIVING[:size]
        self._changed.set()

    def eof_received(self) -> None:
        self._lost = True
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._changed.set()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._changed.set()

    @property
    def usable(self) -> bool:
        """Whether there can be another request, when none is under way."""
        if self._lost or not self._reusable or self._received:
            return False
        # Whatever can be read now is the connection's end, of which the event loop has yet to hear.
        return not self._is_readable()

    @property
    def receives(self) -> bool:
        """Whether a reply has begun to arrive, when one is awaited, and more may come."""
        if self._lost:
            return False
        begun = self._missing or self._in_chunks or self._received
        return bool(begun) or self._is_readable()

    def _is_readable(self) -> bool:
        unread = select.poll()
        unread.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(unread.poll(0))

    def write(self, data: bytes) -> None:
        """Hand bytes to the socket at once."""
        if self._lost:
            raise ConnectionResetError("the Runtime API closed the connection")
        self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the other side has taken most of what was written."""
        while self.paused and not self._lost:
            await self._change()

    async def reply(self) -> Reply:
        """The whole answer to the request that was sent. Raises `ConnectionError`."""
        minor, status, headers = _parse_head(await self._until(END_OF_HEAD))
        while status < 200:  # 100 Continue, and its like
            minor, status, headers = _parse_head(await self._until(END_OF_HEAD))
        body = await self._body(status, headers)
        self._reusable = minor == 1 and "close" not in headers.get("connection", "").lower()
        return Reply(status, headers, body)

    def close(self) -> None:
        self._transport.close()

    def write_now(self, data: bytes) -> socket.socket:
        """Write from another thread, while the event loop is stuck. Gives where the answer will
        come. Raises `OSError` where a frame is only half out: nothing can follow it then.
        """
        if self._transport.get_write_buffer_size():
            raise BlockingIOError("a frame is only half out")
        own = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        own.setblocking(False)  # as it is: the other side lags, and others have to be told as well
        own.sendall(data)
        return own

    async def _body(self, status: int, headers: Mapping[str, str]) -> bytes | bytearray:
        if status in BODYLESS_STATUS:
            return b""
        if "transfer-encoding" in headers:
            return await self._chunks()
        if "content-length" in headers:
            return await self._exactly(_length(headers["content-length"]))
        while not self._lost:  # the body ends where the connection does
            await self._change()
        return await self._exactly(len(self._received))

    async def _chunks(self) -> bytearray:
        body = bytearray()
        self._in_chunks = True
        while size := _chunk_size(await self._until(b"\r\n")):
            body += await self._exactly(size)
            if await self._exactly(2) != b"\r\n":
                raise Malformed("a chunk is longer than its size")
        while await self._until(b"\r\n"):
            pass  # trailers, which have no use here
        self._in_chunks = False
        return body

    async def _until(self, mark: bytes) -> bytes:
        """What comes before `mark`; `mark` is gone as well."""
        while (end := self._received.find(mark)) < 0:
            if len(self._received) > LARGEST_HEAD:
                raise Malformed(f"a head is longer than {LARGEST_HEAD} bytes")
            await self._more()
        found = bytes(self._received[:end])
        del self._received[: end + len(mark)]
        return found

    async def _exactly(self, size: int) -> bytearray:
        if size > LARGEST_BODY:
            raise Malformed(f"a body is longer than {LARGEST_BODY} bytes")
        found = bytearray(size)
        here = min(size, len(self._received))
        with memoryview(self._received) as received:  # a slice would be copied twice
            found[:here] = received[:here]
        del self._received[:here]
        self._missing = memoryview(found)[here:]
        while self._missing:
            await self._more()
        self._missing = _NOTHING  # what is empty holds all of the body nevertheless
        return found

    async def _more(self) -> None:
        if self._lost:
            raise ConnectionResetError("the Runtime API closed the connection")
        await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _parse_head(head: bytes) -> tuple[int, int, dict[str, str]]:
    """HTTP's minor version, the status, and the headers."""
    first, *rest = head.split(b"\r\n")
    status_line = STATUS_LINE.fullmatch(first)
    fields = [FIELD_LINE.fullmatch(line) for line in rest]
    if status_line is None or None in fields:
        raise Malformed("an answer's head isn't HTTP")
    headers = {
        field["name"].decode().lower(): field["value"].rstrip(b" \t").decode("latin-1")
        for field in fields
        if field
    }
    return int(status_line["minor"]), int(status_line["status"]), headers


def _length(value: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", value):
        raise Malformed("an answer's Content-Length isn't a number")
    return int(value)


def _chunk_size(line: bytes) -> int:
    match = re.fullmatch(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?", line)
    if match is None:
        raise Malformed("a chunk's size isn't a number")
    return int(match[1], 16)
