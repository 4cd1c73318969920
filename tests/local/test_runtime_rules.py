"""What a runtime must not do: the local Runtime API and the tests' double alike refuse it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.aws_lambda.invocation import BufferedAnswer, Invocation
from local.aws_lambda.runtime_api import RuntimeApi
from tests.support.runtime_api import RuntimeAPIDouble

pytestmark = pytest.mark.anyio

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
HEAD = b'{"statusCode": 200}' + bytes(8)


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


@pytest.fixture(params=[Local, Double])
async def api(request):
    """Either Runtime API, with one invocation to give; and a connection to it."""
    async with _connected(request.param()) as served_and_connect:
        yield served_and_connect


@pytest.fixture(params=[Local, Double])
async def snapstart(request):
    """The same of a function with SnapStart."""
    async with _connected(request.param(snapstart=True)) as served_and_connect:
        yield served_and_connect


@asynccontextmanager
async def _connected(served):
    async with served.serve() as address, asyncio.timeout(10):
        host, _, port = address.rpartition(":")

        async def connect() -> Client:
            client = Client(*await asyncio.open_connection(host, int(port)))
            clients.append(client)
            return client

        clients: list[Client] = []
        served.hand_out()
        yield served, connect
        for client in clients:
            client.close()


RIGHT = {
    "a buffered answer": lambda client: client.respond(),
    "a stream": lambda client: client.stream(HEAD, b"x"),
    "a stream without a body": lambda client: client.stream(HEAD),
    "a prelude in pieces": lambda client: client.stream(*(bytes([byte]) for byte in HEAD)),
    "a stream that fails": lambda client: client.stream(HEAD, trailers=TRAILERS),
    "a stream that fails in its prelude": lambda client: client.stream(b"{", trailers=TRAILERS),
    "a stream of another type": lambda client: client.stream(
        b"x", headers={"Content-Type": "text/plain"}
    ),
}


@pytest.mark.parametrize("answer", RIGHT.values(), ids=RIGHT.keys())
async def test_what_keeps_to_the_rules_is_accepted(api, answer):
    served, connect = api
    client = await connect()
    assert await client.next() == 200
    assert await answer(client) == 202
    served.assert_kept_to_the_rules(True)


@pytest.mark.parametrize(
    ("size", "status"), [(6 * 1024 * 1024 + 100, 202), (6 * 1024 * 1024 + 101, 413)]
)
async def test_a_buffered_answer_has_6_mb_and_a_little_at_most(size, status):
    served = Local()
    async with served.serve() as address, asyncio.timeout(10):
        host, _, port = address.rpartition(":")
        client = Client(*await asyncio.open_connection(host, int(port)))
        served.hand_out()
        await client.next()
        assert await client.respond(body=b"1" * size) == status
        client.close()


async def test_an_error_may_have_a_megabyte_of_cause_in_its_head():
    """awslambdaric sends X-Ray's there."""
    served = Local()
    async with served.serve() as address, asyncio.timeout(10):
        host, _, port = address.rpartition(":")
        client = Client(*await asyncio.open_connection(host, int(port)))
        served.hand_out()
        await client.next()
        cause = {"Lambda-Runtime-Function-XRay-Error-Cause": "x" * 1_000_000}
        headers = {**client.echo, **cause, "Content-Length": "2"}
        assert await client.ask("POST", "invocation/the-id/error", headers, b"{}") == 202
        client.close()


NO_ECHO = {"Lambda-Runtime-Invocation-Id": ""}
ONE_TRAILER = {"Lambda-Runtime-Function-Error-Type": "E"}
WRONG = {
    "no invocation id": lambda client: client.stream(HEAD, headers=NO_ECHO),
    "no invocation id, buffered": lambda client: client.respond(NO_ECHO),
    "another invocation id": lambda client: client.respond({"Lambda-Runtime-Invocation-Id": "x"}),
    "an unknown mode": lambda client: client.respond(
        {"Lambda-Runtime-Function-Response-Mode": "quick"}
    ),
    "a stream of a known length": lambda client: client.respond(
        {"Lambda-Runtime-Function-Response-Mode": "streaming"}
    ),
    "a chunked body without the mode": lambda client: client.stream(
        HEAD, headers={"Lambda-Runtime-Function-Response-Mode": ""}
    ),
    "trailers that no header announced": lambda client: client.stream(
        HEAD, headers={"Trailer": ""}, trailers=TRAILERS
    ),
    "a trailer that isn't one of the two": lambda client: client.stream(
        HEAD, headers={"Trailer": "X-Other"}, trailers={"X-Other": "x"}
    ),
    "one trailer of two": lambda client: client.stream(HEAD, trailers=ONE_TRAILER),
    "a prelude that isn't JSON": lambda client: client.stream(b"{" + bytes(8)),
    "a prelude with a NUL": lambda client: client.stream(b'{"a": "\0"}' + bytes(8)),
    "seven NULs after the prelude": lambda client: client.stream(b"{}" + bytes(7) + b"x"),
    "a prelude without an end": lambda client: client.stream(b"{}"),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_answer_is_refused(api, answer):
    served, connect = api
    client = await connect()
    assert await client.next() == 200
    assert await answer(client) == 400
    served.assert_kept_to_the_rules(False)


async def test_an_unknown_id_is_refused(api):
    served, connect = api
    client = await connect()
    await client.next()
    headers = {**client.echo, "Content-Length": "1"}
    assert await client.ask("POST", "invocation/another/response", headers, b"1") == 400
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_a_second_answer_is_refused(api, kind):
    served, connect = api
    client = await connect()
    await client.next()
    assert await client.respond() == 202
    headers = {**client.echo, "Content-Length": "2"}
    assert await client.ask("POST", f"invocation/the-id/{kind}", headers, b"{}") == 403
    served.assert_kept_to_the_rules(False)


async def test_an_answer_before_any_next_is_refused(api):
    served, connect = api
    assert await (await connect()).respond() == 400
    served.assert_kept_to_the_rules(False)


async def test_next_is_refused_while_there_is_no_answer(api):
    served, connect = api
    await (await connect()).next()
    assert await (await connect()).next() == 403
    served.assert_kept_to_the_rules(False)


async def test_a_failed_start_is_refused_after_a_next(api):
    served, connect = api
    client = await connect()
    await client.next()
    assert await client.ask("POST", "init/error", {"Content-Length": "2"}, b"{}") == 403
    served.assert_kept_to_the_rules(False)


async def test_a_request_after_connection_close_gets_no_answer(api):
    served, connect = api
    client = await connect()
    await client.next()
    assert await client.respond({"Connection": "close"}) == 202
    client.send("GET", "invocation/next", {})
    assert await client.status() == 0
    served.assert_kept_to_the_rules(False)


async def test_an_event_waits_for_the_next_poller_where_the_last_one_left():
    for served in (Local(), Double()):
        async with served.serve() as address, asyncio.timeout(10):
            host, _, port = address.rpartition(":")
            gone = Client(*await asyncio.open_connection(host, int(port)))
            gone.send("GET", "invocation/next", {})
            await asyncio.sleep(0.05)
            gone.close()
            await asyncio.sleep(0.05)
            served.hand_out()
            client = Client(*await asyncio.open_connection(host, int(port)))
            assert await client.next() == 200
            assert await client.respond() == 202
            client.close()


async def restored(served, client: Client) -> Client:
    """`client`, once it has passed the snapshot."""
    client.send("GET", "restore/next", {})
    await served.restore()
    assert await client.status() == 200
    client.close()
    return client


async def test_a_snapshot_comes_before_the_first_next(snapstart):
    served, connect = snapstart
    await restored(served, await connect())
    client = await connect()
    assert await client.next() == 200
    assert await client.respond() == 202
    served.assert_kept_to_the_rules(True)


EMPTY = {"Content-Length": "2"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "invocation/next"), ("POST", "restore/error")],
)
async def test_a_start_that_leaves_its_snapshot_out_is_refused(snapstart, method, path):
    served, connect = snapstart
    body = b"{}" if method == "POST" else b""
    headers = EMPTY if body else {}
    assert await (await connect()).ask(method, path, headers, body) == 403
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize(("method", "path"), [("GET", "restore/next"), ("POST", "init/error")])
async def test_a_restored_runtime_neither_starts_again_nor_fails_to(snapstart, method, path):
    served, connect = snapstart
    await restored(served, await connect())
    body = b"{}" if method == "POST" else b""
    assert await (await connect()).ask(method, path, EMPTY if body else {}, body) == 403
    served.assert_kept_to_the_rules(False)


async def test_after_a_failed_restore_there_is_nothing(snapstart):
    served, connect = snapstart
    await restored(served, await connect())
    assert await (await connect()).ask("POST", "restore/error", EMPTY, b"{}") == 202
    served.assert_kept_to_the_rules(True)
    assert await (await connect()).next() == 403
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize(("method", "path"), [("GET", "restore/next"), ("POST", "restore/error")])
async def test_a_function_without_snapstart_has_no_restore(api, method, path):
    served, connect = api
    body = b"{}" if method == "POST" else b""
    assert await (await connect()).ask(method, path, EMPTY if body else {}, body) == 403
    served.assert_kept_to_the_rules(False)


async def test_a_connection_of_the_snapshots_fails_the_test():
    double = RuntimeAPIDouble(snapstart=True)
    with pytest.raises(AssertionError, match="on a connection of the snapshot's"):
        async with double.serve() as address:
            host, _, port = address.rpartition(":")
            client = Client(*await asyncio.open_connection(host, int(port)))
            client.send("GET", "restore/next", {})
            await double.restore()
            await client.status()
            client.send("GET", "invocation/next", {})
            double._events.put_nowait(b"{}")
            await client.status()
            client.close()


async def test_a_violation_fails_the_test_that_caused_it():
    double = RuntimeAPIDouble()
    with pytest.raises(AssertionError, match="Invalid request ID"):
        async with double.serve() as address:
            host, _, port = address.rpartition(":")
            client = Client(*await asyncio.open_connection(host, int(port)))
            await client.respond()
            client.close()


async def test_a_connection_that_is_left_open_fails_the_test(monkeypatch):
    double = RuntimeAPIDouble()
    double.headers = {"Lambda-Runtime-Aws-Request-Id": "the-id"}
    double._events.put_nowait(b"{}")
    with pytest.raises(AssertionError, match="open after their answers"):
        async with double.serve() as address:
            host, _, port = address.rpartition(":")
            client = Client(*await asyncio.open_connection(host, int(port)))
            await client.next()
            await client.respond({"Connection": "close"})
    client.close()
