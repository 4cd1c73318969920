"""A forward proxy on loopback: a few names lead to servers of ours, all others to themselves.

It supports what HTTP clients expect of an `HTTPS_PROXY`: CONNECT (RFC 9110, 9.3.6), and
requests in absolute form for plain HTTP (RFC 9112, 3.2.2). It never reads
what goes through a tunnel. It serves the bot that was given its URL, which has a random password in
it (RFC 7617): other users of this machine can't go out through it.
"""

import asyncio
import base64
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

Address = tuple[str, int]

CONNECT_SECONDS = 10.0
HEAD_SECONDS = 10.0
HEAD_LIMIT = 64 * 1024
_CHUNK = 64 * 1024


class BadRequest(Exception):
    """The client sent something that a proxy can't act on: the text names it."""


@dataclass(frozen=True)
class Opening:
    """What a client's first request asks for: where to go, and what to send to both sides."""

    authority: str
    address: Address
    credential: str  # the Proxy-Authorization header
    to_client: bytes
    to_server: bytes


def parse_opening(head: bytes) -> Opening:
    """Read a request's head, up to and including its empty line. Raises BadRequest."""
    request_line, *headers = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = request_line.split(" ")
    except ValueError:
        raise BadRequest("this is a proxy: it takes HTTP requests only") from None
    if method == "CONNECT":
        return Opening(
            authority=target.lower(),
            address=_address(target, default_port=None),
            credential=_credential(headers),
            to_client=b"HTTP/1.1 200 Connection established\r\n\r\n",
            to_server=b"",
        )
    if not target.startswith("http://"):
        raise BadRequest("this is a proxy: ask it by CONNECT or for a whole http:// address")
    return _plain_opening(method, target, version, headers)


def _plain_opening(method: str, target: str, version: str, headers: list[str]) -> Opening:
    url = urlsplit(target)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    kept = [h for h in headers if h and not _is_hop_by_hop(h)]
    # One request a connection: the next one may be for another host.
    lines = [f"{method} {path} {version}", *kept, "Connection: close", "", ""]
    return Opening(
        authority=url.netloc.lower(),
        address=_address(url.netloc, default_port=80),
        credential=_credential(headers),
        to_client=b"",
        to_server="\r\n".join(lines).encode("latin-1"),
    )


def _credential(headers: list[str]) -> str:
    for header in headers:
        name, _, value = header.partition(":")
        if name.lower() == "proxy-authorization":
            return value.strip()
    return ""


def _is_hop_by_hop(header: str) -> bool:
    name = header.partition(":")[0].strip().lower()
    return name in ("connection", "keep-alive") or name.startswith("proxy-")


def _address(authority: str, default_port: int | None) -> Address:
    try:
        url = urlsplit(f"//{authority}")
        host, port = url.hostname, url.port or default_port
    except ValueError:
        host = port = None
    if not host or not port:
        raise BadRequest("the address to go to needs the form host:port")
    return host, port


class ForwardProxy:
    """The proxy, while it is entered; `inside` maps "host:port" to the address that answers."""

    def __init__(self, inside: Mapping[str, Address]) -> None:
        self._inside = inside
        self._user = f"bot:{secrets.token_urlsafe()}"
        self._credential = f"Basic {base64.b64encode(self._user.encode()).decode()}"
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_LIMIT)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{self._user}@127.0.0.1:{port}"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            opening = parse_opening(head)
            if hmac.compare_digest(opening.credential.encode(), self._credential.encode()):
                await self._connect(opening, reader, writer)
            else:
                reason = "this proxy serves the bot that was given its URL"
                challenge = 'Proxy-Authenticate: Basic realm="bot"\r\n'
                await _refuse(writer, "407 Proxy Authentication Required", reason, challenge)
        except BadRequest as error:
            await _refuse(writer, "400 Bad Request", str(error))
        except asyncio.LimitOverrunError:
            await _refuse(writer, "431 Request Header Fields Too Large", "the head is too long")
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # The client went away or sent nothing: nothing to answer.
        finally:
            writer.close()

    async def _connect(
        self, opening: Opening, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = self._inside.get(opening.authority, opening.address)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                server_reader, server_writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError):
            reason = f"{opening.authority} can't be reached"
            # Of a refused CONNECT, clients show the reason phrase alone.
            await _refuse(writer, f"502 {reason}", reason)
            return
        try:
            writer.write(opening.to_client)
            server_writer.write(opening.to_server)
            await _join(reader, writer, server_reader, server_writer)
        finally:
            server_writer.close()


async def _join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server_reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
) -> None:
    """Pass bytes both ways until the server ends; a client that ends may still be answered."""
    asking = asyncio.create_task(_pump(reader, server_writer))
    try:
        await _pump(server_reader, writer)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _refuse(writer: asyncio.StreamWriter, status: str, reason: str, header: str = "") -> None:
    body = f"{reason}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{header}Connection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii", "replace") + body)
    await writer.drain()
