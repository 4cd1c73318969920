"""The Runtime API's client against a strict double, over real sockets."""

import asyncio
import json
import logging
import socket

import pytest

from handler.runtime import runtime_api
from handler.runtime.runtime_api import RuntimeAPI, RuntimeAPIError
from handler.runtime.wire import Failure, Invocation
from tests.support.closed import CLOSED
from tests.support.runtime_api import RuntimeAPIDouble

pytestmark = pytest.mark.anyio

FAILURE = Failure("ValueError", "the bot failed")
HEAD = b"{}" + bytes(8)  # the shortest that can stand before a body


async def invocation_of(api, double, event=b"{}"):
    """An invocation in hand, and the answer that the double will have seen."""
    answer = asyncio.ensure_future(double.invoke(event))
    return await api.next(), answer


async def test_a_streamed_answer_has_awss_head_and_one_frame_for_each_write():
    double = RuntimeAPIDouble()
    double.headers = {"Lambda-Runtime-Invocation-Id": "echo-me"}
    async with double.serve() as address:
        invocation, answer = await invocation_of(RuntimeAPI(address), double)
        stream = await RuntimeAPI(address).stream(invocation)
        for data in (b"{}", b"\0" * 8, b"a", b"b" * 70_000):
            stream.write(data)
        stream.end()
        await stream.accepted()
    request = await answer
    assert request.method == "POST"
    assert request.path == f"invocation/{invocation.request_id}/response"
    assert request.frames == [b"{}", b"\0" * 8, b"a", b"b" * 70_000]
    assert not request.trailers
    expected = {
        "lambda-runtime-function-response-mode": "streaming",
        "transfer-encoding": "chunked",
        "content-type": "application/vnd.awslambda.http-integration-response",
        "lambda-runtime-invocation-id": "echo-me",
        "connection": "close",
        "host": address,
    }
    assert expected.items() <= request.headers.items()


async def test_a_frame_never_waits_for_the_one_after_it():
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        invocation, answer = await invocation_of(RuntimeAPI(address), double)
        stream = await RuntimeAPI(address).stream(invocation)
        own = stream._connection._transport.get_extra_info("socket")
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream.write(HEAD)
        stream.end()
        await stream.accepted()
    await answer


async def test_a_failure_midway_ends_the_body_with_trailers():
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        stream = await api.stream(invocation)
        stream.write(b"{}")
        stream.fail(FAILURE)
        await stream.accepted()
    request = await answer
    assert request.complete
    assert request.trailers["lambda-runtime-function-error-type"] == "ValueError"
    assert request.error["errorMessage"] == "the bot failed"


async def test_next_is_asked_on_one_connection_again_and_again():
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        for number in range(3):
            invocation, answer = await invocation_of(api, double, b"%d" % number)
            assert invocation.event == b"%d" % number
            await api.respond(invocation, {"n": number})
            assert json.loads((await answer).body) == {"n": number}
    assert double.polls == 1


async def test_an_invocation_is_answered_on_its_own_connection_which_ends_with_the_answer():
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        for number in range(1, 4):
            invocation, answer = await invocation_of(api, double)
            stream = await api.stream(invocation)
            stream.write(HEAD)
            stream.end()
            assert await stream.accepted()
            assert (await answer).complete
            assert (double.connections, double.polls) == (number, number)
            await double.ends()
            assert double.open == 0


async def test_an_answer_under_way_has_its_connection_for_itself():
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        stream = await api.stream(invocation)
        stream.write(HEAD)
        assert not await api.fail(invocation, FAILURE)  # a second answer
        stream.end()
        assert await stream.accepted()
        answer.cancel()
        assert double.connections == 2
        [second] = double.violations
        assert "from InvocationResponse to InvocationResponse" in second
        double.violations.clear()


@pytest.mark.parametrize(
    "reply", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.0 500 x\r\nContent-Length: 0\r\n\r\n"]
)
async def test_a_connection_that_cannot_be_used_again_is_closed(monkeypatch, reply):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.01,))
    closed = asyncio.Semaphore(0)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await reader.read()  # to the end, which has to come from the other side
        closed.release()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    api = RuntimeAPI(f"{host}:{port}")
    with pytest.raises(RuntimeAPIError):
        await api.next()
    await asyncio.wait_for(closed.acquire(), 5)
    if api._kept:  # the last attempt's, or it outlives the loop
        api._kept.close()
    await asyncio.wait_for(closed.acquire(), 5)
    server.close()
    await asyncio.sleep(0)


async def test_next_goes_on_when_its_connection_is_closed_between_two_invocations():
    double = RuntimeAPIDouble()
    double.close_after_next = True
    async with double.serve() as address:
        api = RuntimeAPI(address)
        for _ in range(3):
            invocation, answer = await invocation_of(api, double)
            await api.fail(invocation, FAILURE)
            assert (await answer).kind == "error"
    assert double.polls == 3


async def test_the_address_may_have_a_path():
    double = RuntimeAPIDouble(prefix="/some/where")
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        await api.respond(invocation, {})  # the double refuses a path without the prefix
        assert (await answer).path == f"invocation/{invocation.request_id}/response"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:9001", ("127.0.0.1", 9001, "/2018-06-01/runtime")),
        ("localhost", ("localhost", 80, "/2018-06-01/runtime")),
        ("localhost/a/b/", ("localhost", 80, "/a/b/2018-06-01/runtime")),
    ],
)
def test_an_address_may_leave_out_port_and_path(address, parts):
    api = RuntimeAPI(address)
    assert (api._host, api._port, api._base) == parts


async def test_errors_carry_their_type_and_document():
    double = RuntimeAPIDouble()
    double.headers = {"Lambda-Runtime-Invocation-Id": "echo-me"}
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        await api.fail(invocation, FAILURE)
        await answer
    start = RuntimeAPIDouble()
    async with start.serve() as address:
        await RuntimeAPI(address).fail_init(FAILURE)
    [error], [init] = double.requests, start.requests
    assert error.path == f"invocation/{invocation.request_id}/error"
    assert error.headers["lambda-runtime-invocation-id"] == "echo-me"
    assert init.path == "init/error"
    for request in (error, init):
        assert request.headers["lambda-runtime-function-error-type"] == "ValueError"
        assert json.loads(request.body) == json.loads(FAILURE.document)


async def test_an_answer_other_than_202_is_logged_and_no_more(caplog):
    double = RuntimeAPIDouble()
    double.status = 403
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        await api.respond(invocation, {})
        await answer
    assert "answered 403 to `response`" in caplog.text


async def test_an_answer_that_nobody_reads_holds_its_writer_back():
    double = RuntimeAPIDouble()
    double.read_bodies.clear()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        stream = await api.stream(invocation)

        async def write_much():
            stream.write(HEAD)
            for _ in range(200):
                stream.write(b"x" * 100_000)
                if stream.paused:
                    await stream.drain()
            stream.end()

        writing = asyncio.ensure_future(write_much())
        await asyncio.sleep(0.3)
        assert not writing.done()
        assert stream.size < 15_000_000
        double.read_bodies.set()
        await writing
        await stream.accepted()
    assert len((await answer).body) == len(HEAD) + 20_000_000


async def test_a_writer_that_is_held_back_goes_on_when_the_connection_is_lost():
    accepted = asyncio.Queue()

    async def read_nothing(reader, writer):
        reader._transport.pause_reading()
        accepted.put_nowait(writer)

    server = await asyncio.start_server(read_nothing, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    stream = await RuntimeAPI(f"{host}:{port}").stream(Invocation("id", 0, b""))
    while not stream.paused:
        stream.write(b"x" * 100_000)
    writing = asyncio.ensure_future(stream.drain())
    await asyncio.sleep(0.05)
    assert not writing.done()
    writer = await accepted.get()
    writer.transport.abort()
    await asyncio.wait_for(writing, 5)
    with pytest.raises(ConnectionError):
        stream.write(b"x")
    server.close()
    await asyncio.sleep(0.01)  # until the transports have ended


async def test_an_answer_to_a_runtime_api_that_went_away_raises_a_connection_error():
    async def hang_up(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    double = RuntimeAPIDouble()
    async with double.serve() as address:
        invocation, answer = await invocation_of(RuntimeAPI(address), double)
        stream = await RuntimeAPI(f"{host}:{port}").stream(invocation)
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                stream.write(b"x")
                await asyncio.sleep(0.001)
        with pytest.raises(ConnectionError):
            await stream.accepted()
        answer.cancel()
    server.close()


@pytest.mark.parametrize("status", [403, 500])
async def test_next_that_fails_again_and_again_is_given_up(monkeypatch, caplog, status):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.01, 0.01))
    double = RuntimeAPIDouble()
    double.next_status = status
    async with double.serve() as address:
        with pytest.raises(RuntimeAPIError):
            await RuntimeAPI(address).next()
    assert caplog.text.count(f"status {status}") == 3


async def test_a_runtime_api_that_is_not_there_is_given_up(monkeypatch):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.01,))
    with pytest.raises(RuntimeAPIError):
        await RuntimeAPI(CLOSED).next()


async def test_next_outlasts_half_a_second_without_an_answer():
    """By the pauses of production."""
    double = RuntimeAPIDouble()
    double.next_status = 500
    async with double.serve() as address:
        api = RuntimeAPI(address)
        waiting = asyncio.ensure_future(api.next())
        await asyncio.sleep(0.5)
        double.next_status = 200
        answer = asyncio.ensure_future(double.invoke(b"{}"))
        await api.respond(await waiting, {})
        await answer


async def test_next_that_fails_once_is_asked_again(monkeypatch, caplog):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.01,))
    caplog.set_level(logging.WARNING)
    double = RuntimeAPIDouble()
    double.next_status = 500
    async with double.serve() as address:
        api = RuntimeAPI(address)
        waiting = asyncio.ensure_future(api.next())
        while not caplog.records:
            await asyncio.sleep(0)
        double.next_status = 200
        answer = asyncio.ensure_future(double.invoke(b"{}"))
        invocation = await waiting
        await api.respond(invocation, {})
        await answer


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 202 Accepted\r\n\r\n{}",
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 202 Accepted\r\nX-Long: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * 20_000),
    ],
)
async def test_any_form_of_a_202_in_any_pieces_is_an_acceptance(reply, caplog):
    async def answer(reader, writer):
        await reader.readuntil(b"0\r\n\r\n")
        for start in range(0, len(reply), 7):
            writer.write(reply[start : start + 7])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    stream = await RuntimeAPI(f"{host}:{port}").stream(Invocation("id", 0, b""))
    stream.write(b"{}")
    stream.end()
    assert await stream.accepted()
    assert not caplog.records
    server.close()


async def test_nothing_is_written_after_a_frame_that_is_only_half_out():
    double = RuntimeAPIDouble()
    double.read_bodies.clear()
    async with double.serve() as address:
        api = RuntimeAPI(address)
        invocation, answer = await invocation_of(api, double)
        stream = await api.stream(invocation)
        stream.write(b"x" * 50_000_000)
        await asyncio.sleep(0.2)
        with pytest.raises(BlockingIOError):
            stream.fail_now(FAILURE)
        stream._connection.close()
        double.read_bodies.set()
        answer.cancel()
