"""The local Runtime API serves its environment alone: no other user of the machine, no web page."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.invocation import BufferedAnswer, Invocation
from local.aws_lambda.runtime_api import RuntimeApi
from local.aws_lambda.service import LocalLambda
from tests.support.local_lambda import function_config, write_package

pytestmark = pytest.mark.anyio

BASE = "/2018-06-01/runtime"
ASKED = [
    ("GET", "/invocation/next"),
    ("POST", "/invocation/the-id/response"),
    ("POST", "/invocation/the-id/error"),
    ("POST", "/init/error"),
]


@dataclass
class Served:
    """A Runtime API that has one conversation to give."""

    api: RuntimeApi
    address: str

    @property
    def authority(self) -> str:
        return self.address.partition("/")[0]

    async def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> int:
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://{self.authority}{path}"
            reply = await client.request(method, url, headers=headers, timeout=5)
        assert reply.status_code == 200 or "secret words" not in reply.text
        return reply.status_code

    async def still_has_it_for_its_environment(self) -> None:
        assert not self.api.initialised.done()
        path = self.address.removeprefix(self.authority)
        assert await self.ask("GET", f"{path}{BASE}/invocation/next") == 200


async def serve(private: bool) -> AsyncIterator[Served]:
    api = RuntimeApi(private=private)
    address = await api.start()
    event = b'{"body": "secret words"}'
    api.dispatch(Invocation("the-id", event, "arn", "Root=1", BufferedAnswer()))
    try:
        yield Served(api, address)
    finally:
        await api.close()


@pytest.fixture
async def private() -> AsyncIterator[Served]:
    async for served in serve(private=True):
        yield served


@pytest.fixture
async def of_awslambdaric() -> AsyncIterator[Served]:
    """It doesn't take a path before the API's own."""
    async for served in serve(private=False):
        yield served


@pytest.mark.parametrize(("method", "path"), ASKED)
@pytest.mark.parametrize("prefix", ["", "/", "/guessed"])
async def test_without_its_path_nothing_is_read_and_nothing_is_answered(
    private: Served, method: str, path: str, prefix: str
) -> None:
    assert await private.ask(method, f"{prefix}{BASE}{path}") == 403
    assert await private.ask(method, path) == 403
    await private.still_has_it_for_its_environment()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:9001"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": "attacker.example"},
        {"host": "localhost:1"},
    ],
)
@pytest.mark.parametrize(("method", "path"), ASKED)
async def test_a_web_page_gets_nothing_of_awslambdarics_either(
    of_awslambdaric: Served, method: str, path: str, headers: dict[str, str]
) -> None:
    assert await of_awslambdaric.ask(method, BASE + path, headers) == 403
    await of_awslambdaric.still_has_it_for_its_environment()


async def test_each_environment_is_given_another_path(tmp_path: Path) -> None:
    package = write_package(
        tmp_path,
        """
        while True:
            id, event, headers = next_invocation()
            respond(id, os.environ["AWS_LAMBDA_RUNTIME_API"])
        """,
    )
    given = []
    for _ in range(2):
        async with LocalLambda(function_config(package), on_line=lambda _: None) as function:
            answer = await function.invoke(b"{}")
            given.append(answer.payload.decode().strip('"').partition("/")[2])
    assert len(set(given)) == 2
    assert min(map(len, given)) >= 43  # 32 bytes


async def test_what_is_no_http_leaves_the_conversation_alone(private: Served) -> None:
    host, port = private.authority.split(":")
    for said in (
        b"GET /2018-06-01/runtime/invocation/next HTTP/1.0\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        assert (await reader.read(100)).split()[1] in (b"403", b"400")
        writer.close()
    await private.still_has_it_for_its_environment()
