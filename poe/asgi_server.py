"""An ASGI app served on loopback, in the loop of the program around it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

HOST = "127.0.0.1"

_SHUTDOWN_SECONDS = 2


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listener(port: int) -> socket.socket:
    """A socket that listens on this port of loopback, or on a free one if the port is taken."""
    with contextlib.suppress(OSError, OverflowError):
        return _listening(port)
    return _listening(0)


def _listening(port: int) -> socket.socket:
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it an event
    # waits 40 ms for the acknowledgement of the one before.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((HOST, port))
        made.listen()
    except BaseException:
        made.close()
        raise
    return made


@asynccontextmanager
async def served(
    app: Any, sockets: socket.socket, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve the app on a listening socket, over TLS if `tls` is given; closes the socket."""
    config = uvicorn.Config(
        app,
        ssl_context_factory=(lambda config, default: tls) if tls else None,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    with sockets:
        serving = asyncio.create_task(server.serve(sockets=[sockets]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving
            # Who asks again and again may have connected while it ended.
            for connection in list(server.server_state.connections):
                connection.shutdown()
            await asyncio.sleep(0)
