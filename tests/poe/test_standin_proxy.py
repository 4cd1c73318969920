"""The proxy through which a bot meets the stand-in for Poe, and through it everybody else."""

import asyncio
import ssl

import httpx
import pytest
import trustme

from poe.standin import proxy
from poe.standin.proxy import ForwardProxy
from tests.support.closed import CLOSED


@pytest.mark.anyio
async def test_other_hosts_are_reached_through_the_proxy_as_they_are() -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    trust = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    async with (
        await asyncio.start_server(say_head, "127.0.0.1", 0, ssl=tls) as server,
        await asyncio.start_server(say_head, "127.0.0.1", 0) as plain_server,
        ForwardProxy({}) as passing,
    ):
        ports = [s.sockets[0].getsockname()[1] for s in (server, plain_server)]
        async with httpx.AsyncClient(proxy=passing.url, verify=trust, trust_env=False) as http:
            secure = await http.get(f"https://localhost:{ports[0]}/a?b=c")
            plain = await http.get(f"http://localhost:{ports[1]}/d?e=f")
    assert secure.text.startswith("GET /a?b=c HTTP/1.1")
    assert plain.text.startswith("GET /d?e=f HTTP/1.1")
    assert "\r\nConnection: close\r\n" in plain.text
    assert "keep-alive" not in plain.text
    assert "authorization" not in (secure.text + plain.text).lower()


async def say_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
    await writer.drain()
    writer.close()


@pytest.mark.anyio
async def test_an_unreachable_host_gives_502_and_its_name() -> None:
    async with ForwardProxy({}) as passing:
        settings = {"proxy": passing.url, "trust_env": False}
        async with httpx.AsyncClient(**settings) as http:
            with pytest.raises(httpx.ProxyError, match=f"502 {CLOSED} can.t be reached"):
                await http.get(f"https://{CLOSED}/")
            plain = await http.get(f"http://{CLOSED}/")
    assert (plain.status_code, plain.text) == (502, f"{CLOSED} can't be reached\n")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT nowhere HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT [::1 HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a:99999999 HTTP/1.1\r\n\r\n", b"400"),
        (b"GET http://a/ HTTP/1.1\r\nX: " + b"x" * 100_000, b"431"),
    ],
)
async def test_what_no_proxy_understands_is_refused(said: bytes, status: bytes) -> None:
    async with ForwardProxy({}) as passing:
        port = httpx.URL(passing.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        answer = await reader.read(1000)
        writer.close()
    assert answer.split(b" ")[1] == status


@pytest.mark.anyio
async def test_who_sends_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy.HEAD_SECONDS == 10
    monkeypatch.setattr(proxy, "HEAD_SECONDS", 0.05)
    async with ForwardProxy({}) as passing:
        port = httpx.URL(passing.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT ")
        assert await asyncio.wait_for(reader.read(1000), 5) == b""
        writer.close()


@pytest.mark.anyio
@pytest.mark.parametrize("user", ["", "bot:@", "bot:guessed@", "bot@"])
async def test_another_user_of_the_machine_does_not_get_out_through_it(user: str) -> None:
    asked = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server, ForwardProxy({}) as ours:
        port = server.sockets[0].getsockname()[1]
        foreign = f"http://{user}127.0.0.1:{httpx.URL(ours.url).port}"
        async with httpx.AsyncClient(proxy=foreign, trust_env=False) as http:
            with pytest.raises(httpx.ProxyError, match="407 Proxy Authentication Required"):
                await http.get(f"https://localhost:{port}/")
            plain = await http.get(f"http://localhost:{port}/")
    assert plain.status_code == 407
    assert plain.headers["proxy-authenticate"].startswith("Basic ")
    assert not asked
