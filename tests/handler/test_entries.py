"""The other two ways to serve the same bot: awslambdaric with plain Mangum, and uvicorn."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import fastapi_poe as fp
import httpx
import pytest

from local.aws_lambda.service import FunctionConfig, LocalLambda
from tests.support.package import KEY

pytestmark = pytest.mark.anyio

BOT = """
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        for word in ("one ", "two ", request.query[-1].content):
            yield fp.PartialResponse(text=word)

bot = Bot()
"""


@pytest.fixture(scope="module")
def words_package(build_with_bot):
    return build_with_bot(BOT)


async def conversation(url):
    """What Poe would hear, and what somebody without the key would."""
    query = fp.QueryRequest(
        version="1.2",
        type="query",
        query=[fp.ProtocolMessage(role="user", content="three")],
        user_id="u",
        conversation_id="c",
        message_id="m",
    )
    messages = fp.stream_request(query, "", KEY, base_url=url, num_tries=1)
    text = "".join([message.text async for message in messages])
    async with httpx.AsyncClient() as http:
        settings = await http.post(
            url,
            json={"type": "settings", "version": "1.2"},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        refused = await http.post(url, json={"type": "settings", "version": "1.2"})
    return text, settings.json()["response_version"], refused.status_code


async def test_awslambdaric_serves_the_same_bot_through_mangum(words_package):
    pytest.importorskip("awslambdaric", reason="awslambdaric has no wheel for this machine")
    config = FunctionConfig(
        words_package,
        Path(sys.executable),
        wrapper=None,
        invoke_mode="BUFFERED",
        environment={"POE_ACCESS_KEY": KEY},
    )
    async with LocalLambda(config, on_line=lambda line: None) as function:
        for _ in range(2):
            assert await conversation(function.url) == ("one two three", 2, 401)


async def test_uvicorn_serves_the_same_bot(words_package):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "handler.asgi:app", "--port", str(port)),
        cwd=words_package,
        env={"POE_ACCESS_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        while b"Uvicorn running" not in await asyncio.wait_for(process.stdout.readline(), 20):
            pass
        assert await conversation(f"http://127.0.0.1:{port}/") == ("one two three", 2, 401)
    finally:
        process.terminate()
        await process.communicate()


async def test_a_buffered_function_behind_a_streaming_url_shows_why_both_switches_go_together(
    words_package,
):
    pytest.importorskip("awslambdaric", reason="awslambdaric has no wheel for this machine")
    config = FunctionConfig(
        words_package, Path(sys.executable), wrapper=None, environment={"POE_ACCESS_KEY": KEY}
    )
    async with (
        LocalLambda(config, on_line=lambda line: None) as function,
        httpx.AsyncClient() as http,
    ):
        response = await http.get(function.url)
    assert json.loads(response.text)["statusCode"] == 200  # the proxy's JSON, as it is
