"""As little HTTP as a measurement needs: blocking sockets, whole heads, bodies to their end."""

import socket
import time
from dataclasses import dataclass

FIRST_EVENT = b"event: text"
TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Message:
    """One message as it came in. Times in seconds, of time.perf_counter."""

    head: bytes
    body: bytes  # frames and all
    first_event_at: float  # when the first text event was there
    end_at: float

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()


def receive(connection: socket.socket) -> Message:
    """The next message. Raises ConnectionError where the other side ends before it is whole."""
    data, first_event_at = bytearray(), 0.0
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _some(connection)
    head = bytes(data[:end]).lower()
    chunked = b"transfer-encoding: chunked" in head
    whole = end + 4 + _length(head)
    while True:
        if not first_event_at and data.find(FIRST_EVENT, end) > 0:
            first_event_at = time.perf_counter()
        if data.endswith(b"0\r\n\r\n") if chunked else len(data) >= whole:
            break
        data += _some(connection)
    return Message(bytes(data[:end]), bytes(data[end + 4 :]), first_event_at, time.perf_counter())


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 18)
    if not data:
        raise ConnectionResetError("the message is cut short")
    return data


def _length(head: bytes) -> int:
    _, found, rest = head.partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def prepared(connection: socket.socket) -> socket.socket:
    """Without delays, and with an end to waiting."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(TIMEOUT)
    return connection


def encode(first_line: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([first_line, *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body
