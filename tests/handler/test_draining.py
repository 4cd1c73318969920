"""A process that is to be replaced ends what is under way, serves what still arrives, and goes."""

import asyncio
import json
import socket
import struct
from contextlib import asynccontextmanager, suppress

import pytest

from handler.runtime import loop as runtime_loop
from handler.runtime import runtime_api
from handler.runtime.context import Context
from handler.runtime.loop import MOST_LEFT_BEHIND, Loop
from handler.runtime.runtime_api import RuntimeAPI, RuntimeAPIError
from tests.handler.test_loop import START, body, hello
from tests.handler.test_many import SLOTS, Paths, event, in_seconds, is_whole, looping
from tests.support.runtime_api import function_url_event

pytestmark = pytest.mark.anyio


async def test_a_process_with_too_much_left_behind_ends_when_the_others_are_done(capsys):
    slots = MOST_LEFT_BEHIND + 2
    paths = Paths(slots - 1)
    async with looping(paths, slots) as (double, serving):
        fine = asyncio.ensure_future(double.ask(event("/fine")))
        paths.fine = lambda send: asyncio.sleep(2)
        stuck = [double.ask(event("/swallows"), **in_seconds(1.5)) for _ in range(MOST_LEFT_BEHIND)]
        await asyncio.gather(*stuck)
        assert not serving.done()
        assert is_whole(await fine)
        await asyncio.wait_for(serving, 5)  # though a slot waited for an invocation
        assert double.waiting <= 1  # its connection is gone; the double hears of it later


async def test_what_was_left_behind_and_has_ended_since_does_not_count():
    gone = asyncio.Event()

    async def app(scope, receive, send):
        gone.clear()
        await send(START)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.sleep(0.3)  # longer than an app may take to clean up
        finally:
            gone.set()

    async with looping(app, 2) as (double, serving):
        for _ in range(3):
            assert (await double.ask(event(), **in_seconds(0.9))).trailers
            await gone.wait()
            await double.idle(2)
        assert not serving.done()


def slow_until_open():
    """A gate, and an app whose answer at `/slow` waits for it."""
    gate = asyncio.Event()

    async def app(scope, receive, send):
        await send(START)
        if scope["path"] == "/slow":
            await gate.wait()
        await send(body(b"whole"))

    return gate, app


async def test_a_slot_whose_next_keeps_failing_lets_the_others_finish(monkeypatch):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.001,))
    gate, app = slow_until_open()
    async with looping(app) as (double, serving):
        slow = asyncio.ensure_future(double.ask(event("/slow")))
        await asyncio.sleep(0.05)
        double.next_status = 500
        await double.ask(event())
        await asyncio.sleep(0.1)
        assert not serving.done()
        gate.set()
        assert (await slow).frames[2:] == [b"whole"]
        with pytest.raises(RuntimeAPIError):
            await asyncio.wait_for(serving, 5)


async def test_slots_that_wait_while_the_process_drains_serve_what_comes(monkeypatch):
    """The Runtime API would write invocations to their closed connections, too."""
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.001,))
    gate, app = slow_until_open()
    async with looping(app) as (double, serving):
        slow = asyncio.ensure_future(double.ask(event("/slow")))
        while not double.requests:
            await asyncio.sleep(0.001)
        double.next_status = 500
        for left in range(SLOTS - 1, 0, -1):  # each takes one more, and asks no further
            assert double.waiting == left
            assert (await double.ask(event())).frames[2:] == [b"whole"]
            await asyncio.sleep(0.1)
        gate.set()
        assert (await slow).frames[2:] == [b"whole"]
        with pytest.raises(RuntimeAPIError):
            await asyncio.wait_for(serving, 5)


INVOCATION = (
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: the-id\r\n"
    b"Lambda-Runtime-Deadline-Ms: 9999999999999\r\n"
)
EVENT = json.dumps(function_url_event()).encode()
LENGTH = b"Content-Length: %d\r\n\r\n" % len(EVENT)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (EVENT[:5], len(EVENT) - 5, EVENT[5:])


@asynccontextmanager
async def arriving(first, rest):
    """A Runtime API for three slots. The first gets an invocation, of which `rest` comes half a
    second after `first`; the second an error in between, so the process has to end; the third
    nothing. Gives the address and, in order, what was sent there, and that the third is closed."""
    heard, slots, arrived, writers = [], iter(range(3)), asyncio.Event(), []

    async def hand_out(slot, writer):
        if slot == 0:
            writer.write(first)
            await asyncio.sleep(0.1)
            arrived.set()
            await asyncio.sleep(0.5)
            writer.write(rest)
        elif slot != 2:
            await arrived.wait()
            writer.write(b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n")

    async def answer(reader, writer):
        slot = None
        writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"POST"):
                    heard.append(await reader.readuntil(b"0\r\n\r\n"))
                    writer.write(b"HTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n")
                else:
                    slot = next(slots, None)
                    await hand_out(slot, writer)
        if slot == 2:
            heard.append("closed")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}", heard
    finally:
        server.close()
        for each in writers:
            each.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (INVOCATION[:20], INVOCATION[20:] + LENGTH + EVENT),
        (INVOCATION + LENGTH, EVENT),
        (INVOCATION + LENGTH + EVENT[:9], EVENT[9:]),
        (INVOCATION + CHUNKED, CHUNKS),
        (INVOCATION + CHUNKED + CHUNKS[:10], CHUNKS[10:]),
    ],
)
async def test_an_invocation_that_arrives_while_the_process_ends_is_served(
    monkeypatch, first, rest
):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.001,))
    async with arriving(first, rest) as (address, heard):
        loop = Loop(RuntimeAPI(address), hello, Context("poe-bot"), {}, 3)
        with pytest.raises(RuntimeAPIError):
            await asyncio.wait_for(loop.run(), 5)
    assert b"hello" in heard[0]
    assert heard[1:] == ["closed"]  # not before: it might have got one as well


async def test_an_answer_that_begins_while_the_process_ends_has_the_time_that_it_takes(monkeypatch):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.001,))
    monkeypatch.setattr(runtime_loop, "DELIVERY", 0.8)

    async def app(scope, receive, send):
        await send(START)
        await asyncio.sleep(1.5)
        await send(body(b"whole"))

    async with arriving(INVOCATION + LENGTH, EVENT) as (address, heard):
        loop = Loop(RuntimeAPI(address), app, Context("poe-bot"), {}, 3)
        with pytest.raises(RuntimeAPIError):
            await asyncio.wait_for(loop.run(), 10)
    assert b"whole" in heard[0]
    assert heard[1:] == ["closed"]


async def test_an_invocation_that_never_comes_whole_holds_up_no_end(monkeypatch):
    monkeypatch.setattr(runtime_api, "NEXT_RETRIES", (0.001,))
    async with arriving(INVOCATION, b"") as (address, heard):
        loop = Loop(RuntimeAPI(address), hello, Context("poe-bot"), {}, 3)
        with pytest.raises(RuntimeAPIError):
            await asyncio.wait_for(loop.run(), 10)
    assert heard == ["closed"]


async def asking(server):
    """A client that has asked `server` for an invocation, and its task."""
    api = RuntimeAPI(f"127.0.0.1:{server.getsockname()[1]}")
    waiting = asyncio.ensure_future(api.next())
    while not api._kept:
        await asyncio.sleep(0.001)
    return api, waiting


async def test_an_invocation_counts_as_arriving_before_the_loop_has_seen_any_of_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        api, waiting = await asking(server)
        with server.accept()[0] as lambdas:
            await asyncio.sleep(0.05)
            assert not api.receives
            lambdas.sendall(INVOCATION)
            assert api.receives
            assert not api.withdraw()
            lambdas.sendall(LENGTH + EVENT)
            assert (await waiting).request_id == "the-id"
            api._kept.close()
            await asyncio.sleep(0)


async def test_nothing_arrives_on_a_connection_that_was_reset():
    with socket.create_server(("127.0.0.1", 0)) as server:
        api, waiting = await asking(server)
        connection, lambdas = api._kept, server.accept()[0]
        lambdas.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lambdas.close()
        while not connection._lost:
            await asyncio.sleep(0)
        assert api._kept is connection  # its slot has yet to hear of it
        assert not api.receives
        waiting.cancel()
