"""A runtime byte by byte, in front of the local Runtime API or of the tests' double."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from local.aws_lambda.invocation import BufferedAnswer, Invocation
from local.aws_lambda.runtime_api import RuntimeApi
from tests.support.runtime_api import RuntimeAPIDouble

BASE = "/2018-06-01/runtime"
TRAILERS = {
    "Lambda-Runtime-Function-Error-Type": "E",
    "Lambda-Runtime-Function-Error-Body": "e30=",
}
STREAMING = {
    "Lambda-Runtime-Function-Response-Mode": "streaming",
    "Content-Type": "application/vnd.awslambda.http-integration-response",
    "Transfer-Encoding": "chunked",
    "Trailer": ", ".join(TRAILERS),
}


class Local:
    """The local Lambda's."""

    def __init__(self, *, snapstart: bool = False) -> None:
        self._api = RuntimeApi(snapstart=snapstart)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        try:
            yield await self._api.start()
        finally:
            await self._api.close()

    def hand_out(self) -> None:
        self._api.dispatch(Invocation("the-id", b"{}", "arn", "Root=1", BufferedAnswer()))

    async def restore(self) -> None:
        while not self._api.initialised.done():
            await asyncio.sleep(0.001)
        self._api.restore()

    def assert_kept_to_the_rules(self, kept: bool) -> None:
        """It only logs its refusals."""


class Double:
    """The tests'."""

    def __init__(self, *, snapstart: bool = False) -> None:
        self._double = RuntimeAPIDouble(snapstart=snapstart)
        self._double.headers = {"Lambda-Runtime-Aws-Request-Id": "the-id"}

    def serve(self):
        return self._double.serve()

    def hand_out(self) -> None:
        self._double._events.put_nowait(b"{}")

    async def restore(self) -> None:
        await self._double.restore()

    def assert_kept_to_the_rules(self, kept: bool) -> None:
        assert bool(self._double.violations) is not kept
        self._double.violations.clear()


class Client:
    """One connection, byte by byte. `echo`: what an answer has to send back."""

    def __init__(self, reader, writer) -> None:
        self._reader, self._writer = reader, writer
        self.echo: dict[str, str] = {}

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> int:
        """The status of the answer; 0 without one."""
        self.send(method, path, headers, body)
        return await self.status()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host, port = self._writer.get_extra_info("peername")
        head = f"{method} {BASE}/{path} HTTP/1.1\r\nHost: {host}:{port}\r\n{lines}\r\n"
        self._writer.write(head.encode())
        self._writer.write(body)

    async def status(self) -> int:
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        await self._reader.readexactly(int(headers["content-length"]))
        if given := headers.get("lambda-runtime-invocation-id"):
            self.echo = {"Lambda-Runtime-Invocation-Id": given}
        return int(first.split()[1])

    async def ask_empty(self, method: str, path: str) -> int:
        """Without anything to say: an empty document, or no body."""
        if method == "GET":
            return await self.ask("GET", path, {})
        return await self.ask("POST", path, {"Content-Length": "2"}, b"{}")

    async def next(self) -> int:
        return await self.ask("GET", "invocation/next", {})

    async def respond(self, headers: dict[str, str] | None = None, body: bytes = b"1") -> int:
        """Answer with a body of a known length."""
        length = {"Content-Length": str(len(body))}
        headers = {**self.echo, **length, **(headers or {})}
        return await self.ask("POST", "invocation/the-id/response", headers, body)

    async def stream(
        self,
        *chunks: bytes,
        headers: dict[str, str] | None = None,
        trailers: dict[str, str] | None = None,
    ) -> int:
        framed = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks)
        last = "".join(f"{name}: {value}\r\n" for name, value in (trailers or {}).items())
        body = framed + f"0\r\n{last}\r\n".encode()
        sent = {**STREAMING, **self.echo, **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        return await self.ask("POST", "invocation/the-id/response", sent, body)

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def connections(
    served: Local | Double | RuntimeAPIDouble,
) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Gives a function that opens a connection to `served`, for 10 s at most."""
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection(host, int(port))))
        return clients[-1]

    async with served.serve() as address, asyncio.timeout(10):
        host, _, port = address.rpartition(":")
        yield connect
        for client in clients:
            client.close()
