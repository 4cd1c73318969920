"""Many conversations at once, by sockets that don't block: with a web server, or with a runtime
that has as many slots.

The same code asks both, in this process, so that it costs them the same: all requests are sent in
one moment, and a first event counts when it can be read here. The local Lambda's Function URL isn't
in between (but in one row: see `behind`): it is Python too, and takes more CPU for an event than
the runtime behind it.
"""

import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import cast

from bench import http

END = b"0\r\n\r\n"  # of a chunked body
ACCEPTED = http.encode("HTTP/1.1 202 Accepted", {"Connection": "close"}, b"{}")


class Conversation:
    """A request, and its answer as far as it has come. Times in seconds, of time.perf_counter.

    `farewell` is sent once the answer is whole; then the connection is closed.
    """

    def __init__(self, connection: socket.socket, request: bytes, farewell: bytes = b"") -> None:
        self.connection = connection
        self._unsent, self._farewell = memoryview(request), farewell
        self.answer = bytearray()
        self.first_event_at = 0.0
        self.end_at = 0.0
        connection.setblocking(False)

    def send(self) -> bool:
        """Send what the other side takes. Gives whether all is sent."""
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self.connection.send(self._unsent) :]
        return not self._unsent

    def receive(self) -> bool:
        """Take what has come. Gives whether the answer is whole. Raises `ConnectionError` where it
        ends before that."""
        data = self.connection.recv(1 << 18)
        if not data:
            raise ConnectionResetError(f"an answer is cut short: {bytes(self.answer[-300:])!r}")
        self.answer += data
        if not self.first_event_at and http.FIRST_EVENT in self.answer:
            self.first_event_at = time.perf_counter()
        if not self.answer.endswith(END):
            return False
        self.end_at = time.perf_counter()
        with self.connection:
            self.connection.sendall(self._farewell)
        return True


def converse(
    conversations: Sequence[Conversation], on_first_events: Callable[[], None] | None = None
) -> None:
    """Send all, and receive all. `on_first_events` is called once each has its first event; raises
    `RuntimeError` if one is over by then."""
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for each in conversations:
            stack.enter_context(each.connection)
            wanted = selectors.EVENT_READ if each.send() else selectors.EVENT_WRITE
            selector.register(each.connection, wanted, each)
        for _ in _progress(selector):
            if on_first_events and all(each.first_event_at for each in conversations):
                if any(each.end_at for each in conversations):
                    raise RuntimeError("an answer was over before each had its first event")
                on_first_events()
                on_first_events = None


def _progress(selector: selectors.BaseSelector) -> Iterator[Conversation]:
    """Each conversation when some of its answer has come, until all are whole."""
    while selector.get_map():
        ready = selector.select(http.TIMEOUT)
        if not ready:
            raise TimeoutError("an answer stopped arriving")
        for key, wanted in ready:
            each = cast(Conversation, key.data)
            if wanted & selectors.EVENT_READ:
                if each.receive():
                    selector.unregister(key.fd)
                yield each
            elif each.send():
                selector.modify(key.fd, selectors.EVENT_READ, each)


class Slots:
    """The Runtime API for a runtime with `count` slots, each of which asks for its invocations on
    connections of its own and has at most one of them. Raises `RuntimeError` for any other call.
    """

    def __init__(self, listener: socket.socket, count: int) -> None:
        self._listener, self._count = listener, count
        self._free: list[socket.socket] = []  # where `next` waits for its answer

    def wait(self) -> None:
        """Until each slot waits for an invocation."""
        self._listener.settimeout(http.TIMEOUT)
        while len(self._free) < self._count:
            self._free.append(self._next())
        self._listener.settimeout(0)
        with suppress(BlockingIOError):
            self._listener.accept()[0].close()
            raise RuntimeError(f"more than {self._count} calls of `next` at once")

    def _next(self) -> socket.socket:
        connection = http.prepared(self._listener.accept()[0])
        message = http.receive(connection)
        if not message.target.endswith("/runtime/invocation/next"):
            raise RuntimeError(f"a call that no invocation asks for: {message.target}")
        return connection

    def hand_out(self, reply: bytes) -> Conversation:
        """An invocation, as the answer to a waiting `next`."""
        return Conversation(self._free.pop(), reply, ACCEPTED)

    def close(self) -> None:
        for each in self._free:
            each.close()
