"""The three ways to serve one bot: the streaming loop, awslambdaric with plain Mangum, uvicorn."""

import json
import sys
from pathlib import Path

import httpx
import pytest

from local.aws_lambda.service import FunctionConfig, LocalLambda
from tests.support.entries import ENTRIES, ask, served_by
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


@pytest.mark.parametrize("entry", ENTRIES)
async def test_each_serves_the_same_bot_to_those_with_its_key(words_package, entry):
    settings = {"type": "settings", "version": "1.2"}
    async with served_by(entry, words_package) as url, httpx.AsyncClient() as http:
        for _ in range(2):
            assert await ask(url, "three") == "one two three"
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = await http.post(url, json=settings, headers=headers)
        assert answer.json()["response_version"] == 2
        assert (await http.post(url, json=settings)).status_code == 401


@pytest.mark.parametrize("entry", ENTRIES)
async def test_each_leaves_a_persons_key_to_the_bot_and_opens_nothing_for_it(build_with_bot, entry):
    source = BOT.replace("request.query[-1].content", "os.environ['POE_API_KEY']")
    package = build_with_bot(f"import os\n{source}")
    persons = "p" * 32
    async with served_by(entry, package, POE_API_KEY=persons) as url, httpx.AsyncClient() as http:
        assert await ask(url, "three") == f"one two {persons}"
        for body in ({"type": "settings", "version": "1.2"}, {"type": "query"}):
            headers = {"Authorization": f"Bearer {persons}"}
            assert (await http.post(url, json=body, headers=headers)).status_code == 401


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("host", ["[::1]:8080", "127.0.0.1:65536", "localhost:port"])
async def test_each_answers_whatever_the_host_is_called(words_package, entry, host):
    async with served_by(entry, words_package) as url, httpx.AsyncClient() as http:
        answer = await http.get(url, headers={"host": host})
    assert answer.status_code == 200


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
