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

PERSONS_KEY = "p" * 32
SETTINGS = {"type": "settings", "version": "1.2"}

BOT = """
import os
import fastapi_poe as fp

class Bot(fp.PoeBot):
    async def get_response(self, request):
        word = request.query[-1].content
        for word in ("one ", "two ", os.environ["POE_API_KEY"] if word == "key" else word):
            yield fp.PartialResponse(text=word)

bot = Bot()
"""


@pytest.fixture(scope="module")
def words_package(build_with_bot):
    return build_with_bot(BOT)


@pytest.fixture(scope="module", params=ENTRIES)
async def url(request, words_package):
    async with served_by(request.param, words_package, POE_API_KEY=PERSONS_KEY) as url:
        yield url


@pytest.fixture
async def http():
    async with httpx.AsyncClient() as http:
        yield http


async def test_each_serves_the_same_bot_to_those_with_its_key(url, http):
    for _ in range(2):
        assert await ask(url, "three") == "one two three"
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = await http.post(url, json=SETTINGS, headers=headers)
    assert answer.json()["response_version"] == 2
    assert (await http.post(url, json=SETTINGS)).status_code == 401


async def test_each_leaves_a_persons_key_to_the_bot_and_opens_nothing_for_it(url, http):
    assert await ask(url, "key") == f"one two {PERSONS_KEY}"
    for body in (SETTINGS, {"type": "query"}):
        headers = {"Authorization": f"Bearer {PERSONS_KEY}"}
        assert (await http.post(url, json=body, headers=headers)).status_code == 401


@pytest.mark.parametrize("host", ["[::1]:8080", "127.0.0.1:65536", "localhost:port"])
async def test_each_answers_whatever_the_host_is_called(url, http, host):
    assert (await http.get(url, headers={"host": host})).status_code == 200


async def test_a_buffered_function_behind_a_streaming_url_shows_why_both_switches_go_together(
    words_package, http
):
    pytest.importorskip("awslambdaric", reason="awslambdaric has no wheel for this machine")
    config = FunctionConfig(
        words_package, Path(sys.executable), wrapper=None, environment={"POE_ACCESS_KEY": KEY}
    )
    async with LocalLambda(config, on_line=lambda line: None) as function:
        response = await http.get(function.url)
    assert json.loads(response.text)["statusCode"] == 200  # the proxy's JSON, as it is
