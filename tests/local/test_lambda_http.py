"""The local Lambda's HTTP server at its end: no connection stays open."""

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest

from local.aws_lambda import http
from local.aws_lambda.http import MOST_SILENT, HttpServer

pytestmark = pytest.mark.anyio


async def never(connection, request):
    raise AssertionError("no request was sent")


async def test_a_connection_that_nobody_has_looked_at_yet_is_closed() -> None:
    server = HttpServer(never)
    port = await server.start("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        while not server._connections:  # then its task is there, and has not begun
            await asyncio.sleep(0)
        await server.close()
        await asyncio.sleep(0.01)
        assert client.recv(1) == b""
    gc.collect()  # complains of a writer that was left open


async def test_a_connection_that_comes_too_late_is_closed() -> None:
    server, writer = HttpServer(never), Mock(asyncio.StreamWriter)
    await server.close()
    server._accept(asyncio.StreamReader(), writer)
    writer.transport.abort.assert_called_once()


async def greet(connection, request):
    await connection.discard_body()
    await connection.respond(200, [], b"hello")


async def hello(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


@asynccontextmanager
async def greeting() -> AsyncIterator[int]:
    server = HttpServer(greet)
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.close()


async def test_connections_that_say_nothing_give_way_to_new_ones() -> None:
    async with greeting() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST_SILENT)]
        last = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert (await hello(port)).endswith(b"hello")
        for reader, _ in silent[:21]:
            assert await reader.read() == b""
        for reader, writer in (*silent[21:], *last):
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"hello")
        for _, writer in (*silent, *last):
            writer.close()


@pytest.mark.slow
async def test_a_connection_that_says_nothing_is_closed_after_ten_seconds() -> None:
    async with greeting() as port:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HT")
        assert await reader.read() == b""
        assert 9 < time.monotonic() - began < 30
        writer.close()


async def test_a_connection_that_was_answered_may_be_silent(monkeypatch) -> None:
    monkeypatch.setattr(http, "FIRST_REQUEST_S", 0.1)
    async with greeting() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.3)
        writer.close()
