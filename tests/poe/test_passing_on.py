"""Calls that go on to Poe itself, with a double of Poe in its place: the bytes, both ways."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import openai
import pytest
import trustme

from poe.standin.proxy import ForwardProxy
from tests.support.closed import CLOSED
from tests.support.stand_in import KEY, PERSONS_KEY, stand_in

pytestmark = pytest.mark.anyio

REAL = "real-" * 4
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: r-1\r\n"
EVENTS = [b'data: {"choices": [\xc3\xa9]}\n\n', b": a comment\r\n\r\n", b"data: [DONE]\n\n"]


class Poe:
    """Answers a request with `pieces`, the first at once and the others after `go_on`. `left` is
    set when its client is gone."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.pieces: list[bytes] = []
        self.go_on = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if b"content-length:" in line),
            0,
        )
        self.requests.append(head + await reader.readexactly(length))
        watching = asyncio.create_task(self._watch(reader))
        with suppress(ConnectionError):
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await self.go_on.wait()
        writer.close()
        await watching

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            await reader.read()
        self.left.set()


@asynccontextmanager
async def real_poe(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Poe]:
    """What this process meets at api.poe.com from now on."""
    poe, authority = Poe(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.poe.com").configure_cert(tls)
    authority.cert_pem.write_to_path(str(folder / "real.pem"))
    async with await asyncio.start_server(poe.serve, "127.0.0.1", 0, ssl=tls) as server:
        address = server.sockets[0].getsockname()
        async with ForwardProxy({"api.poe.com:443": address}) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("SSL_CERT_FILE", str(folder / "real.pem"))
            yield poe


@pytest.fixture
async def poe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Poe]:
    """Poe itself, behind a stand-in that passes calls on to it."""
    async with real_poe(tmp_path, monkeypatch) as poe:
        keys = {"api_key": REAL, "personal_key": PERSONS_KEY}
        async with stand_in(tmp_path / "standin", monkeypatch, **keys):
            yield poe


def framed(*pieces: bytes) -> list[bytes]:
    """A response of chunks, the head with the first."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    head = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return [head + chunks[0], *chunks[1:], b"0\r\n\r\n"]


async def test_a_streams_bytes_arrive_as_poe_sends_them_and_when(poe: Poe) -> None:
    poe.pieces = framed(*EVENTS)
    headers = {"Authorization": f"Bearer {PERSONS_KEY}", "X-Mine": "kept"}
    body = b'{"model":  "GPT-4o", "stream": true}'
    async with (
        httpx.AsyncClient(headers=headers) as http,
        http.stream(
            "POST", "https://api.poe.com/v1/chat/completions?a=b%2F", content=body
        ) as reply,
    ):
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["x-request-id"] == "r-1"
        pieces = reply.aiter_raw()
        assert await anext(pieces) == EVENTS[0]  # while Poe holds the others back
        poe.go_on.set()
        assert b"".join([piece async for piece in pieces]) == b"".join(EVENTS[1:])
    head, _, sent = poe.requests[0].partition(b"\r\n\r\n")
    assert sent == body
    assert head.startswith(b"POST /v1/chat/completions?a=b%2F HTTP/1.1\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"x-mine: kept" in lines
    assert [line for line in lines if line.startswith(b"authorization:")] == [
        f"authorization: bearer {REAL}".encode()
    ]
    assert PERSONS_KEY.encode() not in head


async def test_a_compressed_answer_stays_compressed(poe: Poe) -> None:
    body = gzip.compress(b'{"object": "list", "data": []}')
    poe.go_on.set()
    length = f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    poe.pieces = [HEAD + length + body]
    async with (
        httpx.AsyncClient() as http,
        http.stream("GET", "https://api.poe.com/v1/models") as reply,
    ):
        assert b"".join([piece async for piece in reply.aiter_raw()]) == body
        assert reply.headers["content-encoding"] == "gzip"


async def test_nothing_is_asked_for_that_the_bot_did_not_ask_for(poe: Poe) -> None:
    poe.go_on.set()
    poe.pieces = framed(b"x")
    async with httpx.AsyncClient() as http:
        for name in ("accept-encoding", "user-agent", "accept"):
            del http.headers[name]
        await http.get("https://api.poe.com/v1/models")
    head = poe.requests[0].lower()
    assert b"accept" not in head
    assert b"user-agent" not in head


async def test_poes_own_refusal_is_the_clients(poe: Poe) -> None:
    poe.go_on.set()
    body = b'{"error": {"code": 402, "type": "insufficient_credits", "message": "No points"}}'
    head = f"HTTP/1.1 402 Payment Required\r\nContent-Length: {len(body)}\r\n"
    poe.pieces = [head.encode() + b"Content-Type: application/json\r\n\r\n" + body]
    async with openai.AsyncOpenAI(
        api_key=PERSONS_KEY, base_url="https://api.poe.com/v1", max_retries=0
    ) as client:
        with pytest.raises(openai.APIStatusError, match="No points") as caught:
            await client.responses.create(model="any", input="which the stand-in lacks")
    assert caught.value.status_code == 402


@pytest.mark.parametrize("key", ["w" * 20, KEY, REAL])
async def test_other_keys_do_not_reach_poe(poe: Poe, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers) as http:
        reply = await http.post("https://api.poe.com/v1/chat/completions", json={})
    assert reply.status_code == 401
    assert not poe.requests


async def test_a_client_that_leaves_ends_the_call_to_poe(poe: Poe) -> None:
    poe.pieces = framed(*EVENTS)
    headers = {"Authorization": f"Bearer {PERSONS_KEY}"}
    async with (
        httpx.AsyncClient(headers=headers) as http,
        http.stream("POST", "https://api.poe.com/v1/chat/completions", json={}) as reply,
    ):
        await anext(reply.aiter_raw())
    await asyncio.wait_for(poe.left.wait(), 10)
    poe.go_on.set()


async def test_an_unreachable_poe_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{CLOSED}")
    lines: list[str] = []
    keys = {"api_key": REAL, "personal_key": PERSONS_KEY, "on_line": lines.append}
    async with stand_in(tmp_path, monkeypatch, **keys), httpx.AsyncClient() as http:
        reply = await http.get("https://api.poe.com/v1/models")
    assert (reply.status_code, reply.json()["error"]["type"]) == (502, "upstream_error")
    assert lines[-1] == "poe: Poe can't be reached (ConnectError)"
