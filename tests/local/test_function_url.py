"""The Function URL over real sockets, for both invoke modes."""

import asyncio
import json
import time
from pathlib import Path

import httpx
import pytest

from local.aws_lambda import invocation
from local.aws_lambda.service import LocalLambda, Outcome
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

ECHO = """
while True:
    id, event, headers = next_invocation()
    respond(id, event)
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def quiet(line: str) -> None:
    """Discards log lines."""


async def test_a_function_that_does_not_stream_shows_its_raw_json_behind_a_streaming_url(
    tmp_path: Path,
):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, {"statusCode": 404, "body": "x"})
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        reply = await client.get(local_lambda.url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == {"statusCode": 404, "body": "x"}


async def test_a_buffered_url_interprets_the_proxy_response(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, {
            "statusCode": 401,
            "headers": {"WWW-Authenticate": "Basic", "Content-Type": "image/x"},
            "cookies": ["a=b"],
            "body": "AAE=",
            "isBase64Encoded": True,
        })
        next_invocation()
        """,
    )
    config = function_config(package, invoke_mode="BUFFERED")
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        reply = await client.get(local_lambda.url)
        await local_lambda.settled()
    assert (reply.status_code, reply.content) == (401, b"\0\1")
    assert reply.headers["x-amzn-remapped-www-authenticate"] == "Basic"
    assert "www-authenticate" not in reply.headers
    assert reply.headers["set-cookie"] == "a=b"
    assert reply.headers["content-length"] == "2"
    assert reply.headers["x-amzn-requestid"] == local_lambda.records[0].id


async def test_a_buffered_url_collects_a_stream(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id)
        stream.head(201)
        stream.chunk(b"one ")
        stream.chunk(b"two")
        stream.end()
        next_invocation()
        """,
    )
    config = function_config(package, invoke_mode="BUFFERED")
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        reply = await client.get(local_lambda.url)
    assert (reply.status_code, reply.text) == (201, "one two")
    assert reply.headers["content-length"] == "7"


async def test_a_stream_of_another_content_type_has_no_prelude(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        stream = Stream(id, "text/plain")
        stream.chunk(b"plain")
        stream.end()
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        reply = await client.get(local_lambda.url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/plain")
    assert reply.text == "plain"


async def test_repeated_requests_on_one_connection_each_become_an_event(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO))
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient(base_url=local_lambda.url) as client,
    ):
        for number in range(3):
            event = (await client.post(f"/p{number}?q={number}", json={"n": number})).json()
            assert (event["rawPath"], event["rawQueryString"]) == (f"/p{number}", f"q={number}")
            assert json.loads(event["body"]) == {"n": number}
            assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
            assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
            assert "connection" not in event["headers"]


async def test_a_body_beyond_6_mb_is_413_and_never_reaches_the_function(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO))
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        # As base64 the second one is too large as well.
        for size in (6 * 1024 * 1024 + 1, 5 * 1024 * 1024):
            reply = await client.post(local_lambda.url, content=bytes(size))
            assert reply.status_code == 413
        assert local_lambda.pids == ()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_a_response_that_may_have_no_body_has_none(tmp_path: Path, method: str, status: int):
    package = write_package(
        tmp_path / "package",
        f"""
        while True:
            id, event, headers = next_invocation()
            stream = Stream(id)
            stream.head({status}, {{"x-a": "b"}})
            stream.chunk(b"not for the wire")
            stream.end()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        for _ in range(2):
            reply = await client.request(method, local_lambda.url)
            assert (reply.status_code, reply.content) == (status, b"")
            assert reply.headers["x-a"] == "b"
        await local_lambda.settled()
        assert {record.outcome for record in local_lambda.records} == {Outcome.DONE}


async def test_a_buffered_url_answers_head_with_the_head_alone(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO), invoke_mode="BUFFERED")
    async with (
        LocalLambda(config, on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        for _ in range(2):
            reply = await client.head(local_lambda.url)
            assert (reply.status_code, reply.content) == (200, b"")
            assert int(reply.headers["content-length"]) > 100


async def test_what_is_no_http_gets_400_and_harms_nothing(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        url = httpx.URL(local_lambda.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        async with httpx.AsyncClient() as client:
            assert (await client.get(local_lambda.url)).status_code == 200


async def test_a_client_that_asks_first_is_told_to_send_its_body(tmp_path: Path):
    config = function_config(write_package(tmp_path / "package", ECHO))
    async with LocalLambda(config, on_line=quiet) as local_lambda:
        url = httpx.URL(local_lambda.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"1")
        assert (await reader.readuntil(b"\r\n")) == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_the_trace_id_of_a_request_is_kept_and_passed_on(tmp_path: Path):
    package = write_package(
        tmp_path / "package",
        """
        id, event, headers = next_invocation()
        respond(id, headers["Lambda-Runtime-Trace-Id"])
        next_invocation()
        """,
    )
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        trace_id = "Root=1-5759e988-bd862e3fe1be46a994272793"
        reply = await client.get(local_lambda.url, headers={"x-amzn-trace-id": trace_id})
    assert reply.headers["x-amzn-trace-id"] == trace_id
    assert reply.json().startswith(f"{trace_id};Parent=")


LONG_STREAM = """
id, event, headers = next_invocation()
stream = Stream(id)
stream.head()
for _ in range(7):
    stream.chunk(bytes(1 << 20))
stream.end()
next_invocation()
"""


async def test_what_follows_the_first_6_mb_of_a_stream_comes_at_2_mb_a_second(tmp_path: Path):
    package = write_package(tmp_path / "package", LONG_STREAM)
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
        client.stream("GET", local_lambda.url) as reply,
    ):
        received, unpaced = 0, 0.0
        async for data in reply.aiter_raw():
            received += len(data)
            if received <= invocation.UNPACED:
                unpaced = time.monotonic()
        assert received == 7 << 20
        assert time.monotonic() - unpaced > 0.4


async def test_a_stream_that_is_longer_than_lambda_allows_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(invocation, "STREAM_LIMIT", 3 << 20)
    package = write_package(tmp_path / "package", LONG_STREAM)
    async with (
        LocalLambda(function_config(package), on_line=quiet) as local_lambda,
        httpx.AsyncClient() as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(local_lambda.url)
        await local_lambda.settled()
        (record,) = local_lambda.records
    assert record.outcome is Outcome.FUNCTION_ERROR
    assert record.error.type == "Function.ResponseSizeTooLarge"
