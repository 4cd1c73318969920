"""The local Lambda's HTTP server at its end: no connection stays open."""

import asyncio
import gc
import socket
from unittest.mock import Mock

import pytest

from local.aws_lambda.http import HttpServer

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
