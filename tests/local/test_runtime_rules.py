"""What a runtime must not do: the local Runtime API and the tests' double alike refuse it."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.support.runtime_api import RuntimeAPIDouble
from tests.support.runtime_client import TRAILERS, Client, Double, Local, connections

pytestmark = pytest.mark.anyio

HEAD = b'{"statusCode": 200}' + bytes(8)


@pytest.fixture(params=[Local, Double])
async def api(request):
    """Either Runtime API, with one invocation to give; and what connects to it."""
    served = request.param()
    async with connections(served) as connect:
        served.hand_out()
        yield served, connect


@pytest.fixture
async def invoked(api):
    """The same, and a client that has got the invocation."""
    served, connect = api
    client = await connect()
    assert await client.next() == 200
    return served, client


@asynccontextmanager
async def invocation(served):
    """A client that has got `served`'s invocation."""
    async with connections(served) as connect:
        served.hand_out()
        client = await connect()
        assert await client.next() == 200
        yield client


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
async def test_what_keeps_to_the_rules_is_accepted(invoked, answer):
    served, client = invoked
    assert await answer(client) == 202
    served.assert_kept_to_the_rules(True)


@pytest.mark.parametrize(
    ("size", "status"), [(6 * 1024 * 1024 + 100, 202), (6 * 1024 * 1024 + 101, 413)]
)
async def test_a_buffered_answer_has_6_mb_and_a_little_at_most(size, status):
    async with invocation(Local()) as client:
        assert await client.respond(body=b"1" * size) == status


async def test_an_error_may_have_a_megabyte_of_cause_in_its_head():
    """awslambdaric sends X-Ray's there."""
    async with invocation(Local()) as client:
        cause = {"Lambda-Runtime-Function-XRay-Error-Cause": "x" * 1_000_000}
        headers = {**client.echo, **cause, "Content-Length": "2"}
        assert await client.ask("POST", "invocation/the-id/error", headers, b"{}") == 202


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
async def test_a_wrong_answer_is_refused(invoked, answer):
    served, client = invoked
    assert await answer(client) == 400
    served.assert_kept_to_the_rules(False)


async def test_an_unknown_id_is_refused(invoked):
    served, client = invoked
    headers = {**client.echo, "Content-Length": "1"}
    assert await client.ask("POST", "invocation/another/response", headers, b"1") == 400
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize("kind", ["response", "error"])
async def test_a_second_answer_is_refused(invoked, kind):
    served, client = invoked
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


async def test_a_failed_start_is_refused_after_a_next(invoked):
    served, client = invoked
    assert await client.ask("POST", "init/error", {"Content-Length": "2"}, b"{}") == 403
    served.assert_kept_to_the_rules(False)


async def test_a_request_after_connection_close_gets_no_answer(invoked):
    served, client = invoked
    assert await client.respond({"Connection": "close"}) == 202
    client.send("GET", "invocation/next", {})
    assert await client.status() == 0
    served.assert_kept_to_the_rules(False)


@pytest.mark.parametrize("kind", [Local, Double])
async def test_an_event_waits_for_the_next_poller_where_the_last_one_left(kind):
    served = kind()
    async with connections(served) as connect:
        gone = await connect()
        gone.send("GET", "invocation/next", {})
        await asyncio.sleep(0.05)
        gone.close()
        await asyncio.sleep(0.05)
        served.hand_out()
        client = await connect()
        assert await client.next() == 200
        assert await client.respond() == 202


@pytest.mark.parametrize(("method", "path"), [("GET", "restore/next"), ("POST", "restore/error")])
async def test_a_function_without_snapstart_has_no_restore(api, method, path):
    served, connect = api
    assert await (await connect()).ask_empty(method, path) == 403
    served.assert_kept_to_the_rules(False)


# The double fails a test by its end.


async def test_a_violation_fails_the_test_that_caused_it():
    with pytest.raises(AssertionError, match="Invalid request ID"):
        async with connections(RuntimeAPIDouble()) as connect:
            await (await connect()).respond()


async def test_a_connection_that_is_left_open_fails_the_test():
    double = Double()
    with pytest.raises(AssertionError, match="open after their answers"):
        async with double.serve() as address:
            host, _, port = address.rpartition(":")
            client = Client(*await asyncio.open_connection(host, int(port)))
            double.hand_out()
            await client.next()
            await client.respond({"Connection": "close"})
    client.close()
