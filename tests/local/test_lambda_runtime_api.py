"""The Runtime API, called rightly and wrongly by a client that knows nothing of ours."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest

from local.aws_lambda import invocation
from local.aws_lambda.service import FunctionError, LocalLambda, Outcome
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def quiet(line: str) -> None:
    """Discards log lines."""


async def answer_of(tmp_path: Path, function: str):
    """What a function answers to one invocation with the event `{"n": 1}`."""
    config = function_config(write_package(tmp_path / "package", function))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        answer = await local_lambda.invoke(b'{"n": 1}')
        assert answer.error is None
        return json.loads(answer.payload)


async def test_next_gives_the_event_and_lambdas_headers(tmp_path: Path):
    event, headers, now_ms = await answer_of(
        tmp_path,
        """
        id, event, headers = next_invocation()
        respond(id, [event, dict(headers), time.time() * 1000])
        next_invocation()
        """,
    )
    assert event == {"n": 1}
    assert headers["Content-Type"] == "application/json"
    assert len(headers["Lambda-Runtime-Aws-Request-Id"]) == 36
    assert len(headers["Lambda-Runtime-Invocation-Id"]) == 36
    assert headers["Lambda-Runtime-Trace-Id"].startswith("Root=1-")
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == (
        "arn:aws:lambda:us-east-1:123456789012:function:poe-bot:live"
    )
    assert 0 < int(headers["Lambda-Runtime-Deadline-Ms"]) - now_ms <= 615_000


async def test_an_answer_is_accepted_with_202_and_a_second_one_refused(tmp_path: Path):
    lines: list[str] = []
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        print(respond(id, 1))
        print(respond(id, 2))
        print(post(f"/invocation/{id}/error", b"{}"))
        next_invocation()
        """,
    )
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        assert (await local_lambda.invoke(b"{}")).payload == b"1"
        await local_lambda.settled()
    accepted, *refused = [line for line in lines if line.startswith("(")]
    assert accepted == "(202, {'status': 'OK'})"
    assert len(refused) == 2
    assert all("403" in line and "InvalidStateTransition" in line for line in refused)


@pytest.mark.parametrize(
    ("call", "status", "error_type"),
    [
        ('post("/invocation/another/response", b"1")', 400, "InvalidRequestID"),
        ('post("/invocation/another/error", b"{}")', 400, "InvalidRequestID"),
        (
            'post(f"/invocation/{id}/response", b"1", {"Lambda-Runtime-Invocation-Id": "x"})',
            400,
            "InvalidRequestID",
        ),
        ('post("/init/error", b"{}")', 403, "InvalidStateTransition"),
        ('post("/nothing", b"{}")', 404, "NotFound"),
    ],
)
async def test_a_wrong_call_is_refused_and_changes_nothing(
    tmp_path: Path, call: str, status: int, error_type: str
):
    refusal = await answer_of(
        tmp_path,
        f"""
        id, event, headers = next_invocation()
        refusal = {call}
        token = {{"Lambda-Runtime-Invocation-Id": headers["Lambda-Runtime-Invocation-Id"]}}
        post(f"/invocation/{{id}}/response", json.dumps(refusal).encode(), token)
        next_invocation()
        """,
    )
    assert (refusal[0], refusal[1]["errorType"]) == (status, error_type)
    assert refusal[1]["errorMessage"]


async def test_next_is_refused_while_an_invocation_waits_for_its_answer(tmp_path: Path):
    status = await answer_of(
        tmp_path,
        """
        id, event, headers = next_invocation()
        poll.request("GET", BASE + "/invocation/next")
        reply = poll.getresponse()
        reply.read()
        respond(id, reply.status)
        next_invocation()
        """,
    )
    assert status == 403


async def test_one_environment_cannot_answer_for_another(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        if event is None:
            print("id", id)
            time.sleep(60)
        respond(id, post("/invocation/" + event + "/response", b"7"))
        next_invocation()
        """,
    )
    ids: asyncio.Queue[str] = asyncio.Queue()

    def note(line: str) -> None:
        if line.startswith("id "):
            ids.put_nowait(line.removeprefix("id "))

    async with LocalLambda(function_config(package), on_line=note) as local_lambda:
        first = asyncio.create_task(local_lambda.invoke(b"null"))
        second = await local_lambda.invoke(json.dumps(await ids.get()).encode())
        assert json.loads(second.payload)[0] == 400
        assert not first.done()
        first.cancel()


@pytest.mark.parametrize(
    ("call", "status", "error_type"),
    [
        (
            'post(f"/invocation/{id}/response", b"1", '
            '{"Lambda-Runtime-Function-Response-Mode": "quick"})',
            400,
            "Runtime.InvalidResponseModeHeader",
        ),
        (
            'post(f"/invocation/{id}/response", b"1" * 6291557)',
            413,
            "Function.ResponseSizeTooLarge",
        ),
    ],
)
async def test_an_answer_that_cannot_be_taken_fails_the_invocation(
    tmp_path: Path, call: str, status: int, error_type: str
):
    lines: list[str] = []
    package = write_package(
        tmp_path / "package",
        f"""
        while True:
            id, event, headers = next_invocation()
            print({call}[0])
        """,
    )
    async with LocalLambda(function_config(package), on_line=lines.append) as local_lambda:
        async with httpx.AsyncClient() as client:
            reply = await client.get(local_lambda.url)
            assert (reply.status_code, reply.text) == (502, "Internal Server Error")
        await local_lambda.settled()
        record = local_lambda.records[0]
        assert (record.outcome, record.error.type) == (Outcome.FUNCTION_ERROR, error_type)
    assert str(status) in lines


async def test_an_error_that_is_posted_fails_the_invocation_and_keeps_the_environment(
    tmp_path: Path,
):
    package = write_package(
        tmp_path / "package",
        """
        while True:
            id, event, headers = next_invocation()
            body = json.dumps({"errorType": "ValueError", "errorMessage": "no"}).encode()
            post(f"/invocation/{id}/error", body, {"Lambda-Runtime-Function-Error-Type": "My.Type"})
        """,
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        async with httpx.AsyncClient() as client:
            assert (await client.get(local_lambda.url)).status_code == 502
            assert (await client.get(local_lambda.url)).status_code == 502
        document = {"errorType": "ValueError", "errorMessage": "no"}
        await local_lambda.settled()
        first, second = local_lambda.records
        assert first.error == FunctionError("My.Type", document)
        assert first.pid == second.pid


async def test_chunks_reach_the_client_before_the_next_is_made(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head(200, {"content-type": "text/plain"})
        for number in range(4):
            stream.chunk(f"{number} {time.time()}".encode())
            time.sleep(0.2)
        stream.end()
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
        client.stream("GET", local_lambda.url) as reply,
    ):
        assert reply.headers["content-type"] == "text/plain"
        ages = [time.time() - float(chunk.split()[1]) async for chunk in reply.aiter_raw()]
    assert len(ages) == 4
    assert max(ages) < 0.2


async def test_the_head_reaches_the_client_before_any_body_byte(tmp_path: Path):
    go = tmp_path / "go"
    package = write_package(
        tmp_path / "package",
        f"""
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head(200, {{"x-early": "yes"}})
        while not os.path.exists({str(go)!r}):
            time.sleep(0.01)
        stream.end()
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient(timeout=5) as client,
        client.stream("GET", local_lambda.url) as reply,
    ):
        assert reply.headers["x-early"] == "yes"
        go.touch()
        assert await reply.aread() == b""


async def test_an_error_trailer_cuts_the_body_and_fails_the_invocation(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head()
        stream.chunk(b"begun")
        stream.fail("ValueError", {"errorType": "ValueError", "errorMessage": "no"})
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        received = b""
        with pytest.raises(httpx.RemoteProtocolError):
            async with client.stream("GET", local_lambda.url) as reply:
                async for chunk in reply.aiter_raw():
                    received += chunk
        assert (reply.status_code, received) == (200, b"begun")
        await local_lambda.settled()
        document = {"errorType": "ValueError", "errorMessage": "no"}
        assert local_lambda.records[0].error == FunctionError("ValueError", document)
        assert local_lambda.records[0].outcome is Outcome.FUNCTION_ERROR


@pytest.mark.parametrize("sent", ['b"no prelude" + bytes(8)', 'b"no end of it"'])
async def test_a_malformed_prelude_is_502_and_the_runtime_goes_on(tmp_path: Path, sent: str):
    package = write_package(
        tmp_path / "package",
        f"""
        while True:
            id, event, headers = next_invocation()
            stream = Stream(id)
            stream.chunk({sent})
            assert stream.end()[0] == 400
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        for _ in range(2):
            assert (await client.get(local_lambda.url)).status_code == 502
        await local_lambda.settled()
        first, second = local_lambda.records
        assert first.error.type == "Runtime.MalformedAnswer"
        assert first.pid == second.pid


async def test_a_stream_that_breaks_off_is_cut_for_the_client_too(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head()
        stream.chunk(b"begun")
        stream.socket.close()
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(local_lambda.url)
        await local_lambda.settled()
        assert local_lambda.records[0].error.type == "Runtime.TruncatedResponse"


@pytest.fixture
def unpaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams as fast as the client takes them."""
    monkeypatch.setattr(invocation, "UNPACED", invocation.STREAM_LIMIT)


def tmp_of(local_lambda: LocalLambda) -> Path:
    """Its first environment's /tmp."""
    return local_lambda.directory / "environment-1"


async def test_a_client_that_does_not_read_holds_the_function_back(tmp_path: Path, unpaced: None):
    size = 64
    package = write_package(
        tmp_path / "package",
        f"""
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head()
        for number in range({size}):
            stream.chunk(bytes(1 << 20))
            open("/tmp/progress", "a").write(".")
        stream.end()
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
        client.stream("GET", local_lambda.url) as reply,
    ):
        progress = tmp_of(local_lambda) / "progress"
        written, before = 1, 0
        while written > before:  # until nothing more comes, for as long as a slow machine takes
            before = written
            await asyncio.sleep(0.5)
            written = len(progress.read_text())
        assert written < size
        received = 0
        async for chunk in reply.aiter_raw():
            received += len(chunk)
        assert received == size << 20


async def test_a_client_that_goes_away_is_not_told_to_the_function(tmp_path: Path, unpaced: None):
    package = write_package(
        tmp_path / "package",
        """
        while True:
            id, event, headers = next_invocation()
            stream = Stream(id)
            stream.head()
            for number in range(40):
                stream.chunk(bytes(1 << 20))
                time.sleep(0.005)
            assert stream.end()[0] == 202
        """,
    )
    async with LocalLambda(function_config(package), on_line=quiet) as local_lambda:
        async with httpx.AsyncClient() as client, client.stream("GET", local_lambda.url) as reply:
            assert reply.status_code == 200
        await local_lambda.settled()
        record = local_lambda.records[0]
        assert (record.outcome, record.bytes_out > 40 << 20) == (Outcome.DONE, True)
        assert local_lambda.pids == (record.pid,)
