"""The Runtime API's replies, compared with what h11 makes of the same bytes."""

import asyncio
import os

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.runtime.http1 import (
    LARGEST_BODY,
    LARGEST_HEAD,
    Connection,
    Malformed,
    Reply,
    encode_request,
)

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1)
FIELDS = st.dictionaries(
    TOKEN.map(lambda name: f"X-{name}"),
    st.text(st.characters(min_codepoint=33, max_codepoint=126)),
    max_size=4,
)

SILENT, _WRITER = os.pipe()  # a descriptor on which nothing is to be read


class Transport(asyncio.Transport):
    """Nobody writes in these tests, and nothing more is to be read."""

    def close(self):
        pass

    def get_extra_info(self, name, default=None):
        return self

    def fileno(self):
        return SILENT


def arrive(connection, data):
    """What an event loop does with data that it can read."""
    while data:
        buffer = connection.get_buffer(-1)
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        connection.buffer_updated(size)
        data = data[size:]


def reading(data, sizes=(), end=True):
    """What `Connection.reply` makes of `data`, which comes in pieces of `sizes`; and it."""

    async def read():
        connection = Connection()
        connection.connection_made(Transport())
        task = asyncio.ensure_future(connection.reply())
        left = data
        for size in sizes:
            arrive(connection, left[:size])
            left = left[size:]
            await asyncio.sleep(0)
        arrive(connection, left)
        await asyncio.sleep(0)
        if end:
            connection.eof_received()
        return await asyncio.wait_for(task, 5), connection

    return asyncio.run(read())


def by_h11(data):
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    parser.receive_data(b"")
    event = parser.next_event()
    while isinstance(event, h11.InformationalResponse):
        event = parser.next_event()
    assert isinstance(event, h11.Response)
    body = b""
    while isinstance(part := parser.next_event(), h11.Data):
        body += part.data
    assert isinstance(part, h11.EndOfMessage)
    headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
    return Reply(event.status_code, headers, body)


@st.composite
def replies(draw):
    """Bytes of a reply, as one of HTTP's framings has them."""
    fields, chunks = draw(FIELDS), draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
    body = b"".join(chunks)
    match draw(st.sampled_from(["length", "chunks", "end", "bodyless"])):
        case "length":
            fields, data = fields | {"Content-Length": str(len(body))}, body
        case "chunks":
            fields = fields | {"Transfer-Encoding": "chunked"}
            extension = draw(st.sampled_from([b"", b";name=value"]))
            data = b"".join(b"%X%b\r\n%b\r\n" % (len(each), extension, each) for each in chunks)
            data += b"0\r\n" + b"Trailer: x\r\n" * draw(st.integers(0, 2)) + b"\r\n"
        case "end":
            fields, data = fields | {"Connection": "close"}, body
        case "bodyless":
            return _head(b"HTTP/1.1 204 No Content", fields)
    status = draw(st.sampled_from([b"200 OK", b"202 Accepted", b"403 ", b"500 A b\xe4d day"]))
    version = draw(st.sampled_from([b"1.1"] if "Transfer-Encoding" in fields else [b"1.0", b"1.1"]))
    early = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 2))
    return early + _head(b"HTTP/%b %b" % (version, status), fields) + data


def _head(first_line, fields):
    lines = [f"{name}: \t{value} \t".encode() for name, value in fields.items()]
    return b"\r\n".join([first_line, *lines, b"", b""])


@given(data=replies(), sizes=st.lists(st.integers(1, 20), max_size=20))
def test_a_reply_in_any_pieces_is_what_h11_reads(data, sizes):
    reply, _ = reading(data, sizes)
    assert reply == by_h11(data)


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


@pytest.mark.parametrize("whole", [LENGTH, CHUNKED])
def test_a_reply_that_is_cut_anywhere_is_a_lost_connection(whole):
    for size in range(len(whole)):
        with pytest.raises(ConnectionResetError):
            reading(whole[:size])
    assert reading(whole, end=False)[0].body == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nX: folded\r\n into two\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nabc" % (b"9" * 5000),
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb3\r\n\r\nabc",
        CHUNKED.replace(b"3\r\n", b"+3\r\n"),
        CHUNKED.replace(b"3\r\n", b"\r\n"),
        CHUNKED.replace(b"abc", b"abcd"),
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * LARGEST_HEAD,
    ],
)
def test_what_is_not_http_is_refused_at_once(data):
    with pytest.raises(Malformed):
        reading(data, end=False)


@pytest.mark.parametrize(
    ("data", "usable"),
    [
        (LENGTH, True),
        (CHUNKED, True),
        (CHUNKED.replace(b"0\r\n", b"0\r\nA: trailer\r\nB: another\r\n"), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
        (LENGTH.replace(b"1.1", b"1.0"), False),
        (LENGTH.replace(b"OK", b"OK\r\nConnection: Close"), False),
        (LENGTH + b"more than was asked for", False),
    ],
)
def test_a_connection_is_used_again_only_where_its_reply_allows_it(data, usable):
    _, connection = reading(data, end=False)
    assert connection.usable is usable


def test_a_client_context_of_50_kb_is_read_however_it_comes():
    data = LENGTH.replace(b"OK", b"OK\r\nX: " + b"x" * 50_000)
    reply, _ = reading(data, [10_000] * 5)
    assert len(reply.headers["x"]) == 50_000


def test_a_body_is_read_into_its_place():
    async def read():
        connection = Connection()
        connection.connection_made(Transport())
        task = asyncio.ensure_future(connection.reply())
        arrive(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
        await asyncio.sleep(0)
        missing = connection.get_buffer(-1)
        missing[:] = b"d" * 99_997
        connection.buffer_updated(len(missing))
        return (await task).body

    assert asyncio.run(read()) == b"abc" + b"d" * 99_997


@pytest.mark.parametrize(
    "framing", [b"Content-Length: %d", b"Transfer-Encoding: chunked\r\n\r\n%x"]
)
def test_a_body_beyond_any_limit_of_lambdas_takes_no_memory(framing):
    with pytest.raises(Malformed, match="longer than 67108864 bytes"):
        reading(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % (framing % (LARGEST_BODY + 1)), end=False)


def test_a_connection_that_ended_is_not_used_again():
    _, connection = reading(LENGTH, end=False)
    connection.eof_received()
    assert not connection.usable


def test_a_request_is_what_h11_reads():
    parser = h11.Connection(h11.SERVER)
    headers = [("Host", "x:9001"), ("Content-Length", "2"), ("X-Name", "ä")]
    parser.receive_data(encode_request("POST", "/a/response", headers, b"{}"))
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (b"POST", b"/a/response")
    assert (b"x-name", "ä".encode("latin-1")) in event.headers
    assert parser.next_event() == h11.Data(b"{}")
